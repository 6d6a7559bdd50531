"""Every form of an export is the model: each architecture, of fixed and of free shape, at odd sizes.

That the ONNX form of ICNet loads at all is part of it: a plain conversion does not.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from builders import model_builder
from core.export_forms import FORMS
from core.servable import Servable
from engine import export_check
from engine.export_samples import Sample
from exporters import formats, frozen_graph, saved_model
from exporters.source import Source
from tests.contracts.configs import model_config
from tests.contracts.exported import spread_classes

_MODELS = {'icnet': 'resnet_v1_18', 'pspnet': 'resnet_v1_18', 'fcn': 'resnet_v1_18'}
_SHAPES = {'fixed': (1, 33, 65), 'free': (None, None, None)}
_FREE_SIZES = ((2, 33, 65), (1, 50, 41), (1, 64, 96))
# Quantised forms of random weights tell nothing; `tests/engine/test_export_lib.py` has them.
_FORMS = [name for name, form in FORMS.items() if not form.quantised]


def _mark(architecture: str, shape: str):
    marks = [] if (architecture, shape) == ('icnet', 'free') else [pytest.mark.slow]
    return pytest.param(architecture, shape, marks=marks, id=f'{architecture}-{shape}')


@pytest.mark.parametrize(('architecture', 'shape'), [_mark(a, s) for a in _MODELS for s in _SHAPES])
def test_every_form_is_the_model(architecture: str, shape: str, tmp_path):
    tf.random.set_seed(7)
    model = model_builder.build(model_config(architecture, _MODELS[architecture], filter_scale=0.125, loss=''))
    model.build()
    rng = np.random.default_rng(5)
    for name, variable in model.variables_by_name().items():
        if name.endswith('weights'):  # He's, at which signals neither vanish nor grow
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape))
    images = np.random.default_rng(3).integers(0, 256, (1, 33, 65, 3), np.uint8)
    assert len(np.unique(spread_classes(model, images).argmax(-1))) == 3
    servable = Servable(model=model, num_classes=3, pad_to_shape=(33, 49), with_logits=True)
    concrete = servable.trace(_SHAPES[shape])
    source = Source(
        concrete=concrete,
        frozen_graph=str(tmp_path / 'graph.pb'),
        saved_model=str(tmp_path / 'saved_model'),
        manifest='{"label_map": {}}',
    )
    frozen_graph.write(concrete, source.frozen_graph)
    saved_model.write(concrete, source.saved_model, manifest=source.manifest)
    reference = export_check.Reference(servable, ignore_label=255)
    samples = [Sample(images=images, labels=None)]
    if shape == 'free':
        samples = [Sample(images=rng.integers(0, 256, (*size, 3), np.uint8), labels=None) for size in _FREE_SIZES]

    for name in _FORMS:
        if FORMS[name].fixed and shape == 'free':
            continue
        form, path = formats.of(name), str(tmp_path / FORMS[name].entry)
        if form.write is None:
            path = source.saved_model
        else:
            form.write(source, path)
            assert form.manifest(path), name
        assert form.has_output(path, 'logits') and not form.has_output(path, 'probabilities'), name
        agreement = reference.compare(form.load(path, ['predictions', 'logits']), samples)
        least = 0.99 if name == 'tflite_float16' else 0.999  # of random weights; an export wants 99.9 % of trained ones
        assert agreement.equal_pixels >= least, (name, agreement)
