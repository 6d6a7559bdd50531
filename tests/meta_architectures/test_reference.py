"""PSPNet and ICNet against what the public reference implementation computes from the same seeded weights.

The fixtures lie in ../shared/reference, whose README says how they were made; they are never renewed from this code.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from core.fields import LOGITS
from tests.contracts.configs import build_model

_CASES = {'icnet_resnet_v1_50': 'icnet', 'pspnet_resnet_v1_50': 'pspnet'}


@pytest.fixture(params=_CASES, scope='module')
def case(request, shared_dir: Path):
    folder = shared_dir / 'reference'
    spec = importlib.util.spec_from_file_location('seeded', folder / 'seeded.py')
    assert spec is not None and spec.loader is not None
    seeded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seeded)
    facts = json.loads((folder / f'{request.param}.json').read_text())
    outputs = np.load(folder / f'{request.param}.npz')
    model = build_model(_CASES[request.param], num_classes=facts['num_classes'], filter_scale=1.0)
    for name, variable in model.variables_by_name().items():
        variable.assign(seeded.weight(name, tuple(variable.shape)))
    return model, facts, outputs, seeded


def test_variables_have_the_names_shapes_and_roles_of_the_reference(case):
    model, facts, _, _ = case
    want = {v['name']: (tuple(v['shape']), v['trainable']) for v in facts['variables']}
    have = {name: (tuple(v.shape), v.trainable) for name, v in model.variables_by_name().items()}
    assert have == want


def test_logits_and_labels_equal_the_reference(case):
    model, facts, outputs, seeded = case
    images = tf.constant(seeded.image(facts['height'], facts['width']))
    infer = tf.function(lambda x: model.predict(model.preprocess(x), is_training=False)[LOGITS], autograph=False)
    logits = infer(images).numpy()[0]
    want = outputs['logits_every_16th']
    assert np.linalg.norm(logits[::16, ::16] - want) / np.linalg.norm(want) < 1e-3
    assert (logits.argmax(-1) == outputs['argmax']).mean() > 0.999


def test_training_losses_equal_the_reference(case):
    model, facts, _, seeded = case
    images = tf.constant(seeded.image(facts['height'], facts['width']))
    labels = seeded.labels(facts['height'], facts['width'], facts['num_classes'])[..., 0].astype(np.int32)

    def losses_of(x, y):
        return model.loss(model.predict(model.preprocess(x), is_training=True), y)

    losses = tf.function(losses_of, autograph=False)(images, tf.constant(labels))
    assert set(losses) == set(facts['training_losses'])
    for name, want in facts['training_losses'].items():
        assert float(losses[name]) == pytest.approx(want, rel=1e-3)
