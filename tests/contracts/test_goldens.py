"""What each architecture computed on each extractor when it was equal to the reference, kept under tests/goldens/.

Unlike the fixtures of the reference these need no data beside the checkout. A golden is renewed because the definition
changed, never to make a test pass: make golden NAME=icnet_dilated_resnet50.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from core.fields import LOGITS
from tests.conftest import ROOT
from tests.contracts.configs import build_model

_FOLDER = ROOT / 'tests' / 'goldens'
_CASES = [(a, e) for a in ('icnet', 'pspnet') for e in ('dilated_resnet50', 'dilated_mobilenet')]
_HEIGHT, _WIDTH = 33, 65
_STEP = 4


@pytest.mark.parametrize(('architecture', 'extractor'), _CASES)
def test_golden(architecture: str, extractor: str):
    name = f'{architecture}_{extractor}'
    path = _FOLDER / f'{name}.json'
    computed = _compute(architecture, extractor)
    if name in os.environ.get('GOLDEN', '').split(','):
        path.write_text(json.dumps(computed) + '\n', encoding='utf-8')
    golden = json.loads(path.read_text(encoding='utf-8'))
    assert computed['variables'] == golden['variables'], 'names or shapes of variables: old checkpoints would not load'
    have, want = (np.array(result['logits_every_4th']) for result in (computed, golden))
    assert np.linalg.norm(have - want) / np.linalg.norm(want) < 1e-3
    assert computed['losses'] == pytest.approx(golden['losses'], rel=5e-3)


def _compute(architecture: str, extractor: str) -> dict[str, Any]:
    """Variables (count and digest of names and shapes), logits in inference, losses in training; weights are seeded."""
    model = build_model(architecture, extractor)
    variables = model.variables_by_name()
    for name, variable in variables.items():
        variable.assign(_weight(name, tuple(variable.shape)))
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 255, (2, _HEIGHT, _WIDTH, 3)).astype(np.float32))
    labels = tf.constant(rng.choice([0, 1, 2, 255], (2, _HEIGHT, _WIDTH)).astype(np.int32))

    def infer(x: tf.Tensor) -> tf.Tensor:
        return model.predict(model.preprocess(x), is_training=False)[LOGITS]

    def losses(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.loss(model.predict(model.preprocess(x), is_training=True), y)

    logits = tf.function(infer, autograph=False)(images[:1]).numpy()[0, ::_STEP, ::_STEP]
    names = '\n'.join(f'{name} {variable.shape.as_list()}' for name, variable in sorted(variables.items()))
    return {
        'variables': [len(variables), hashlib.sha256(names.encode()).hexdigest()],
        'logits_every_4th': np.round(logits.astype(float), 5).tolist(),
        'losses': {k: float(v) for k, v in sorted(tf.function(losses, autograph=False)(images, labels).items())},
    }


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A function of name and shape alone: He-normal kernels, scales and variances around 1, the rest around 0."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith('weights'):
        return rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
    if name.endswith(('gamma', 'moving_variance')):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 0.1, shape)
