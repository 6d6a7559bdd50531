from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
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
    __slots__ = ("softmax", "bootstrapped", "ohem", "focal", "dice", "lovasz", "weighted_sum")
    SOFTMAX_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAPPED_FIELD_NUMBER: _ClassVar[int]
    OHEM_FIELD_NUMBER: _ClassVar[int]
    FOCAL_FIELD_NUMBER: _ClassVar[int]
    DICE_FIELD_NUMBER: _ClassVar[int]
    LOVASZ_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_SUM_FIELD_NUMBER: _ClassVar[int]
    softmax: SoftmaxClassificationLoss
    bootstrapped: BootstrappedLoss
    ohem: HardExampleLoss
    focal: FocalLoss
    dice: DiceLoss
    lovasz: LovaszLoss
    weighted_sum: WeightedSumLoss
    def __init__(self, softmax: _Optional[_Union[SoftmaxClassificationLoss, _Mapping]] = ..., bootstrapped: _Optional[_Union[BootstrappedLoss, _Mapping]] = ..., ohem: _Optional[_Union[HardExampleLoss, _Mapping]] = ..., focal: _Optional[_Union[FocalLoss, _Mapping]] = ..., dice: _Optional[_Union[DiceLoss, _Mapping]] = ..., lovasz: _Optional[_Union[LovaszLoss, _Mapping]] = ..., weighted_sum: _Optional[_Union[WeightedSumLoss, _Mapping]] = ...) -> None: ...

class SoftmaxClassificationLoss(_message.Message):
    __slots__ = ("class_weight", "label_smoothing", "class_weighting")
    class ClassWeighting(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[SoftmaxClassificationLoss.ClassWeighting]
        INVERSE_FREQUENCY: _ClassVar[SoftmaxClassificationLoss.ClassWeighting]
        MEDIAN_FREQUENCY: _ClassVar[SoftmaxClassificationLoss.ClassWeighting]
        ENET: _ClassVar[SoftmaxClassificationLoss.ClassWeighting]
    NONE: SoftmaxClassificationLoss.ClassWeighting
    INVERSE_FREQUENCY: SoftmaxClassificationLoss.ClassWeighting
    MEDIAN_FREQUENCY: SoftmaxClassificationLoss.ClassWeighting
    ENET: SoftmaxClassificationLoss.ClassWeighting
    CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHTING_FIELD_NUMBER: _ClassVar[int]
    class_weight: _containers.RepeatedScalarFieldContainer[float]
    label_smoothing: float
    class_weighting: SoftmaxClassificationLoss.ClassWeighting
    def __init__(self, class_weight: _Optional[_Iterable[float]] = ..., label_smoothing: _Optional[float] = ..., class_weighting: _Optional[_Union[SoftmaxClassificationLoss.ClassWeighting, str]] = ...) -> None: ...

class BootstrappedLoss(_message.Message):
    __slots__ = ("cross_entropy", "share")
    CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    cross_entropy: SoftmaxClassificationLoss
    share: float
    def __init__(self, cross_entropy: _Optional[_Union[SoftmaxClassificationLoss, _Mapping]] = ..., share: _Optional[float] = ...) -> None: ...

class HardExampleLoss(_message.Message):
    __slots__ = ("cross_entropy", "threshold", "min_share")
    CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_SHARE_FIELD_NUMBER: _ClassVar[int]
    cross_entropy: SoftmaxClassificationLoss
    threshold: float
    min_share: float
    def __init__(self, cross_entropy: _Optional[_Union[SoftmaxClassificationLoss, _Mapping]] = ..., threshold: _Optional[float] = ..., min_share: _Optional[float] = ...) -> None: ...

class FocalLoss(_message.Message):
    __slots__ = ("cross_entropy", "gamma")
    CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    cross_entropy: SoftmaxClassificationLoss
    gamma: float
    def __init__(self, cross_entropy: _Optional[_Union[SoftmaxClassificationLoss, _Mapping]] = ..., gamma: _Optional[float] = ...) -> None: ...

class DiceLoss(_message.Message):
    __slots__ = ("per_image",)
    PER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    per_image: bool
    def __init__(self, per_image: _Optional[bool] = ...) -> None: ...

class LovaszLoss(_message.Message):
    __slots__ = ("per_image",)
    PER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    per_image: bool
    def __init__(self, per_image: _Optional[bool] = ...) -> None: ...

class WeightedSumLoss(_message.Message):
    __slots__ = ("term",)
    TERM_FIELD_NUMBER: _ClassVar[int]
    term: _containers.RepeatedCompositeFieldContainer[WeightedLoss]
    def __init__(self, term: _Optional[_Iterable[_Union[WeightedLoss, _Mapping]]] = ...) -> None: ...

class WeightedLoss(_message.Message):
    __slots__ = ("weight", "loss")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    weight: float
    loss: ClassificationLoss
    def __init__(self, weight: _Optional[float] = ..., loss: _Optional[_Union[ClassificationLoss, _Mapping]] = ...) -> None: ...
