"""From bytes that are held to bytes that a process takes, and back."""

from __future__ import annotations

import pytest

from recompute import overhead


@pytest.mark.parametrize('held', [0, 1, 7, 1_000_003, 925_123_457, 31_234_567_891])
def test_what_is_told_to_be_taken_is_just_enough_to_hold_it(held: int):
    taken = overhead.taken(held)
    assert taken > held and overhead.may_hold(taken) == held
    assert overhead.may_hold(taken - 1) < held


def test_nothing_can_be_held_in_less_than_is_always_taken():
    assert overhead.may_hold(overhead.taken(0) - 1) < 0
