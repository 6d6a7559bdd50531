"""The dynamic programme against every keep-set there is, on chains of unequal stages."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from recompute import chains, planner
from recompute.planner import Choice, Option, Solution


@dataclasses.dataclass(frozen=True)
class Chain:
    sizes: np.ndarray
    work: np.ndarray

    @property
    def length(self) -> int:
        return len(self.sizes)

    @property
    def segments(self) -> planner.Segments:
        return chains.plain_chain(self.sizes.tolist(), self.work.tolist())


def random_chain(rng: np.random.Generator, most: int, largest: int = 40) -> Chain:
    """Sums of bytes stay below the planner's grid; works are integers, so that sums of them are exact."""
    length = int(rng.integers(1, most + 1))
    return Chain(rng.integers(1, largest + 1, length), rng.integers(1, 1000, length).astype(float))


def every_keep_set(chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """(peak, work done again) of all 2^n sets of kept outputs; bit i of the row's number: output i is kept.

    The backward pass enters the stages between two kept outputs with all kept outputs before them, and their own end,
    in memory, and computes every one of these stages again.
    """
    sets = np.arange(2**chain.length)
    kept, since, peak = (np.zeros(len(sets), np.int64) for _ in range(3))
    for i, size in enumerate(chain.sizes):
        here = (sets >> i & 1).astype(bool)
        kept += np.where(here, size, 0)
        peak = np.where(here, np.maximum(peak, kept + since), peak)
        since = np.where(here, 0, since + size)
    given_up = 1 - (sets[:, np.newaxis] >> np.arange(chain.length) & 1)
    return np.maximum(peak, kept + since), given_up @ chain.work


def kept_set(solution: Solution) -> int:
    return sum(1 << (choice.last - 1) for choice in solution.choices if choice.option.kept)


def check_against_brute_force(chain: Chain, rng: np.random.Generator) -> None:
    peaks, works = every_keep_set(chain)
    least = int(peaks.min())
    for budget in {least, int(peaks.max()), *rng.integers(least, peaks.max() + 1, 3).tolist()}:
        solution = planner.least_cost(chain.segments, chain.length, budget)
        assert solution is not None
        assert solution.cost == works[peaks <= budget].min()
        # What it says of itself is true of the set that it chose.
        chosen = kept_set(solution)
        assert (solution.peak, solution.cost) == (peaks[chosen], works[chosen])
        assert solution.peak <= budget
    assert planner.least_cost(chain.segments, chain.length, least - 1) is None
    assert planner.least_peak(chain.segments, chain.length, precision=0).peak == least
    most_work = float(rng.choice(works))
    within = planner.least_peak(chain.segments, chain.length, most_cost=most_work, precision=0)
    assert within.peak == peaks[works <= most_work].min()
    assert within.cost <= most_work


def test_a_chain_worked_out_by_hand():
    chain = Chain(np.array([4, 1, 3]), np.array([10.0, 20.0, 40.0]))
    solution = planner.least_cost(chain.segments, 3, 8)
    assert solution is not None
    assert (solution.cost, solution.peak, kept_set(solution)) == (0, 8, 0b111)
    # The last two alone: 1 and the first again, 5; then 1 + 3. All others hold 8 at some time.
    peaks, works = every_keep_set(chain)
    assert peaks.tolist() == [8, 8, 5, 8, 8, 8, 5, 8]
    assert works.tolist() == [70, 60, 50, 40, 30, 20, 10, 0]
    solution = planner.least_cost(chain.segments, 3, 7)
    assert solution is not None
    assert (solution.cost, solution.peak, kept_set(solution)) == (10, 5, 0b110)
    assert planner.least_cost(chain.segments, 3, 4) is None


@pytest.mark.parametrize('seed', range(100))
def test_equals_brute_force(seed: int):
    rng = np.random.default_rng(seed)
    check_against_brute_force(random_chain(rng, 9), rng)


@pytest.mark.slow
def test_equals_brute_force_on_a_thousand_chains_of_up_to_twelve_stages():
    for seed in range(1000):
        rng = np.random.default_rng([12, seed])
        check_against_brute_force(random_chain(rng, 12), rng)


@pytest.mark.parametrize('seed', range(20))
def test_large_bytes_are_rounded_to_the_safe_side(seed: int):
    """Off the grid a plan never exceeds its budget, and costs no more than the optimum of a budget a little smaller."""
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, 10, largest=10**9)
    peaks, works = every_keep_set(chain)
    for budget in rng.integers(peaks.min(), peaks.max() + 1, 5).tolist():
        solution = planner.least_cost(chain.segments, chain.length, budget)
        smaller = budget - (chain.length + 1) * -(-budget // 500)
        if solution is None:
            assert peaks.min() > smaller
            continue
        assert solution.peak <= budget
        assert works[peaks <= budget].min() <= solution.cost
        assert not (peaks <= smaller).any() or solution.cost <= works[peaks <= smaller].min()


def test_options_of_one_segment_compete():
    """Two segments, three ways each: all nine plans counted by hand's rule."""
    ways = [
        Option(kept=9, needed=0, cost=0.0, threshold=0.0),
        Option(kept=4, needed=3, cost=2.0, threshold=1.0),
        Option(kept=1, needed=6, cost=5.0, threshold=2.0),
    ]
    segments = {(0, 1): ways, (1, 2): ways}
    plans = [
        (max(a.kept + a.needed, a.kept + b.kept + b.needed), a.cost + b.cost, (a.threshold, b.threshold))
        for a in ways
        for b in ways
    ]
    for budget in range(20):
        fitting = [plan[1:] for plan in plans if plan[0] <= budget]
        solution = planner.least_cost(segments, 2, budget)
        if not fitting:
            assert solution is None
            continue
        assert solution is not None
        thresholds = tuple(choice.option.threshold for choice in solution.choices)
        assert (solution.cost, thresholds) in fitting and solution.cost == min(fitting)[0]


def test_a_segment_that_is_not_allowed_is_not_taken():
    free = Option(kept=1, needed=0, cost=0.0)
    segments = {(0, 1): [free], (1, 3): [free], (2, 3): [free]}
    solution = planner.least_cost(segments, 3, 10)
    assert solution is not None
    assert [(choice.first, choice.last) for choice in solution.choices] == [(0, 1), (1, 3)]
    assert planner.least_cost({(0, 1): [free]}, 3, 10) is None


@pytest.mark.parametrize('needed', [1, 501, 1004, 999_999])
def test_one_segment_that_fits_no_grid_has_a_plan_all_the_same(needed: int):
    assert planner.least_peak({(0, 1): [Option(kept=0, needed=needed, cost=0.0)]}, 1).peak == needed


def test_no_plan_of_so_little_work():
    segments = {(0, 1): [Option(kept=1, needed=0, cost=3.0)]}
    with pytest.raises(ValueError, match='no plan costs 2'):
        planner.least_peak(segments, 1, most_cost=2)
    assert planner.least_peak(segments, 1, most_cost=3).peak == 1


@pytest.mark.parametrize(('length', 'ends'), [(1, [1]), (9, [3, 6, 9]), (10, [3, 7, 10]), (16, [4, 8, 12, 16])])
def test_the_square_root_rule_cuts_into_equal_segments(length: int, ends: list[int]):
    solution = chains.equal_segments(chains.plain_chain([2] * length, [1.0] * length), length)
    assert [choice.last for choice in solution.choices] == ends
    assert [choice.first for choice in solution.choices] == [0, *ends[:-1]]


def test_the_square_root_rule_on_an_even_chain_holds_twice_the_square_root():
    """Chen et al.: sqrt(n) kept outputs and one segment of sqrt(n) stages."""
    solution = chains.equal_segments(chains.plain_chain([1] * 100, [1.0] * 100), 100)
    assert (solution.peak, solution.cost) == (19, 91)  # 9 kept, the last segment's 10; all but the kept ones again


@pytest.mark.parametrize('seed', range(20))
def test_no_rule_of_equal_segments_beats_the_planner_at_its_memory(seed: int):
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, 12)
    for count in range(1, chain.length + 1):
        rule = chains.equal_segments(chain.segments, chain.length, count)
        solution = planner.least_cost(chain.segments, chain.length, rule.peak)
        assert solution is not None and solution.cost <= rule.cost


