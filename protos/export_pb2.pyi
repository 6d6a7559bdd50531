from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExportConfig(_message.Message):
    __slots__ = ("format", "output", "batch", "height", "width", "pad_to_shape", "verify_examples", "calibration_examples", "optimise", "compute", "weights")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    PAD_TO_SHAPE_FIELD_NUMBER: _ClassVar[int]
    VERIFY_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    OPTIMISE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    format: _containers.RepeatedScalarFieldContainer[str]
    output: _containers.RepeatedScalarFieldContainer[str]
    batch: int
    height: int
    width: int
    pad_to_shape: PadToShape
    verify_examples: int
    calibration_examples: int
    optimise: bool
    compute: str
    weights: str
    def __init__(self, format: _Optional[_Iterable[str]] = ..., output: _Optional[_Iterable[str]] = ..., batch: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., pad_to_shape: _Optional[_Union[PadToShape, _Mapping]] = ..., verify_examples: _Optional[int] = ..., calibration_examples: _Optional[int] = ..., optimise: _Optional[bool] = ..., compute: _Optional[str] = ..., weights: _Optional[str] = ...) -> None: ...

class PadToShape(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...
