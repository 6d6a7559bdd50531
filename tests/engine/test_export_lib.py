"""An export is whole and equal to the model, or it is not there at all; a one-layer network stands in."""

from __future__ import annotations

import numpy as np
import pytest

from builders import config_loader
from core.errors import CheckpointError, UsageError, UserError
from engine import checkpoints, export_lib, inference, predict_lib
from exporters import saved_model
from tests import fake_model, tiny_run

FILES = [
    'frozen_inference_graph.pb',
    'label_map.json',
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
    """Exports to `<tmp_path>/export` with the given arguments."""
    config = config_loader.load(tiny_run.make(tmp_path).config_path, (), 'export')
    checkpoint = checkpoints.save(tmp_path / 'train', 7, model.variables_by_name())

    def call(**kwargs):
        arguments = {'checkpoint': checkpoint, 'output_dir': str(tmp_path / 'export'), **kwargs}
        return export_lib.export(config, **arguments)

    return call


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_export_is_complete_and_agrees(export, tmp_path):
    report = export()
    assert _names(tmp_path / 'export') == FILES
    assert report.agreement == {'frozen_inference_graph.pb': 1.0, 'saved_model': 1.0}
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
    export(input_shape=input_shape, pad_to_shape=(41, 57), output_colours=True)
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
    with pytest.raises(UsageError, match=r'holds pipeline\.config but no frozen_inference_graph\.pb'):
        export()
    assert (tmp_path / 'export' / 'pipeline.config').read_text() == 'of a training'


def test_shapes_and_folders_that_cannot_be_are_said(export, tmp_path):
    with pytest.raises(UsageError, match='--pad_to_shape: its width 40 is below that of --input_shape, 50'):
        export(input_shape=(None, 40, 50), pad_to_shape=(41, 40))
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='file is a file, a folder is needed'):
        export(output_dir=str(tmp_path / 'file'))
