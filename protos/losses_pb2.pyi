from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Loss(_message.Message):
    __slots__ = ("classification_loss", "use_auxiliary_loss", "ignore_label", "upsample_logits")
    CLASSIFICATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    USE_AUXILIARY_LOSS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: _ClassVar[int]
    UPSAMPLE_LOGITS_FIELD_NUMBER: _ClassVar[int]
    classification_loss: ClassificationLoss
    use_auxiliary_loss: bool
    ignore_label: int
    upsample_logits: bool
    def __init__(self, classification_loss: _Optional[_Union[ClassificationLoss, _Mapping]] = ..., use_auxiliary_loss: _Optional[bool] = ..., ignore_label: _Optional[int] = ..., upsample_logits: _Optional[bool] = ...) -> None: ...

class ClassificationLoss(_message.Message):
    __slots__ = ("softmax",)
    SOFTMAX_FIELD_NUMBER: _ClassVar[int]
    softmax: SoftmaxClassificationLoss
    def __init__(self, softmax: _Optional[_Union[SoftmaxClassificationLoss, _Mapping]] = ...) -> None: ...

class SoftmaxClassificationLoss(_message.Message):
    __slots__ = ("class_weight", "label_smoothing")
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    class_weight: _containers.RepeatedScalarFieldContainer[float]
    label_smoothing: float
    def __init__(self, class_weight: _Optional[_Iterable[float]] = ..., label_smoothing: _Optional[float] = ...) -> None: ...
