"""Which checkpoints are evaluated: each once, in order, also while training writes them."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from core.errors import CheckpointError
from engine import checkpoint_queue, checkpoints


def _save(folder, *steps):
    return [checkpoints.save(folder, step, {'weights': np.zeros(1, np.float32)}) for step in steps]


def test_newest_is_the_highest_step(tmp_path):
    paths = _save(tmp_path, 9, 10)
    assert checkpoint_queue.newest(str(tmp_path)) == paths[1]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'no checkpoint .* check --train_dir'):
        checkpoint_queue.newest(str(tmp_path))


@pytest.mark.parametrize('name', ['9', 'model.ckpt-9', 'model.ckpt-9.index', '{folder}/model.ckpt-9'])
def test_starting_at_takes_a_step_a_name_or_a_path(tmp_path, name):
    paths = _save(tmp_path, 2, 9, 10)
    assert checkpoint_queue.starting_at(str(tmp_path), name.format(folder=tmp_path)) == paths[1:]


def test_starting_at_lists_what_is_there(tmp_path):
    with pytest.raises(CheckpointError, match=r'no checkpoint model\.ckpt-3; there is none'):
        checkpoint_queue.starting_at(str(tmp_path), '3')
    _save(tmp_path, 2, 9, 10, 11, 12)
    with pytest.raises(CheckpointError, match=r'ckpt-3; there are model\.ckpt-2, .*-9, .*-10, \.\.\., model\.ckpt-12$'):
        checkpoint_queue.starting_at(str(tmp_path), '3')


def test_follow_yields_each_new_one_once_in_order_until_the_last_step(tmp_path):
    first = _save(tmp_path, 5)
    later = iter([(), (7, 10), (), (20,), ()])
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        _save(tmp_path, *next(later))

    yielded = checkpoint_queue.follow(str(tmp_path), first=first, last_step=20, poll_seconds=3, sleep=sleep)
    assert [checkpoints.step_of(path) for path in yielded] == [5, 7, 10, 20]
    assert waits == [3, 3, 3, 3]


def test_follow_waits_for_a_folder_that_appears_later(tmp_path):
    folder = tmp_path / 'train'

    def sleep(_):
        _save(folder, 4)

    yielded = checkpoint_queue.follow(str(folder), first=[], last_step=4, sleep=sleep)
    assert [checkpoints.step_of(path) for path in yielded] == [4]


def test_follow_ends_when_nothing_new_comes(tmp_path):
    waits = []
    first = _save(tmp_path, 5)
    yielded = checkpoint_queue.follow(
        str(tmp_path), first=first, poll_seconds=4, timeout_seconds=10, sleep=waits.append
    )
    assert list(yielded) == first
    assert sum(waits) == 12


def test_a_restarted_follow_goes_on_behind_what_is_evaluated(tmp_path):
    _save(tmp_path, 5, 7, 9)

    def sleep(_):
        _save(tmp_path, 11)

    yielded = checkpoint_queue.follow(str(tmp_path), first=[], evaluated=[5, 7], last_step=11, sleep=sleep)
    assert [checkpoints.step_of(path) for path in yielded] == [9, 11]


def test_a_restarted_follow_that_was_done_ends_at_once(tmp_path):
    _save(tmp_path, 5, 7)
    assert list(checkpoint_queue.follow(str(tmp_path), first=[], evaluated=[5, 7], last_step=7)) == []


def test_starting_at_leaves_out_what_is_evaluated_even_if_it_is_gone(tmp_path):
    paths = _save(tmp_path, 7, 9, 11)
    assert checkpoint_queue.starting_at(str(tmp_path), '5', evaluated=[5, 9]) == [paths[0], paths[2]]
    with pytest.raises(CheckpointError, match=r'no checkpoint model\.ckpt-6'):
        checkpoint_queue.starting_at(str(tmp_path), '6', evaluated=[5, 9])


def test_only_results_of_this_train_dir_count_as_evaluated(tmp_path):
    train, results = tmp_path / 'train', tmp_path / 'eval'
    results.mkdir()
    for step, text in (
        (5, json.dumps({'checkpoint': f'{train}/model.ckpt-5'})),
        (20, json.dumps({'checkpoint': f'{tmp_path}/other/model.ckpt-20'})),
        (30, '{"checkpoint": '),
        (9, json.dumps({'checkpoint': os.path.relpath(f'{train}/model.ckpt-9')})),
        (40, '[]'),
    ):
        (results / f'metrics-{step}.json').write_text(text)
    assert checkpoint_queue.evaluated_steps(str(results), f'{train}/') == [5, 9]
    assert checkpoint_queue.evaluated_steps(str(tmp_path / 'none'), str(train)) == []
