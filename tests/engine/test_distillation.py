"""A teacher in training: what it adds to the loss, what it leaves alone, and which ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from builders import config_loader, model_builder
from core.errors import CheckpointError, ConfigError
from engine import checkpoints, inference
from engine.distillation import Teacher
from engine.train_lib import TrainOptions, train
from protos.pipeline_pb2 import PipelineConfig
from protos.train_pb2 import Distillation
from recompute.plan import Mode, Request
from tests import tiny_training
from tests.contracts.configs import model_config


@pytest.fixture(scope='module')
def teacher(tmp_path_factory) -> Distillation:
    """An untrained FCN of three classes, whose config and checkpoint lie in one folder."""
    folder = tmp_path_factory.mktemp('teacher')
    tf.random.set_seed(11)
    config = PipelineConfig(model=model_config('fcn', 'mobilenet_v1', filter_scale=0.125, loss='', extra='stride: 8'))
    config_loader.save(config, str(folder / 'pipeline.config'))
    checkpoints.save(folder, 7, inference.build_model(config).variables_by_name())
    return Distillation(
        config_path=str(folder / 'pipeline.config'), checkpoint=str(folder), temperature=3.0, weight=0.5
    )


def run(
    logdir: Path, teacher: Distillation | None = None, *, build_model=tiny_training.build_model, num_steps=6, **options
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """A few steps of a small net: lines of metrics, tensors of the last checkpoint."""
    config = tiny_training.config(f'train_config {{ log_every_n_steps: 1 num_steps: {num_steps} }}')
    if teacher:
        config.train_config.distillation.CopyFrom(teacher)
    options = TrainOptions(logdir=str(logdir), **options)
    train(config, options, build_model=build_model, build_dataset=tiny_training.build_dataset)
    lines = [json.loads(line) for line in (logdir / 'metrics.jsonl').read_text().splitlines()]
    reader = checkpoints.read(logdir)
    return lines, {name: reader.tensor(name) for name in reader.shapes}


def test_it_adds_the_divergence_of_the_resized_main_head(teacher):
    learned = Teacher(teacher, num_classes=3, input_channels=3, ignore_label=255)
    rng = np.random.default_rng(1)
    batch = {
        'image': tf.constant(rng.uniform(0, 255, (2, 33, 49, 3)), tf.float32),
        'label': tf.constant(rng.choice([0, 1, 2, 255], (2, 33, 49)), tf.int32),
    }
    student = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)  # the teacher's own stride: nothing is interpolated
    model = inference.build_model(config_loader.load(teacher.config_path))
    checkpoints.restore_variables(model.variables_by_name(), teacher.checkpoint, strict=True)
    logits = model.strided_logits(model.preprocess(batch['image'])).numpy()
    p, q = (np.exp(x.astype(np.float64) / 3) for x in (logits, student))
    p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
    valid = batch['label'].numpy()[:, ::8, ::8] != 255
    want = 0.5 * 9 * (p * np.log(p / q)).sum(-1)[valid].mean()
    assert float(learned.loss(batch, {'logits': student})) == pytest.approx(want, rel=1e-3)


def test_training_learns_it_and_keeps_nothing_of_the_teacher(teacher, tmp_path):
    plain_lines, plain = run(tmp_path / 'plain')
    lines, tensors = run(tmp_path / 'taught', teacher)
    assert 'distillation_loss' not in plain_lines[0] and lines[0]['distillation_loss'] > 0
    parts = ('loss', 'regularization_loss', 'distillation_loss')
    assert lines[0]['total_loss'] == pytest.approx(sum(lines[0][part] for part in parts), rel=1e-5)
    assert lines[0]['loss'] == pytest.approx(plain_lines[0]['loss'], rel=1e-6)
    assert set(tensors) == set(plain)
    moved = [name for name in plain if not np.array_equal(plain[name], tensors[name])]
    assert 'Predictions/Conv/weights' in moved


def test_a_plan_changes_no_number_and_does_not_run_the_teacher_twice(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_training, 'HEIGHT', 65)
    monkeypatch.setattr(tiny_training, 'WIDTH', 97)

    def build_model(config, **settings):
        del config
        return model_builder.build(config_loader.load(teacher.config_path).model, **settings)

    lines, tensors = run(tmp_path / 'plain', teacher, build_model=build_model, num_steps=2)
    request = Request(mode=Mode.MEMORY)
    planned_lines, planned = run(tmp_path / 'planned', teacher, build_model=build_model, num_steps=2, recompute=request)
    plan = json.loads((tmp_path / 'planned' / 'recompute_plan.json').read_text())
    assert plan['extra_work'] > 0
    assert [line['total_loss'] for line in planned_lines] == [line['total_loss'] for line in lines]
    assert all(np.array_equal(tensors[name], planned[name]) for name in tensors)


@pytest.mark.parametrize(
    ('changes', 'error', 'said'),
    [
        ({'config_path': 'missing.config'}, ConfigError, r'distillation\.config_path: missing\.config: cannot read'),
        ({'checkpoint': 'nowhere'}, CheckpointError, 'nowhere'),
        ({'num_classes': 5}, ConfigError, r'pipeline\.config has 3 classes, but the model to train has 5; choose a'),
        ({'input_channels': 4}, ConfigError, 'has 3 input channels, but the model to train has 4'),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(teacher, changes, error, said):
    fits = {'num_classes': 3, 'input_channels': 3, 'ignore_label': 255}
    settings = Distillation()
    settings.CopyFrom(teacher)
    for name in ('config_path', 'checkpoint'):
        setattr(settings, name, changes.get(name, getattr(teacher, name)))
    with pytest.raises(error, match=said):
        Teacher(settings, **{name: changes.get(name, value) for name, value in fits.items()})
