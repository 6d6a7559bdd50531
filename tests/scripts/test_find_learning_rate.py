"""find_learning_rate.py's flags, and what it says; the sweep itself: tests/engine/test_learning_rate_finder.py."""

from __future__ import annotations

import pytest

import find_learning_rate
from core.errors import UsageError
from core.learning_rate_range import Suggestion
from engine.learning_rate_finder import Found

REQUIRED = ['--config_path=my.config', '--output_dir=rates']


@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--first_learning_rate=0', 'got 0 and 10, choose numbers above 0 that ascend'),
        ('--first_learning_rate=20', 'got 20 and 10, choose numbers above 0 that ascend'),
        ('--last_learning_rate=inf', 'got 1e-07 and inf, choose numbers above 0 that ascend'),
        ('--num_steps=9', '--num_steps: got 9, choose 10 or more'),
        ('--smoothing=1', '--smoothing: got 1, choose from 0 to below 1'),
        ('--num_clones=0', '--num_clones: got 0, choose 1 or more'),
    ],
)
def test_a_flag_out_of_range_is_answered_before_the_config_is_read(flag, message):
    with pytest.raises(UsageError, match=message):
        find_learning_rate.main([*REQUIRED, flag])


def found(suggestion, *, exploded):
    return Found(
        learning_rates=[1e-3, 1e-2], losses=[2.0, 1.0], smoothed=[2.0, 1.0], exploded=exploded, suggestion=suggestion
    )


def test_what_it_says():
    suggestion = Suggestion(steepest=3e-3, minimum=5e-2, tenth_of_minimum=5e-3)
    assert find_learning_rate._said(found(suggestion, exploded=True)) == (
        '2 steps, up to 0.01, where the loss exploded: choose a learning rate between 0.003 and 0.005 '
        '(steepest descent at 0.003, minimum at 0.05, a tenth of it 0.005)'
    )
    assert 'up to 0.01: the loss did not fall' in find_learning_rate._said(found(None, exploded=False))
