"""What is reserved is not taken."""

from __future__ import annotations

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
