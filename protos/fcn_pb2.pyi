from protos import hyperparams_pb2 as _hyperparams_pb2
from protos import losses_pb2 as _losses_pb2
from protos import pspnet_pb2 as _pspnet_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FCN(_message.Message):
    __slots__ = ("num_classes", "feature_extractor", "hyperparams", "loss", "filter_scale", "stride", "upsampling", "dropout_keep_prob", "zero_initialized_scores", "input_scale")
    class Upsampling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LEARNED: _ClassVar[FCN.Upsampling]
        FIXED: _ClassVar[FCN.Upsampling]
    LEARNED: FCN.Upsampling
    FIXED: FCN.Upsampling
    NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    FILTER_SCALE_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    UPSAMPLING_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_KEEP_PROB_FIELD_NUMBER: _ClassVar[int]
    ZERO_INITIALIZED_SCORES_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCALE_FIELD_NUMBER: _ClassVar[int]
    num_classes: int
    feature_extractor: _pspnet_pb2.PSPNetICNetFeatureExtractor
    hyperparams: _hyperparams_pb2.Hyperparams
    loss: _losses_pb2.Loss
    filter_scale: float
    stride: int
    upsampling: FCN.Upsampling
    dropout_keep_prob: float
    zero_initialized_scores: bool
    input_scale: float
    def __init__(self, num_classes: _Optional[int] = ..., feature_extractor: _Optional[_Union[_pspnet_pb2.PSPNetICNetFeatureExtractor, _Mapping]] = ..., hyperparams: _Optional[_Union[_hyperparams_pb2.Hyperparams, _Mapping]] = ..., loss: _Optional[_Union[_losses_pb2.Loss, _Mapping]] = ..., filter_scale: _Optional[float] = ..., stride: _Optional[int] = ..., upsampling: _Optional[_Union[FCN.Upsampling, str]] = ..., dropout_keep_prob: _Optional[float] = ..., zero_initialized_scores: _Optional[bool] = ..., input_scale: _Optional[float] = ...) -> None: ...
