from protos import hyperparams_pb2 as _hyperparams_pb2
from protos import losses_pb2 as _losses_pb2
from protos import pspnet_pb2 as _pspnet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ICNet(_message.Message):
    __slots__ = ("num_classes", "feature_extractor", "hyperparams", "loss", "main_branch_loss_weight", "second_branch_loss_weight", "first_branch_loss_weight", "filter_scale", "pooling_factors", "pretrain_single_branch_mode", "mobile_ops_only", "input_scale")
    NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_EXTRACTOR_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    MAIN_BRANCH_LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SECOND_BRANCH_LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FIRST_BRANCH_LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FILTER_SCALE_FIELD_NUMBER: _ClassVar[int]
    POOLING_FACTORS_FIELD_NUMBER: _ClassVar[int]
    PRETRAIN_SINGLE_BRANCH_MODE_FIELD_NUMBER: _ClassVar[int]
    MOBILE_OPS_ONLY_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCALE_FIELD_NUMBER: _ClassVar[int]
    num_classes: int
    feature_extractor: _pspnet_pb2.PSPNetICNetFeatureExtractor
    hyperparams: _hyperparams_pb2.Hyperparams
    loss: _losses_pb2.Loss
    main_branch_loss_weight: float
    second_branch_loss_weight: float
    first_branch_loss_weight: float
    filter_scale: float
    pooling_factors: _containers.RepeatedScalarFieldContainer[float]
    pretrain_single_branch_mode: bool
    mobile_ops_only: bool
    input_scale: float
    def __init__(self, num_classes: _Optional[int] = ..., feature_extractor: _Optional[_Union[_pspnet_pb2.PSPNetICNetFeatureExtractor, _Mapping]] = ..., hyperparams: _Optional[_Union[_hyperparams_pb2.Hyperparams, _Mapping]] = ..., loss: _Optional[_Union[_losses_pb2.Loss, _Mapping]] = ..., main_branch_loss_weight: _Optional[float] = ..., second_branch_loss_weight: _Optional[float] = ..., first_branch_loss_weight: _Optional[float] = ..., filter_scale: _Optional[float] = ..., pooling_factors: _Optional[_Iterable[float]] = ..., pretrain_single_branch_mode: _Optional[bool] = ..., mobile_ops_only: _Optional[bool] = ..., input_scale: _Optional[float] = ...) -> None: ...
