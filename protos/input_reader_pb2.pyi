from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InputReader(_message.Message):
    __slots__ = ("shuffle", "queue_capacity", "min_after_dequeue", "num_epochs", "num_readers", "num_parallel_calls", "shuffle_buffer", "tf_record_input_reader", "num_examples", "label_map_path", "tf_data_service")
    SHUFFLE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    MIN_AFTER_DEQUEUE_FIELD_NUMBER: _ClassVar[int]
    NUM_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    NUM_READERS_FIELD_NUMBER: _ClassVar[int]
    NUM_PARALLEL_CALLS_FIELD_NUMBER: _ClassVar[int]
    SHUFFLE_BUFFER_FIELD_NUMBER: _ClassVar[int]
    TF_RECORD_INPUT_READER_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    LABEL_MAP_PATH_FIELD_NUMBER: _ClassVar[int]
    TF_DATA_SERVICE_FIELD_NUMBER: _ClassVar[int]
    shuffle: bool
    queue_capacity: int
    min_after_dequeue: int
    num_epochs: int
    num_readers: int
    num_parallel_calls: int
    shuffle_buffer: int
    tf_record_input_reader: TFRecordInputReader
    num_examples: int
    label_map_path: str
    tf_data_service: str
    def __init__(self, shuffle: _Optional[bool] = ..., queue_capacity: _Optional[int] = ..., min_after_dequeue: _Optional[int] = ..., num_epochs: _Optional[int] = ..., num_readers: _Optional[int] = ..., num_parallel_calls: _Optional[int] = ..., shuffle_buffer: _Optional[int] = ..., tf_record_input_reader: _Optional[_Union[TFRecordInputReader, _Mapping]] = ..., num_examples: _Optional[int] = ..., label_map_path: _Optional[str] = ..., tf_data_service: _Optional[str] = ...) -> None: ...

class TFRecordInputReader(_message.Message):
    __slots__ = ("input_path",)
    INPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    input_path: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, input_path: _Optional[_Iterable[str]] = ...) -> None: ...
