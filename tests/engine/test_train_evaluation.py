"""Evaluation within a training: at the right steps, of the weights being trained, lost or repeated by no crash."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from core.errors import UsageError
from engine import best_checkpoint, checkpoints, eval_lib, eval_results, train_evaluation
from engine.eval_lib import Evaluator
from engine.metrics_log import MetricsLog
from engine.train_lib import TrainOptions, train
from tests import tiny_run, tiny_training

STEPS = [4, 8, 10]


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    """Three pictures whose classes are their brightest channels, as in training; a tenth is ignored."""
    rng = np.random.default_rng(5)
    shape = (tiny_training.HEIGHT, tiny_training.WIDTH)
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(3)]
    labels = [np.where(rng.random(shape) < 0.1, 255, image.argmax(-1)).astype(np.uint8) for image in images]
    path = tmp_path_factory.mktemp('records') / 'eval.tfrecord'
    tiny_run.write_records(path, images, labels, ['a.png', 'b.png', 'c.png'])
    return path


def config(records, text='', *, num_steps=10):
    return tiny_training.config(
        f'train_config {{ num_steps: {num_steps} eval_interval: 4 {text} }}',
        f'eval_input_reader {{ tf_record_input_reader {{ input_path: "{records}" }} }}',
    )


def run(logdir, records, text='', **options):
    return train(
        config(records, text, **options),
        TrainOptions(logdir=str(logdir)),
        build_model=tiny_training.build_model,
        build_dataset=tiny_training.build_dataset,
    )


def lines(logdir):
    return [json.loads(line) for line in Path(logdir, 'metrics.jsonl').read_text().splitlines()]


def results(logdir, step):
    return json.loads(Path(logdir, 'evaluation', f'metrics-{step}.json').read_text())


def best(logdir):
    return json.loads((Path(logdir) / 'best' / 'best.json').read_text())


def files(logdir):
    return sorted(p.name for p in Path(logdir, 'best').iterdir())


@pytest.fixture(scope='module')
def trained(tmp_path_factory, records):
    """A whole run; nothing writes into it. No second model is made for the evaluations."""
    logdir = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eval_lib.inference, 'build_model', lambda config: pytest.fail('a second model'))
        assert run(logdir, records) == 10
    return logdir


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of it, to go on with."""
    return Path(shutil.copytree(trained, tmp_path / 'copied'))


def test_every_interval_and_the_last_step_are_evaluated(trained):
    assert eval_results.evaluated_steps(str(trained / 'evaluation')) == STEPS
    assert [results(trained, step)['step'] for step in STEPS] == STEPS
    assert all(results(trained, step)['num_examples'] == 3 for step in STEPS)


def test_the_scores_are_those_of_the_saved_checkpoint(trained, records):
    model = tiny_training.build_model(config(records).model)
    model.build()
    evaluator = Evaluator(config(records), model)
    for step in STEPS:
        again = evaluator.evaluate(str(trained / f'model.ckpt-{step}')).metrics
        stored = results(trained, step)
        assert again['confusion_matrix'] == stored['confusion_matrix']
        assert again['cross_entropy'] == pytest.approx(stored['cross_entropy'], rel=1e-6)


def test_the_training_itself_is_not_changed(trained, tmp_path):
    train(
        tiny_training.config('train_config { num_steps: 10 }'),
        TrainOptions(logdir=str(tmp_path)),
        build_model=tiny_training.build_model,
        build_dataset=tiny_training.build_dataset,
    )
    ours, plain = checkpoints.read(trained), checkpoints.read(tmp_path)
    for name in plain.shapes:
        np.testing.assert_array_equal(ours.tensor(name), plain.tensor(name), err_msg=name)


