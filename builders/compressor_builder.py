"""`CommpressionConfig` (.prune_config of the reference) -> what compress.py shall do; imports no TensorFlow.

The reference's files spell out what follows from what. Here the network itself says which layers share channels, so of
a file count: the share, the layers that are skipped, the layer at the output, and the sources, by whose norms the
filters of coupled layers are chosen. Every layer that it names must be there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from core.errors import ConfigError
from protos.compressor_pb2 import CommpressionConfig, FilterPruner

# What the reference's names of operations end with.
_OPERATIONS = ('Conv2D', 'BiasAdd', 'FusedBatchNorm', 'FusedBatchNormV3', 'weights', 'biases', 'separable_conv2d')
_IMAGE = 'Preprocessor'


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneRules:
    """What a .prune_config says of a network.

    Attributes:
      factor: share of filters that stay, in (0, 1].
      skipped: scopes of layers that keep their filters.
      sources: scopes of layers whose norms choose for all layers that share their channels.
      named: (field, scope) of everything that is named; each must be a layer of the network.
    """

    factor: float
    skipped: tuple[str, ...]
    sources: tuple[str, ...]
    named: tuple[tuple[str, str], ...]


def build(config: CommpressionConfig) -> PruneRules:
    """The rules of a checked config. Raises ConfigError for an input that is not the image."""
    pruner = config.compression_strategy.filter_pruner
    if pruner.input.name.split('/')[0] != _IMAGE:
        raise ConfigError(
            f'compression_strategy.filter_pruner.input.name: got {pruner.input.name!r}; pruning begins at the image, '
            f'write {_IMAGE}/sub, and a skip_node for each layer that shall keep its filters'
        )
    named = tuple(_named(pruner))
    chosen = [scope for field, scope in named if field.endswith('.source.name')]
    skipped = [scope for field, scope in named if 'skip_node' in field or '.output.' in field]
    return PruneRules(
        factor=pruner.compression_factor, skipped=tuple(skipped), sources=tuple(dict.fromkeys(chosen)), named=named
    )


def _named(pruner: FilterPruner) -> Iterator[tuple[str, str]]:
    """(field, scope of the layer) of each node named; the outer node_scope does not reach output and skips."""
    place = 'compression_strategy.filter_pruner'
    yield f'{place}.output.name', _scope(pruner.output.name, '')
    for i, node in enumerate(pruner.skip_node):
        yield f'{place}.skip_node[{i}].name', _scope(node.name, '')
    for i, spec in enumerate(pruner.node):
        outer = pruner.node_scope if spec.node_scope == 'null' else spec.node_scope
        yield f'{place}.node[{i}].target.name', _scope(spec.target.name, outer)
        if spec.source.name:
            yield f'{place}.node[{i}].source.name', _scope(spec.source.name, outer)
        for j, following in enumerate(spec.following):
            yield f'{place}.node[{i}].following[{j}].name', _scope(following.name, outer)


def _scope(node: str, outer: str) -> str:
    """The layer's variable scope of an operation below `outer`; a leading ... leaves `outer` out."""
    full = node.removeprefix('...') if node.startswith('...') or not outer else f'{outer}/{node}'
    parts = full.strip('/').split('/')
    while parts and (parts[-1] in _OPERATIONS or parts[-1] == 'BatchNorm'):
        parts.pop()
    return '/'.join(parts)