def test_unequal_chains_cost_clearly_less_than_by_the_square_root_rule():
    """Sizes that halve while widths double, and a few heavy stages, as in a convolutional net."""
    rng = np.random.default_rng(0)
    rule_work = work = 0.0
    for _ in range(20):
        sizes, works = rng.integers(1, 40, 12), rng.integers(1, 1000, 12).astype(float)
        chain = Chain(sizes, works)
        rule = chains.equal_segments(chain.segments, 12)
        solution = planner.least_cost(chain.segments, 12, rule.peak)
        assert solution is not None
        rule_work, work = rule_work + rule.cost, work + solution.cost
    assert work < 0.85 * rule_work


def test_a_size_without_work_is_refused():
    with pytest.raises(ValueError, match='got 2 sizes and 1 works'):
        chains.plain_chain([1, 2], [1.0])


def test_choices_cover_the_chain_in_order():
    solution = planner.least_cost(chains.plain_chain([3] * 30, [1.0] * 30), 30, 33)
    assert solution is not None
    choices: list[Choice] = list(solution.choices)
    assert choices[0].first == 0 and choices[-1].last == 30
    assert all(a.last == b.first for a, b in itertools.pairwise(choices))


@dataclasses.dataclass(frozen=True)
class Tree:
    """Stages first + 1 .. last of a chain: a single one, or several that run again by the plan of their parts."""

    first: int
    last: int
    parts: tuple[Tree, ...] = ()


