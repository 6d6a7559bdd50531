"""How many filters groups keep when all may lose the same mIoU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression import selection
from compression.sensitivity import Curve, check_shares, wanted
from core.errors import UsageError
from tests.compression.test_selection import chain, counts, scores


def curve(*losses: float, layers: tuple[str, ...] = ('a',), all_lost: float = 0.5) -> Curve:
    return Curve(layers=layers, shares=(0.25, 0.5), losses=losses, all_lost=all_lost)


def test_between_measurements_by_lines_and_never_downhill():
    steep = curve(0.1, 0.3)
    assert steep.removable(0.0) == 0 and steep.removable(0.2) == pytest.approx(0.375, abs=2e-3)
    assert steep.removable(0.4) == pytest.approx(0.75, abs=4e-3) and steep.removable(0.6) == 1
    noisy = curve(0.2, -0.1)  # a lucky second measurement: 0.2 is what 0.5 costs
    assert noisy.removable(0.1) == pytest.approx(0.125, abs=2e-3)
    assert 0.5 <= noisy.removable(0.201) < 0.51


def test_what_falls_faster_keeps_more_to_the_same_total():
    flat, steep = curve(0.0, 0.1), curve(0.2, 0.4)
    kept = wanted([flat, steep], [40, 40], 40)
    assert sum(kept) == pytest.approx(40, abs=1e-6) and kept[0] < 20 < kept[1]
    equal = [each.removable(1.0) for each in (flat, steep)]
    assert equal == [1.0, 1.0]
    losses = [
        np.interp(1 - k / 40, (0, *c.shares, 1), (0, *c.losses, 0.5)) for k, c in zip(kept, (flat, steep), strict=True)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(
    losses=st.lists(st.tuples(st.floats(-0.1, 0.6), st.floats(-0.1, 0.6)), min_size=1, max_size=5),
    share=st.floats(0.01, 1),
)
def test_any_curves_keep_the_number(losses, share):
    sizes = [8 * (1 + index) for index in range(len(losses))]
    kept = wanted([curve(*own) for own in losses], sizes, round(share * sum(sizes)))
    assert sum(kept) == pytest.approx(round(share * sum(sizes)), abs=1e-3)
    assert all(-1e-9 <= k <= size for k, size in zip(kept, sizes, strict=True))


def test_the_selector_goes_by_the_curves_of_its_groups():
    graph = chain(16, 40, 16, 3)
    names = [(group.layers[0].scope,) for group in graph.groups]
    curves = [curve(*own, layers=n) for own, n in zip([(0.3, 0.5), (0.0, 0.0), (0.1, 0.2)], names, strict=True)]
    keep = selection.Selector(graph, scores(graph), scope='sensitivity', curves=curves[::-1])(0.5)
    first, second, third = counts(graph, keep)
    assert first + second + third == 36 and first / 16 > third / 16 > second / 40
    skipped = [False, True, False]
    keep = selection.Selector(graph, scores(graph), scope='sensitivity', curves=curves, skipped=skipped)(0.5)
    first, second, third = counts(graph, keep)
    assert second == 40 and first + third == 16 and first > third
    with pytest.raises(UsageError, match='says nothing of SharedFeatureExtractor/net/conv2'):
        selection.Selector(graph, scores(graph), scope='sensitivity', curves=[curves[0], curves[2]])


def test_shares_rise():
    assert check_shares((0.1, 0.5)) and not any(map(check_shares, [(), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, 0.2)]))
