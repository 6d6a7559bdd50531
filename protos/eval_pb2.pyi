from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvalConfig(_message.Message):
    __slots__ = ("num_examples", "ignore_label", "eval_input_type", "group_pattern", "bootstrap_samples", "bootstrap_seed", "detailed_metrics", "use_moving_averages", "inference")
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: _ClassVar[int]
    EVAL_INPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    GROUP_PATTERN_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_SEED_FIELD_NUMBER: _ClassVar[int]
    DETAILED_METRICS_FIELD_NUMBER: _ClassVar[int]
    USE_MOVING_AVERAGES_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    num_examples: int
    ignore_label: int
    eval_input_type: EvalInputType
    group_pattern: str
    bootstrap_samples: int
    bootstrap_seed: int
    detailed_metrics: bool
    use_moving_averages: bool
    inference: Inference
    def __init__(self, num_examples: _Optional[int] = ..., ignore_label: _Optional[int] = ..., eval_input_type: _Optional[_Union[EvalInputType, _Mapping]] = ..., group_pattern: _Optional[str] = ..., bootstrap_samples: _Optional[int] = ..., bootstrap_seed: _Optional[int] = ..., detailed_metrics: _Optional[bool] = ..., use_moving_averages: _Optional[bool] = ..., inference: _Optional[_Union[Inference, _Mapping]] = ...) -> None: ...

class Inference(_message.Message):
    __slots__ = ("sliding_window", "scale", "flip")
    SLIDING_WINDOW_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    FLIP_FIELD_NUMBER: _ClassVar[int]
    sliding_window: SlidingWindow
    scale: _containers.RepeatedScalarFieldContainer[float]
    flip: bool
    def __init__(self, sliding_window: _Optional[_Union[SlidingWindow, _Mapping]] = ..., scale: _Optional[_Iterable[float]] = ..., flip: _Optional[bool] = ...) -> None: ...

class SlidingWindow(_message.Message):
    __slots__ = ("height", "width", "overlap", "blend")
    class Blend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        GAUSSIAN: _ClassVar[SlidingWindow.Blend]
        LINEAR: _ClassVar[SlidingWindow.Blend]
        UNIFORM: _ClassVar[SlidingWindow.Blend]
    GAUSSIAN: SlidingWindow.Blend
    LINEAR: SlidingWindow.Blend
    UNIFORM: SlidingWindow.Blend
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    overlap: float
    blend: SlidingWindow.Blend
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., overlap: _Optional[float] = ..., blend: _Optional[_Union[SlidingWindow.Blend, str]] = ...) -> None: ...

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
