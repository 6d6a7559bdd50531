"""Stages in threads: order, bounds, errors, and an end that leaves no thread."""

from __future__ import annotations

import threading
import time

import pytest

from engine.overlapped import Stopwatch, overlapped


def test_the_order_is_kept_through_stages():
    stage = overlapped(i * i for i in range(100))
    assert list(overlapped(value + 1 for value in stage)) == [i * i + 1 for i in range(100)]


def test_only_so_many_items_wait():
    made = []

    def items():
        for i in range(50):
            made.append(i)
            yield i

    stage = overlapped(items(), depth=3)
    assert next(stage) == 0
    time.sleep(0.3)
    assert len(made) == 5  # one taken, three waiting, one in the hand of the thread
    stage.close()


def test_an_error_comes_after_what_was_made_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError('broken')

    seen = []
    with pytest.raises(ValueError, match='broken'):
        for item in overlapped(overlapped(items())):
            seen.append(item)
    assert seen == [1, 2]


def test_closing_ends_the_threads_and_closes_the_source():
    before, closed = threading.active_count(), []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    first = overlapped(endless())
    second = overlapped(item for item in first)
    assert next(second) == 0
    assert threading.active_count() == before + 2
    second.close()
    first.close()
    assert threading.active_count() == before and closed == [True]


def test_stages_work_at_the_same_time():
    meet = threading.Barrier(2, timeout=20)  # broken if the second stage waited for the first to be at rest

    def first():
        yield 0
        meet.wait()
        yield 1

    stage = overlapped(first())
    assert next(stage) == 0
    meet.wait()  # item 1 is being made while item 0 is being used
    assert next(stage) == 1
    stage.close()


def test_the_first_call_is_not_timed():
    watch = Stopwatch()
    sleep = watch.timed(time.sleep)
    sleep(0.5)
    assert watch.per_second is None
    sleep(0.01)
    assert watch.per_second is not None and watch.per_second > 2
    assert watch.timed(divmod)(7, 2) == (3, 1)
