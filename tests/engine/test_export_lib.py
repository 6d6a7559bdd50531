"""An export is whole and equal to the model, or it is not there at all; a one-layer network stands in."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from builders import config_loader
from core.errors import CheckpointError, DataError, UsageError, UserError
from core.export_forms import FORMS
from engine import checkpoints, export_check, export_lib, inference, predict_lib
from engine.export_options import ExportOptions
from engine.timing.artefact import Artefact
from engine.timing.report import manifest_counts as report_counts
from exporters import formats, frozen_graph, saved_model
from exporters.optimise import weights as weights_pass
from tests import fake_model, tiny_run

FILES = [
    'frozen_inference_graph.pb',
    'label_map.json',
    'manifest.json',
    'model.ckpt.data-00000-of-00001',
    'model.ckpt.index',
    'pipeline.config',
    'saved_model',
]


@pytest.fixture
def model(monkeypatch):
    model = fake_model.FakeModel()
    monkeypatch.setattr(inference, 'build_model', lambda config: model)
    return model


@pytest.fixture
def export(model, tmp_path):
    """Exports to `<tmp_path>/export` with the given arguments and options."""
    config = config_loader.load(tiny_run.make(tmp_path).config_path, (), 'export')
    checkpoint = checkpoints.save(tmp_path / 'train', 7, model.variables_by_name())

    def call(**kwargs):
        arguments = {'checkpoint': checkpoint, 'output_dir': str(tmp_path / 'export')}
        arguments |= {name: kwargs.pop(name) for name in tuple(kwargs) if name in arguments}
        return export_lib.export(config, **arguments, options=ExportOptions(**{'verify_examples': 1, **kwargs}))

    return call


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_export_is_complete_and_agrees(export, tmp_path):
    report = export()
    assert _names(tmp_path / 'export') == FILES
    assert {name: found.equal_pixels for name, found in report.agreement.items()} == {
        'frozen_graph': 1.0,
        'saved_model': 1.0,
    }
    assert report.verified_on == 'images of eval_input_reader'
    assert (report.checkpoint, report.step) == (str(tmp_path / 'train' / 'model.ckpt-7'), 7)
    assert not list(tmp_path.glob('export.*'))


def test_a_folder_of_checkpoints_stands_for_its_newest(export, model, tmp_path):
    checkpoints.save(tmp_path / 'train', 11, model.variables_by_name())
    assert export(checkpoint=str(tmp_path / 'train')).step == 11


def test_the_exported_checkpoint_restores_and_exports_again(export, model, tmp_path):
    export()
    kernel = model.kernel.numpy()
    model.kernel.assign(kernel * 0)
    report = export(checkpoint=str(tmp_path / 'export' / 'model.ckpt'), output_dir=str(tmp_path / 'again'))
    assert report.step == 7
    np.testing.assert_array_equal(model.kernel, kernel)


def test_the_saved_config_loads_and_is_the_effective_one(export, tmp_path):
    export()
    config = config_loader.load(str(tmp_path / 'export' / 'pipeline.config'), (), 'export')
    assert config.model.icnet.num_classes == 3


@pytest.mark.parametrize('input_shape', [(1, 40, 50), (None, None, 50), (2, 40, 50)])
def test_fixed_sides_padding_and_colours(export, model, tmp_path, input_shape):
    export(input_shape=input_shape, pad_to_shape=(41, 57), outputs=('colours',))
    batch = fake_model.images(input_shape[0] or 1, 40, 50)
    outputs = saved_model.load(str(tmp_path / 'export' / 'saved_model'))(batch)
    ids = fake_model.class_ids(model, batch)
    np.testing.assert_array_equal(outputs['predictions'][..., 0], ids)
    colors = predict_lib.from_export(str(tmp_path / 'export')).label_map.colors
    np.testing.assert_array_equal(outputs['colours'], np.array(colors)[ids])


def test_an_earlier_export_is_replaced_and_other_files_stay(export, model, tmp_path):
    export()
    (tmp_path / 'export' / 'notes.txt').write_text('mine')
    (tmp_path / 'export' / 'saved_model' / 'old').write_text('of the earlier export')
    model.kernel.assign(-model.kernel)
    checkpoint = checkpoints.save(tmp_path / 'train', 8, model.variables_by_name())
    export(checkpoint=checkpoint)
    assert _names(tmp_path / 'export') == sorted([*FILES, 'notes.txt'])
    assert not (tmp_path / 'export' / 'saved_model' / 'old').exists()
    image = fake_model.images(9, 9)
    ids = predict_lib.from_export(str(tmp_path / 'export')).predict(image)
    np.testing.assert_array_equal(ids, fake_model.class_ids(model, image[np.newaxis])[0])
    assert not list(tmp_path.glob('export.*'))


def test_a_form_that_disagrees_fails_the_export_and_leaves_nothing(export, tmp_path, monkeypatch):
    load = saved_model.load
    monkeypatch.setattr(saved_model, 'load', lambda path: lambda x: {'predictions': 2 - load(path)(x)['predictions']})
    with pytest.raises(UserError, match=r'saved_model: after reloading, .* at least 99\.9 % are required; nothing was'):
        export()
    assert not list(tmp_path.glob('export*'))


def test_a_checkpoint_of_another_model_is_refused_and_leaves_nothing(export, tmp_path):
    wrong = {'head/weights': np.zeros([3, 3, 3, 5], np.float32), 'other': np.zeros(1, np.float32)}
    path = checkpoints.save(tmp_path / 'wrong', 1, wrong)
    with pytest.raises(CheckpointError, match='no variable of the model is in this checkpoint'):
        export(checkpoint=path)
    assert not list(tmp_path.glob('export*'))


def test_a_folder_that_no_export_wrote_is_left_alone(export, tmp_path):
    (tmp_path / 'export').mkdir()
    (tmp_path / 'export' / 'pipeline.config').write_text('of a training')
    with pytest.raises(UsageError, match=r'holds pipeline\.config but no manifest\.json'):
        export()
    assert (tmp_path / 'export' / 'pipeline.config').read_text() == 'of a training'


def test_shapes_and_folders_that_cannot_be_are_said(export, tmp_path):
    with pytest.raises(UsageError, match='--pad_to_shape: its width 40 is below that of --input_shape, 50'):
        export(input_shape=(None, 40, 50), pad_to_shape=(41, 40))
    too_small = r'--input_shape: its width, 7, is too small for this network, whose output stride is 8; write height,w'
    with pytest.raises(UsageError, match=too_small):
        export(input_shape=(None, 40, 7))
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='file is a file, a folder is needed'):
        export(output_dir=str(tmp_path / 'file'))


@pytest.mark.parametrize(
    'input_shape',
    [(1, 33, 41), pytest.param((None, None, None), marks=pytest.mark.slow)],
    ids=['fixed', 'free'],
)
def test_every_form_alone_predicts_and_knows_its_classes(export, model, tmp_path, input_shape):
    names = [name for name, form in FORMS.items() if not (form.fixed and None in input_shape)]
    report = export(formats=tuple(names), input_shape=input_shape, outputs=('logits',), verify_examples=4)
    assert list(report.agreement) == names
    for name in names:
        found = report.agreement[name]
        least = 0.97 if FORMS[name].quantised else 0.999 if name == 'tflite_float16' else 0.9999
        assert found.images == 4 and least <= found.equal_pixels <= 1
        assert found.largest_logit_difference < (30 if FORMS[name].quantised else 2)  # of logits up to 1000
        alone = tmp_path / name / FORMS[name].entry
        alone.parent.mkdir()
        (shutil.copytree if FORMS[name].entry in ('saved_model', 'openvino_model') else shutil.copy)(
            tmp_path / 'export' / FORMS[name].entry, alone
        )
        predictor = predict_lib.from_export(str(alone))
        assert predictor.label_map.names == ('road', 'sky', 'car')
        assert predictor.label_map.label_ids == (7, 23, 26)
        image = fake_model.images(*[side or free for side, free in zip(input_shape[1:], (50, 21), strict=True)])
        equal = predictor.predict(image) == fake_model.class_ids(model, image[np.newaxis])[0]
        assert equal.mean() >= least
        if None not in input_shape:
            with pytest.raises(DataError, match=r'does not take an image of 32 x 41 \(its input is \(1, 33, 41, 3\)\)'):
                predictor.predict(fake_model.images(32, 41))


def test_the_manifest_says_what_the_export_is(export, tmp_path):
    export(input_shape=(None, 40, 50), pad_to_shape=(41, 57), outputs=('colours',), verify_examples=2)
    about = json.loads((tmp_path / 'export' / 'manifest.json').read_text())
    assert [entry['name'] for entry in about['label_map']['classes']] == ['road', 'sky', 'car']
    assert about['input']['shape'] == [None, 40, 50, 3]
    assert about['outputs']['predictions'] == {'dtype': 'uint8', 'shape': [None, 40, 50, 1]}
    assert about['preprocessing'] == {
        'inside': True,
        'mean': list(fake_model.MEAN),
        'scale': 1.0,
        'pad_to_shape': [41, 57],
    }
    assert about['checkpoint'] == {'path': str(tmp_path / 'train' / 'model.ckpt-7'), 'step': 7}
    assert len(about['config_sha256']) == 64 and about['versions']['tensorflow']
    frozen = about['forms']['frozen_graph']
    assert frozen['bytes'] == (tmp_path / 'export' / 'frozen_inference_graph.pb').stat().st_size
    agreement = frozen['agreement']
    assert agreement['images'] == 2 and agreement['equal_pixels'] == 1 and agreement['mean_iou_difference'] == 0
    assert 0 <= agreement['largest_logit_difference'] < 0.01 and agreement['largest_margin_lost'] == 0
    assert about['network'] == {'million_parameters': 8.1e-05, 'gflops': None}
    assert about['verified_on'] == 'images of eval_input_reader'


def test_without_records_a_random_image_is_said(export, model, tmp_path):
    for path in tmp_path.glob('*.tfrecord'):
        path.unlink()
    report = export()
    assert report.verified_on == 'random image'
    assert report.agreement['saved_model'].mean_iou is None
    with pytest.raises(DataError, match=r'eval-\*\.tfrecord'):
        export(formats=('tflite_int8',))


def test_forms_of_an_earlier_export_do_not_stay(export, tmp_path):
    export(formats=('saved_model', 'tflite'))
    assert not (tmp_path / 'export' / 'frozen_inference_graph.pb').exists()
    export(formats=('frozen_graph',))
    assert _names(tmp_path / 'export') == [name for name in FILES if name != 'saved_model']


def test_a_quantised_form_is_judged_by_its_mean_iou(export, tmp_path, monkeypatch):
    compare = export_check.Reference.compare

    def worse(self, form, samples):
        found = compare(self, form, samples)
        return dataclasses.replace(found, mean_iou=0.5, mean_iou_of_model=0.506)

    monkeypatch.setattr(export_check.Reference, 'compare', worse)
    with pytest.raises(UserError, match=r"model_int8\.tflite: .* 0\.60 points below the model's on 1 images, at"):
        export(formats=('tflite_int8',))
    assert not list(tmp_path.glob('export*'))


def test_what_a_converter_refuses_is_one_line(export, tmp_path, monkeypatch):
    of = formats.of

    def convert(source, path):
        raise RuntimeError('no kernel\nand much more')

    monkeypatch.setattr(formats, 'of', lambda name: dataclasses.replace(of(name), write=convert))
    with pytest.raises(UserError, match=r'^model\.tflite: cannot be made of this model \(no kernel\); nothing'):
        export(formats=('tflite',))
    assert not list(tmp_path.glob('export*'))


def test_formats_that_cannot_be_are_said(export):
    with pytest.raises(UsageError, match='stablehlo needs a fixed batch, height and width; write for example --input_'):
        export(formats=('stablehlo',), input_shape=(1, None, 30))


def test_a_missing_package_is_said_before_anything_runs(export, monkeypatch):
    monkeypatch.setitem(export_lib.FORMS, 'onnx', dataclasses.replace(FORMS['onnx'], packages=('no_such',)))
    with pytest.raises(UsageError, match='onnx: needs no_such; run: pip install no_such'):
        export(formats=('onnx',))


@pytest.mark.parametrize('optimised', [True, False])
def test_the_frozen_graph_is_optimised_unless_it_is_not_wanted(export, tmp_path, optimised):
    export(formats=('frozen_graph', 'openvino'), input_shape=(1, 33, 41), optimised=optimised)
    graph_def = frozen_graph.read(str(tmp_path / 'export' / 'frozen_inference_graph.pb'))
    operations = {node.op for node in graph_def.node}
    assert ('Identity' in operations) is not optimised
    wanted = {
        'frozen_graph': {'optimised': optimised, 'compute': 'float32', 'weights': 'float32'},
        'openvino': {'optimised': optimised},
    }
    assert json.loads((tmp_path / 'export' / 'manifest.json').read_text())['optimisation'] == wanted
    within = formats.of('frozen_graph').manifest(str(tmp_path / 'export' / 'frozen_inference_graph.pb'))
    assert within is not None and json.loads(within)['optimisation'] == wanted
    assert _names(tmp_path / 'export') == sorted({*FILES, 'openvino_model'} - {'saved_model'})


def test_a_narrow_frozen_graph_is_judged_by_its_mean_iou(export, model, tmp_path, monkeypatch):
    monkeypatch.setattr(export_check, 'EQUAL_PIXELS', 2)
    with pytest.raises(UserError, match=r'at least 200 % are required'):
        export(formats=('frozen_graph',))
    report = export(formats=('frozen_graph',), compute='bfloat16', weights='int8', verify_examples=4)
    assert report.agreement['frozen_graph'].equal_pixels > 0.97
    about = json.loads((tmp_path / 'export' / 'manifest.json').read_text())
    assert about['optimisation'] == {'frozen_graph': {'optimised': True, 'compute': 'bfloat16', 'weights': 'int8'}}
    monkeypatch.setattr(export_check, 'ALLOWED_MIOU_LOSS', -1)  # no form is that much better
    with pytest.raises(UserError, match=r'frozen_inference_graph\.pb: .* below the model.*; choose --weights float32'):
        export(formats=('frozen_graph',), weights='bfloat16')


def test_mixed_arithmetic_is_judged_by_its_class_ids(export, tmp_path, monkeypatch):
    report = export(formats=('frozen_graph',), compute='mixed')
    assert report.agreement['frozen_graph'].equal_pixels >= 0.999
    about = json.loads((tmp_path / 'export' / 'manifest.json').read_text())
    how = about['optimisation']['frozen_graph']
    choice = how.pop('mixed')
    assert how == {'optimised': True, 'compute': 'mixed', 'weights': 'float32'}
    assert {*choice} == {'bfloat16', 'float32', 'batches', 'equal_pixels'} and choice['equal_pixels'] >= 0.9994
    within = json.loads(
        formats.of('frozen_graph').manifest(str(tmp_path / 'export' / 'frozen_inference_graph.pb')) or ''
    )
    assert within['optimisation']['frozen_graph']['mixed'] == choice
    assert report.agreement['frozen_graph'].largest_logit_difference is None  # see engine.export_logits
    ExportOptions(compute='mixed').check(has_records=False)
    monkeypatch.setattr(export_check, 'EQUAL_PIXELS', 2)
    with pytest.raises(UserError, match=r'frozen_inference_graph\.pb: .* at least 200 % are required'):
        export(formats=('frozen_graph',), compute='mixed')


def test_logits_are_compared_without_being_exported(export, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_pass, '_SMALLEST', 1)
    shape = {'input_shape': (2, 33, 41), 'verify_examples': 2}
    differences = {}
    for weights in ('float32', 'bfloat16'):
        report = export(formats=('frozen_graph', 'saved_model', 'onnx'), weights=weights, **shape)
        differences[weights] = {name: found.largest_logit_difference for name, found in report.agreement.items()}
    assert max(differences['float32'].values()) < 0.01  # of logits up to 1000
    assert differences['bfloat16'].pop('frozen_graph') > 0.1
    assert max(differences['bfloat16'].values()) < 0.01
    assert _names(tmp_path / 'export') == sorted([*FILES, 'model.onnx'])
    onnx = str(tmp_path / 'export' / 'model.onnx')
    assert not formats.of('onnx').has_output(onnx, 'logits')
    about = json.loads((tmp_path / 'export' / 'manifest.json').read_text())
    assert about['network']['gflops'] == float(f'{2 * 33 * 41 * 3 * 27 / 1e9:.4g}')
    assert report_counts(Artefact(name='', path=onnx, kind='onnx')) == about['network']
    assert report_counts(Artefact(name='', path=str(tmp_path / 'export' / 'other.onnx'), kind='onnx')) == {}


def test_half_of_the_weights_that_is_too_little_names_the_form_that_keeps_them():
    agreement = export_check.Agreement(
        images=1,
        equal_pixels=0.9985,
        largest_logit_difference=None,
        largest_margin_lost=0.1,
        mean_iou=None,
        mean_iou_of_model=None,
    )
    for name, said in (('tflite_float16', '; choose tflite, whose weights are float32$'), ('tflite', 'exported$')):
        with pytest.raises(UserError, match=rf'99\.85 % of .* at least 99\.9 % are required; nothing was .*{said}'):
            export_check.require(name, agreement, coarse=False, hint=ExportOptions().hint(name))


@pytest.mark.parametrize(
    'name, options, said',
    [
        ('tflite_int8', {}, 'more --calibration_examples may help; else choose tflite_dynamic or tflite'),
        ('tflite_dynamic', {}, 'choose tflite, whose weights are float32'),
        ('frozen_graph', {'weights': 'int8', 'compute': 'bfloat16'}, 'choose --weights float32 or bfloat16'),
        ('frozen_graph', {'compute': 'bfloat16'}, 'choose --compute mixed or float32'),
        ('frozen_graph', {'compute': 'mixed'}, 'more --calibration_examples, up to 8, may help; else choose --compute'),
        ('openvino', {}, '--optimise false may help'),
        ('openvino', {'optimised': False}, ''),
        ('stablehlo', {}, ''),
    ],
)
def test_a_refusal_says_what_else_to_try(name, options, said):
    hint = ExportOptions(**options).hint(name)
    assert hint.startswith(said) and bool(hint) == bool(said)


def test_types_that_cannot_be_are_said(export):
    with pytest.raises(UsageError, match='--weights: got int8, which is for frozen_graph; add that to --formats'):
        export(formats=('saved_model',), weights='int8')
    with pytest.raises(UsageError, match='--compute: bfloat16 needs the optimised graph; leave out --optimise false'):
        export(compute='bfloat16', optimised=False)
    with pytest.raises(UsageError, match='frozen_graph of float32 arithmetic, int8 weights is judged by its mean IoU'):
        ExportOptions(weights='int8').check(has_records=False)
