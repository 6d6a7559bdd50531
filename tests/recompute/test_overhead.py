"""From bytes that are held to bytes that a process takes, and back."""

from __future__ import annotations

import pytest

from recompute.overhead import FRAGMENTATION, RUNTIME_BYTES, Overhead

OPERAND = 270_000_000


@pytest.mark.parametrize('planned', [False, True])
@pytest.mark.parametrize('held', [0, 1, 7, 1_000_003, 925_123_457, 31_234_567_891])
def test_what_is_told_to_be_taken_is_enough_to_hold_it(held: int, planned: bool):
    overhead = Overhead(largest_operand_bytes=OPERAND)
    taken = overhead.taken(held, planned=planned)
    assert held <= overhead.may_hold(taken, planned=planned) <= held + 2
    assert overhead.may_hold(taken - 3, planned=planned) < held or held == 0


def test_gaps_are_those_of_a_plan():
    overhead = Overhead(largest_operand_bytes=OPERAND)
    fixed = OPERAND + RUNTIME_BYTES
    assert overhead.taken(1_000_000, planned=False) == fixed + 1_000_000
    assert overhead.taken(1_000_000, planned=True) == pytest.approx(fixed + FRAGMENTATION * 1_000_000, abs=1)


def test_nothing_can_be_held_in_less_than_is_always_taken():
    assert Overhead(largest_operand_bytes=OPERAND).may_hold(RUNTIME_BYTES, planned=True) < 0
