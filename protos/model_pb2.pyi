from protos import fcn_pb2 as _fcn_pb2
from protos import icnet_pb2 as _icnet_pb2
from protos import pspnet_pb2 as _pspnet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FastSegmentationModel(_message.Message):
    __slots__ = ("pspnet", "icnet", "fcn", "layer_width")
    PSPNET_FIELD_NUMBER: _ClassVar[int]
    ICNET_FIELD_NUMBER: _ClassVar[int]
    FCN_FIELD_NUMBER: _ClassVar[int]
    LAYER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    pspnet: _pspnet_pb2.PSPNet
    icnet: _icnet_pb2.ICNet
    fcn: _fcn_pb2.FCN
    layer_width: _containers.RepeatedCompositeFieldContainer[LayerWidth]
    def __init__(self, pspnet: _Optional[_Union[_pspnet_pb2.PSPNet, _Mapping]] = ..., icnet: _Optional[_Union[_icnet_pb2.ICNet, _Mapping]] = ..., fcn: _Optional[_Union[_fcn_pb2.FCN, _Mapping]] = ..., layer_width: _Optional[_Iterable[_Union[LayerWidth, _Mapping]]] = ...) -> None: ...

class LayerWidth(_message.Message):
    __slots__ = ("scope", "num_filters")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    NUM_FILTERS_FIELD_NUMBER: _ClassVar[int]
    scope: str
    num_filters: int
    def __init__(self, scope: _Optional[str] = ..., num_filters: _Optional[int] = ...) -> None: ...