def every_plan(first: int, last: int) -> list[tuple[Tree, ...]]:
    """Every way to cut stages into parts: single ones, whose output is kept, and longer ones with a plan of their own.

    One part alone would only run the same plan once more.
    """
    if first == last:
        return [()]
    found = []
    for end in range(first + 1, last + 1):
        ways = [Tree(first, end)] if end - first == 1 else []
        if end - first > 1 and end < last:
            ways = [Tree(first, end, inside) for inside in every_plan(first, end)]
        found += [(way, *rest) for way in ways for rest in _after(end, last)]
    return found


def _after(first: int, last: int) -> list[tuple[Tree, ...]]:
    """Every way to cut what follows a first part; here one long part may be all there is."""
    whole = [(Tree(first, last, inside),) for inside in every_plan(first, last)] if last - first > 1 else []
    return every_plan(first, last) + whole


class Machine:
    """Carries a plan out stage by stage, with the outputs that are in memory at every moment."""

    def __init__(self, chain: Chain):
        self._chain = chain
        self._held: set[int] = set()
        self.peak = 0
        self.runs = np.zeros(chain.length, int)

    def train(self, plan: tuple[Tree, ...]) -> None:
        """Forward and backward: a stage's output is dropped when the backward pass is past it."""
        self._forward(plan, there=None)
        for tree in reversed(plan):
            self._backward(tree)

    def _backward(self, tree: Tree) -> None:
        if tree.parts:
            self._forward(tree.parts, there=tree.last)
            for part in reversed(tree.parts):
                self._backward(part)
        else:
            self._held.remove(tree.last)

    def _forward(self, plan: tuple[Tree, ...], there: int | None) -> None:
        """Runs all stages, but the one whose output is there; the ends of the plan's parts stay."""
        for tree in plan:
            for stage in range(tree.first + 1, tree.last + 1):
                if stage != there:
                    self.runs[stage - 1] += 1
            self._held.add(tree.last)
            self.peak = max(self.peak, sum(self._chain.sizes[stage - 1] for stage in self._held))


@pytest.mark.parametrize('seed', range(40))
def test_plans_inside_plans_equal_brute_force(seed: int):
    """Every plan of up to seven stages, carried out, beside which the planner's formula is not needed."""
    rng = np.random.default_rng([3, seed])
    chain = random_chain(rng, 7)
    peaks, works = [], []
    for plan in every_plan(0, chain.length):
        machine = Machine(chain)
        machine.train(plan)
        peaks.append(machine.peak)
        works.append(float((machine.runs - 1) @ chain.work))
    peaks, works = np.array(peaks), np.array(works)
    segments, reruns = chain.segments, chains.plain_reruns(chain.sizes.tolist(), chain.work.tolist())
    for budget in {int(peaks.min()), int(peaks.max()), *rng.integers(peaks.min(), peaks.max() + 1, 3).tolist()}:
        solution = planner.least_cost(segments, chain.length, budget, reruns)
        assert solution is not None and solution.peak <= budget
        assert solution.cost == works[peaks <= budget].min()
    assert planner.least_cost(segments, chain.length, int(peaks.min()) - 1, reruns) is None
    assert planner.least_peak(segments, chain.length, precision=0, reruns=reruns).peak == peaks.min()
