"""What each cut of an iterative compression removes, and the schedule of the trainings between them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from compression import selection
from compression.targets import Amount, Target
from core import processor
from engine import devices
from engine.compression_plan import Options
from engine.iterative_compression import options_of
from engine.retraining import config_of, stretch
from protos.optimizer_pb2 import LearningRate
from protos.pipeline_pb2 import PipelineConfig
from tests.compression.test_selection import chain, counts, scores


def test_shares_of_the_original_fall_evenly_and_end_on_the_factor():
    shares = [options_of(Options(factor=0.3), number, 3).factor for number in (1, 2, 3)]
    assert shares[:2] == [pytest.approx(0.3 ** (1 / 3)), pytest.approx(0.3 ** (2 / 3))] and shares[2] == 0.3


def test_targets_fall_from_the_whole_to_the_goal():
    def values(amount: Amount) -> list[float]:
        options = Options(target=Target('target_flops', amount))
        found = [options_of(options, number, 2, whole=200.0).target for number in (1, 2)]
        assert all(target and not target.amount.is_share for target in found)
        return [target.amount.value for target in found if target]

    assert values(Amount(50.0)) == [pytest.approx(100.0), 50.0]
    assert values(Amount(0.25, is_share=True)) == [pytest.approx(100.0), 50.0]
    assert values(Amount(300.0)) == [200.0, 300.0]


def test_a_layer_cut_twice_has_the_filters_of_one_cut():
    """17 and 11 filters: 0.7 and then 0.5 / 0.7 of what is left would round twice."""
    graph = chain(17, 11, 3)
    sizes = [len(group.channels) for group in graph.groups]
    once = counts(graph, selection.Selector(graph, scores(graph))(0.5))
    half = [int(n) for n in counts(graph, selection.Selector(graph, scores(graph))(0.7))]
    smaller = chain(*half, 3)
    twice = counts(smaller, selection.Selector(smaller, scores(smaller), sizes=sizes)(0.5))
    assert twice == once == [8, 5]
    keep = selection.Selector(smaller, scores(smaller), sizes=sizes, scope='global')(0.5)
    assert int(keep.sum()) == round(0.5 * 28)
    assert np.all(selection.Selector(smaller, scores(smaller), sizes=sizes)(1.0))


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('cosine_decay_learning_rate { decay_steps: 2000 } warmup { num_steps: 200 }',
         'cosine_decay_learning_rate { decay_steps: 668 } warmup { num_steps: 67 }'),
        ('piecewise_constant_learning_rate { boundary: [1, 2, 1000] learning_rate: [4, 3, 2, 1] }',
         'piecewise_constant_learning_rate { boundary: [1, 2, 334] learning_rate: [4, 3, 2, 1] }'),
        ('one_cycle_learning_rate { total_steps: 2000 }', 'one_cycle_learning_rate { total_steps: 668 }'),
        ('constant_learning_rate { learning_rate: 0.5 }', 'constant_learning_rate { learning_rate: 0.5 }'),
    ],
)  # fmt: skip
def test_schedules_are_stretched(before: str, after: str):
    rate, want = (text_format.Parse(text, LearningRate()) for text in (before, after))
    stretch(rate, 2000, 668)
    assert rate == want
    stretch(rate, 0, 5)
    assert rate == want


def test_the_config_of_a_training_after_a_cut():
    config = text_format.Parse(
        'train_config { num_steps: 100 patience: 3 optimizer { adam_optimizer { learning_rate {'
        ' polynomial_decay_learning_rate { decay_steps: 100 } } } } }',
        PipelineConfig(),
    )
    made = config_of(config, cut='there', last_step=20, num_steps=40, evaluate_every=10).train_config
    rate = made.optimizer.adam_optimizer.learning_rate.polynomial_decay_learning_rate
    assert (made.num_steps, rate.decay_steps, made.patience, made.eval_interval) == (20, 40, 0, 10)
    assert (made.fine_tune_checkpoint, made.fine_tune_checkpoint_type) == ('there', 'segmentation')
    config.train_config.eval_interval = 7
    for every, interval in ((10, 7), (0, 0)):
        made = config_of(config, cut='there', last_step=20, num_steps=40, evaluate_every=every)
        assert made.train_config.eval_interval == interval


def test_what_a_training_asks_of_graphs_ends_with_it(monkeypatch):
    monkeypatch.setattr(processor, 'has_bfloat16', lambda: True)
    plain = {'remapping': True, 'arithmetic_optimization': True, 'auto_mixed_precision_onednn_bfloat16': False}
    tf.config.optimizer.set_experimental_options(plain)
    with devices.graph_options_kept():
        assert devices.use_bfloat16(True)
        devices.keep_order_of_sums()
        assert tf.config.optimizer.get_experimental_options()['remapping'] is False
    options = tf.config.optimizer.get_experimental_options()
    assert options['remapping'] and options['arithmetic_optimization']
    assert not options['auto_mixed_precision_onednn_bfloat16']