def test_curves_are_in_metrics_jsonl_and_tensorboard(trained):
    written = lines(trained)
    assert [line['step'] for line in written] == [2, 4, 6, 8, 10]
    for line in written:
        assert ('eval/mean_iou' in line) == (line['step'] in STEPS)
        if line['step'] in STEPS:
            assert line['eval/mean_iou'] == results(trained, line['step'])['mean_iou']
            assert line['total_loss'] > 0
    shown = {
        (value.tag, event.step)
        for path in trained.glob('evaluation/events.*')
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {('metrics/mean_iou', step) for step in STEPS} <= shown


@pytest.mark.parametrize(
    ('metric', 'choose'),
    [('mean_iou', max), pytest.param('class_iou.class_1', max, marks=pytest.mark.slow), ('cross_entropy', min)],
)
def test_the_best_is_kept(trained, tmp_path, records, metric, choose):
    logdir = trained if metric == 'mean_iou' else tmp_path
    if logdir == tmp_path:
        run(logdir, records, f'best_metric: "{metric}"')
    values = {step: train_evaluation.metric_value(results(logdir, step), metric) for step in STEPS}
    step = choose(values, key=lambda step: values[step])
    assert best(logdir) == {
        'metric': metric,
        'value': values[step],
        'step': step,
        'checkpoint': f'model.ckpt-{step}',
    }
    kept, saved = (checkpoints.read(logdir / where / f'model.ckpt-{step}') for where in ('best', '.'))
    assert kept.shapes == saved.shapes
    for name in kept.shapes:
        np.testing.assert_array_equal(kept.tensor(name), saved.tensor(name))
    assert files(logdir) == [
        'best.json',
        f'model.ckpt-{step}.data-00000-of-00001',
        f'model.ckpt-{step}.index',
    ]


STILL = 'optimizer { momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 1e-30 } } } }'
FROZEN = f'freeze_fine_tune_backbone: true {STILL}'


def test_patience_ends_a_training_that_stands_still(tmp_path, records, caplog):
    with caplog.at_level(logging.INFO):
        assert run(tmp_path, records, f'patience: 2 {FROZEN}', num_steps=1000) == 12
    said = 'stopped early: no better mean_iou than {:.4f} of step 4 in 2 evaluations (train_config.patience); its'
    assert said.format(best(tmp_path)['value']) in caplog.text
    assert (best(tmp_path)['step'], eval_results.evaluated_steps(str(tmp_path / 'evaluation'))) == (4, [4, 8, 12])
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert run(tmp_path, records, f'patience: 2 {FROZEN}', num_steps=1000) == 12  # the same command: nothing more
    assert 'stopped early' in caplog.text
    assert run(tmp_path, records, f'patience: 3 {FROZEN}', num_steps=1000) == 16


_PLACES = [
    (Evaluator, 'evaluate'),
    (eval_results, 'write'),
    (best_checkpoint, 'keep'),
    (best_checkpoint, 'tidy'),
    (MetricsLog, 'merge'),
]


@pytest.mark.parametrize(
    ('place', 'name', 'call'),
    [
        *((*place, 1) for place in _PLACES),
        *(pytest.param(*place, 3, marks=pytest.mark.slow) for place in _PLACES),
    ],
)
def test_a_crash_anywhere_loses_and_repeats_no_evaluation(tmp_path, trained, records, monkeypatch, place, name, call):
    calls, evaluated = iter(range(1, 100)), []
    original, evaluate = getattr(place, name), Evaluator.evaluate

    class Crash(Exception):
        pass

    def crashing(*arguments, **options):
        if not options.get('max_examples') and next(calls) == call:
            raise Crash
        return original(*arguments, **options)

    def counting(self, restored, **options):
        result = evaluate(self, restored, **options)
        if 'max_examples' not in options:
            evaluated.append(restored.step)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, 'evaluate', counting)
        original = getattr(place, name)
        patch.setattr(place, name, crashing)
        try:
            run(tmp_path, records)
        except Crash:
            pass
        else:
            assert name in ('keep', 'tidy'), 'the crash did not come'
        patch.setattr(place, name, original)
        run(tmp_path, records)
    repeated = [step for step in set(evaluated) if evaluated.count(step) > 1]
    assert len(repeated) <= (name == 'write')  # results that were never written
    assert sorted(set(evaluated)) == STEPS
    assert best(tmp_path) == best(trained) and files(tmp_path) == files(trained)
    plain, resumed = lines(trained), lines(tmp_path)
    assert [line['step'] for line in resumed] == [line['step'] for line in plain]
    for ours, theirs in zip(resumed, plain, strict=True):
        for key in theirs:
            assert key == 'images_per_second' or ours[key] == pytest.approx(theirs[key]), (ours['step'], key)


def test_results_of_steps_to_be_done_again_are_removed(copied, records):
    (copied / 'model.ckpt-10.index').unlink()
    data = copied / 'model.ckpt-8.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:-9])
    marked = {**results(copied, 8), 'mean_iou': -1}
    (copied / 'evaluation' / 'metrics-8.json').write_text(json.dumps(marked))
    run(copied, records)
    assert results(copied, 8)['mean_iou'] >= 0
    assert eval_results.evaluated_steps(str(copied / 'evaluation')) == STEPS


def test_an_unknown_metric_is_answered_before_the_first_step(tmp_path, records):
    with pytest.raises(UsageError) as caught:
        run(tmp_path, records, 'best_metric: "mIoU"')
    assert "train_config.best_metric: got 'mIoU', choose from " in str(caught.value)
    for name in ('mean_iou', 'class_iou.class_2', 'cross_entropy'):
        assert name in str(caught.value)
    assert not checkpoints.all_checkpoints(tmp_path)


def test_another_best_metric_begins_anew(copied, records, caplog):
    run(copied, records, 'best_metric: "cross_entropy"', num_steps=12)
    assert 'is by mean_iou; from now on by cross_entropy' in caplog.text
    assert best(copied)['metric'] == 'cross_entropy' and best(copied)['step'] in (10, 12)


def test_undefined_scores_are_never_the_best():
    metrics = {'mean_iou': None, 'class_iou': {'road': 0.5, 'big.car': float('nan')}, 'flag': True, 'list': [1]}
    assert train_evaluation.metric_value(metrics, 'mean_iou') is None
    assert train_evaluation.metric_value(metrics, 'class_iou.road') == 0.5
    assert train_evaluation.metric_value(metrics, 'class_iou.big.car') is None
    for name in ('flag', 'list', 'class_iou', 'class_iou.sky'):
        with pytest.raises(UsageError, match=r'choose from class_iou\.big\.car, class_iou\.road, mean_iou$'):
            train_evaluation.metric_value(metrics, name)
