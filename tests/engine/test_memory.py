"""What is reserved is not taken, and what is freed is given back."""

from __future__ import annotations

import contextlib
import ctypes
import time

import pytest
import tensorflow as tf

from engine import memory

GIGABYTE = 1 << 30


def test_what_is_reserved_costs_nothing_until_it_is_used():
    before = memory.resident_bytes()
    memory.reserve(2 * GIGABYTE)
    assert memory.resident_bytes() - before < GIGABYTE // 10


def test_a_reservation_is_made_outside_of_the_function_being_traced():
    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        memory.reserve(GIGABYTE)
        return tf.constant(1)

    assert not [op for op in step.get_concrete_function().graph.get_operations() if op.type == 'Empty']


def test_more_than_there_is_is_not_asked_for():
    memory.reserve(1 << 60)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='the C library keeps no freed memory')
def test_freed_memory_is_given_back_meanwhile_and_not_after():
    def keep_freed_memory() -> tuple[int, int]:
        """Blocks that fill a heap but for one at its end, which would hold all of them; (block left, bytes before)."""
        before = memory.resident_bytes()
        blocks = [libc.malloc(4000) for _ in range(50_000)]
        for block in blocks:
            ctypes.memset(block, 1, 4000)
        for block in blocks[:-1]:
            libc.free(block)
        return blocks[-1], before

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    with memory.returning_freed():
        last, before = keep_freed_memory()
        deadline = time.monotonic() + 20
        while memory.resident_bytes() - before > 50_000_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert memory.resident_bytes() - before < 50_000_000
        libc.free(last)
    last, before = keep_freed_memory()
    time.sleep(0.3)
    assert memory.resident_bytes() - before > 100_000_000
    libc.free(last)


def test_only_the_first_call_of_a_step_is_frugal(monkeypatch):
    entered = []

    @contextlib.contextmanager
    def told():
        entered.append(len(entered))
        yield

    monkeypatch.setattr(memory, 'returning_freed', told)
    step = memory.frugal_at_first(lambda number, *, more: number + more)
    assert [step(1, more=2), step(3, more=4)] == [3, 7]
    assert entered == [0]
