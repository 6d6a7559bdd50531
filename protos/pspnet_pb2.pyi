from protos import hyperparams_pb2 as _hyperparams_pb2
from protos import losses_pb2 as _losses_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PSPNet(_message.Message):
    __slots__ = ("num_classes", "feature_extractor", "hyperparams", "loss", "filter_scale", "pooling_factors", "auxiliary_loss_weight", "input_scale")
    NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    FILTER_SCALE_FIELD_NUMBER: _ClassVar[int]
    POOLING_FACTORS_FIELD_NUMBER: _ClassVar[int]
    AUXILIARY_LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCALE_FIELD_NUMBER: _ClassVar[int]
    num_classes: int
    feature_extractor: PSPNetICNetFeatureExtractor
    hyperparams: _hyperparams_pb2.Hyperparams
    loss: _losses_pb2.Loss
    filter_scale: float
    pooling_factors: _containers.RepeatedScalarFieldContainer[float]
    auxiliary_loss_weight: float
    input_scale: float
    def __init__(self, num_classes: _Optional[int] = ..., feature_extractor: _Optional[_Union[PSPNetICNetFeatureExtractor, _Mapping]] = ..., hyperparams: _Optional[_Union[_hyperparams_pb2.Hyperparams, _Mapping]] = ..., loss: _Optional[_Union[_losses_pb2.Loss, _Mapping]] = ..., filter_scale: _Optional[float] = ..., pooling_factors: _Optional[_Iterable[float]] = ..., auxiliary_loss_weight: _Optional[float] = ..., input_scale: _Optional[float] = ...) -> None: ...

class PSPNetICNetFeatureExtractor(_message.Message):
    __slots__ = ("type", "output_stride", "channel_mean", "channel_scale", "input_channels")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_STRIDE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_MEAN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_SCALE_FIELD_NUMBER: _ClassVar[int]
    INPUT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    type: str
    output_stride: int
    channel_mean: _containers.RepeatedScalarFieldContainer[float]
    channel_scale: float
    input_channels: int
    def __init__(self, type: _Optional[str] = ..., output_stride: _Optional[int] = ..., channel_mean: _Optional[_Iterable[float]] = ..., channel_scale: _Optional[float] = ..., input_channels: _Optional[int] = ...) -> None: ...
