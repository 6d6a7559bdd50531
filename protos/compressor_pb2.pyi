from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CommpressionConfig(_message.Message):
    __slots__ = ("compression_strategy",)
    COMPRESSION_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    compression_strategy: CompressionStrategy
    def __init__(self, compression_strategy: _Optional[_Union[CompressionStrategy, _Mapping]] = ...) -> None: ...

class CompressionStrategy(_message.Message):
    __slots__ = ("filter_pruner",)
    FILTER_PRUNER_FIELD_NUMBER: _ClassVar[int]
    filter_pruner: FilterPruner
    def __init__(self, filter_pruner: _Optional[_Union[FilterPruner, _Mapping]] = ...) -> None: ...

class FilterPruner(_message.Message):
    __slots__ = ("input", "output", "node_scope", "compression_factor", "skip_node", "node")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    NODE_SCOPE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    SKIP_NODE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    input: NodeName
    output: NodeName
    node_scope: str
    compression_factor: float
    skip_node: _containers.RepeatedCompositeFieldContainer[NodeName]
    node: _containers.RepeatedCompositeFieldContainer[SingleNodePruningSpec]
    def __init__(self, input: _Optional[_Union[NodeName, _Mapping]] = ..., output: _Optional[_Union[NodeName, _Mapping]] = ..., node_scope: _Optional[str] = ..., compression_factor: _Optional[float] = ..., skip_node: _Optional[_Iterable[_Union[NodeName, _Mapping]]] = ..., node: _Optional[_Iterable[_Union[SingleNodePruningSpec, _Mapping]]] = ...) -> None: ...

class SingleNodePruningSpec(_message.Message):
    __slots__ = ("target", "source", "following", "node_scope")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FOLLOWING_FIELD_NUMBER: _ClassVar[int]
    NODE_SCOPE_FIELD_NUMBER: _ClassVar[int]
    target: NodeName
    source: NodeName
    following: _containers.RepeatedCompositeFieldContainer[NodeName]
    node_scope: str
    def __init__(self, target: _Optional[_Union[NodeName, _Mapping]] = ..., source: _Optional[_Union[NodeName, _Mapping]] = ..., following: _Optional[_Iterable[_Union[NodeName, _Mapping]]] = ..., node_scope: _Optional[str] = ...) -> None: ...

class NodeName(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
