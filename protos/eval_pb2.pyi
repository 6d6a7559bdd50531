from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvalConfig(_message.Message):
    __slots__ = ("num_examples", "ignore_label", "eval_input_type")
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: _ClassVar[int]
    EVAL_INPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    num_examples: int
    ignore_label: int
    eval_input_type: EvalInputType
    def __init__(self, num_examples: _Optional[int] = ..., ignore_label: _Optional[int] = ..., eval_input_type: _Optional[_Union[EvalInputType, _Mapping]] = ...) -> None: ...

class EvalInputType(_message.Message):
    __slots__ = ("cropped_eval_input", "padded_eval_input")
    CROPPED_EVAL_INPUT_FIELD_NUMBER: _ClassVar[int]
    PADDED_EVAL_INPUT_FIELD_NUMBER: _ClassVar[int]
    cropped_eval_input: CroppedEvalInput
    padded_eval_input: PaddedEvalInput
    def __init__(self, cropped_eval_input: _Optional[_Union[CroppedEvalInput, _Mapping]] = ..., padded_eval_input: _Optional[_Union[PaddedEvalInput, _Mapping]] = ...) -> None: ...

class CroppedEvalInput(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class PaddedEvalInput(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...
