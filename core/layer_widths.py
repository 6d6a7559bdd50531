"""Widths of single layers, such as those of a pruned net: do they name layers, and do they go together?"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from typing import Any

from core.errors import ConfigError
from third_party import slim

_PLACE = 'model.layer_width'
_NODE = re.compile(r'{{node (.+?)}}')


@contextlib.contextmanager
def checked(store: slim.VariableStore, graph: Any) -> Iterator[None]:
    """Around the building of a network in `graph` with the widths of `store`.

    Raises ConfigError for widths of layers that were not built or have no width of their own, and for sums of layers of
    different widths. Without widths, whatever goes wrong is no user's mistake and passes.
    """
    if not store.layer_widths:
        yield
        return
    try:
        yield
    except ValueError as error:
        problems = [*_name_problems(store)]
        match = _NODE.search(str(error))
        problems += [] if problems or not match else [_disagreement(match.group(1))]
        if not problems:
            raise
        raise ConfigError(problems) from error
    problems = [*_name_problems(store), *_broadcasts(graph)]
    if problems:
        raise ConfigError(problems)


def _name_problems(store: slim.VariableStore) -> Iterator[str]:
    for scope in store.layer_widths:
        if scope in store.fixed_layers:
            yield f'{_PLACE}: {scope!r} has no width of its own (depthwise, or class scores); remove it'
        elif scope not in store.nominal_widths:
            near = difflib.get_close_matches(scope, store.nominal_widths, n=3, cutoff=0.6)
            hint = f'did you mean {" or ".join(map(repr, near))}?' if near else f'such as {_examples(store)}'
            yield f'{_PLACE}: no layer {scope!r}; {hint}'


def _examples(store: slim.VariableStore) -> str:
    return ', '.join(map(repr, list(store.nominal_widths)[:3]))


def _broadcasts(graph: Any) -> Iterator[str]:
    """A width of 1 is added to any other without an error."""
    for op in graph.get_operations():
        if op.type in ('Add', 'AddV2'):
            first, second = (tensor.shape for tensor in op.inputs)
            if first.rank == second.rank == 4 and first[-1] != second[-1]:
                yield _disagreement(op.name)


def _disagreement(node: str) -> str:
    return f'{_PLACE}: the layers that are added at {node!r} have different widths; make them equal'
