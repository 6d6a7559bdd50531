"""Predictions on disk equal the network's, from a checkpoint and from exports; bad pictures do not stop the rest."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from builders import config_loader
from core.errors import CheckpointError, DataError, UsageError
from core.servable import Servable
from engine import checkpoints, class_scores, image_files, inference, painting, predict_lib
from engine.views import Views
from exporters import frozen_graph, saved_model
from inputs.label_map import LabelMap
from tests import fake_model, tiny_run

COLORS = ((10, 20, 30), (40, 50, 60), (70, 80, 90))


@pytest.fixture
def model(monkeypatch):
    model = fake_model.FakeModel()
    monkeypatch.setattr(inference, 'build_model', lambda config: model)
    return model


@pytest.fixture
def config(tmp_path):
    return config_loader.load(tiny_run.make(tmp_path).config_path, (), 'predict')


@pytest.fixture
def checkpoint(model, tmp_path):
    return checkpoints.save(tmp_path, 7, model.variables_by_name())


def _predictor(model, label_map=None):
    return predict_lib.Predictor(
        predict=lambda image: fake_model.class_ids(model, image[np.newaxis])[0].astype(np.uint8),
        label_map=label_map or LabelMap(names=('road', 'sky', 'car'), colors=COLORS),
    )


def _save_images(folder, *sizes):
    folder.mkdir(exist_ok=True)
    images = [fake_model.images(*size, seed=i) for i, size in enumerate(sizes)]
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f'street{i}.png')
    return images


def _pixels(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize('pad_to_shape', [None, (20, 30)])
def test_a_checkpoint_predicts_any_size(model, config, checkpoint, pad_to_shape):
    predictor = predict_lib.from_checkpoint(config, checkpoint, pad_to_shape=pad_to_shape)
    for size in [(12, 15), (33, 17)]:
        image = fake_model.images(*size)
        np.testing.assert_array_equal(predictor.predict(image), fake_model.class_ids(model, image[np.newaxis])[0])
    assert predictor.label_map.names == ('road', 'sky', 'car')


def test_an_image_of_another_size_than_input_shape_is_refused(model, config, checkpoint):
    predictor = predict_lib.from_checkpoint(config, checkpoint, input_shape=(None, 12, None))
    assert predictor.predict(fake_model.images(12, 40)).shape == (12, 40)
    with pytest.raises(DataError, match=r'13 x 40 \(height x width\), but --input_shape is 12 x any'):
        predictor.predict(fake_model.images(13, 40))


def test_a_missing_checkpoint_is_named(model, config, tmp_path):
    with pytest.raises(CheckpointError, match=r'model\.ckpt-99: no such checkpoint'):
        predict_lib.from_checkpoint(config, str(tmp_path / 'model.ckpt-99'))


def test_three_pictures_are_written_for_each_image(model, tmp_path):
    (image,) = _save_images(tmp_path / 'in', (12, 15))
    found = image_files.find([str(tmp_path / 'in')], output_dir=str(tmp_path / 'out'))
    assert predict_lib.run(_predictor(model), found, str(tmp_path / 'out')) == []
    ids = fake_model.class_ids(model, image[np.newaxis])[0]
    assert len(np.unique(ids)) == 3
    painted = np.array(COLORS)[ids]
    np.testing.assert_array_equal(_pixels(tmp_path / 'out' / 'street0_ids.png'), ids)
    np.testing.assert_array_equal(_pixels(tmp_path / 'out' / 'street0_color.png'), painted)
    blend = _pixels(tmp_path / 'out' / 'street0_overlay.png')
    np.testing.assert_allclose(blend, (image.astype(float) + painted) / 2, atol=0.5)


def test_only_the_outputs_asked_for_are_written(model, tmp_path):
    _save_images(tmp_path / 'in', (12, 15))
    found = image_files.find([str(tmp_path / 'in')], output_dir=str(tmp_path / 'out'))
    predict_lib.run(_predictor(model), found, str(tmp_path / 'out'), outputs=['overlay'])
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['street0_overlay.png']


def test_label_ids_replace_class_ids(model, tmp_path):
    (image,) = _save_images(tmp_path / 'in', (12, 15))
    label_map = LabelMap(names=('road', 'sky', 'car'), colors=COLORS, label_ids=(7, 23, 26))
    found = image_files.find([str(tmp_path / 'in')], output_dir=str(tmp_path / 'out'))
    table = painting.label_id_table(label_map)
    predict_lib.run(_predictor(model, label_map), found, str(tmp_path / 'out'), outputs=['ids'], id_table=table)
    expected = np.array([7, 23, 26])[fake_model.class_ids(model, image[np.newaxis])[0]]
    np.testing.assert_array_equal(_pixels(tmp_path / 'out' / 'street0_ids.png'), expected)
    with pytest.raises(UsageError, match='--label_ids: the label map has no label_id'):
        painting.label_id_table(LabelMap.default(3))


def test_a_bad_picture_is_named_and_the_rest_goes_on(model, tmp_path, capsys):
    _save_images(tmp_path / 'in', (12, 15), (9, 9))
    (tmp_path / 'in' / 'street0.png').write_text('no picture')
    found = image_files.find([str(tmp_path / 'in')], output_dir=str(tmp_path / 'out'))
    failures = predict_lib.run(_predictor(model), found, str(tmp_path / 'out'))
    assert failures == [f'{tmp_path / "in" / "street0.png"}: not a picture, or of an unknown format']
    assert f'error: {failures[0]}' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'street1_ids.png').exists()


def test_a_label_map_with_too_few_classes_is_said(model, tmp_path):
    _save_images(tmp_path / 'in', (12, 15))
    found = image_files.find([str(tmp_path / 'in')], output_dir=str(tmp_path / 'out'))
    label_map = LabelMap(names=('road', 'sky'), colors=COLORS[:2])
    (line,) = predict_lib.run(_predictor(model, label_map), found, str(tmp_path / 'out'))
    assert line.endswith('street0.png: class 2 is predicted, but the label map has 2 classes')


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A folder as export.py lays it out, of `FakeModel()`."""
    folder = tmp_path_factory.mktemp('export')
    concrete = Servable(model=fake_model.FakeModel(), num_classes=3).trace()
    frozen_graph.write(concrete, str(folder / frozen_graph.FILENAME))
    saved_model.write(concrete, str(folder / saved_model.DIRNAME))
    LabelMap(names=('road', 'sky', 'car'), colors=COLORS).save(folder / 'label_map.json')
    return folder


@pytest.mark.parametrize('part', ['', frozen_graph.FILENAME, saved_model.DIRNAME])
def test_every_part_of_an_export_predicts(model, exported, part):
    predictor = predict_lib.from_export(str(exported / part))
    image = fake_model.images(12, 15)
    np.testing.assert_array_equal(predictor.predict(image), fake_model.class_ids(model, image[np.newaxis])[0])
    assert predictor.label_map.names == ('road', 'sky', 'car')


def test_a_bare_graph_has_the_label_map_of_the_config_or_numbers(exported, config, tmp_path):
    (tmp_path / 'bare').mkdir()
    graph = tmp_path / 'bare' / 'graph.pb'
    graph.write_bytes((exported / frozen_graph.FILENAME).read_bytes())
    assert predict_lib.from_export(str(graph), config).label_map.names == ('road', 'sky', 'car')
    assert predict_lib.from_export(str(graph)).label_map.names[:2] == ('class_0', 'class_1')


def test_a_fixed_graph_refuses_another_size_in_one_line(model, tmp_path):
    concrete = Servable(model=model, num_classes=3).trace((1, 12, 15))
    frozen_graph.write(concrete, str(tmp_path / 'fixed.pb'))
    predictor = predict_lib.from_export(str(tmp_path / 'fixed.pb'))
    assert predictor.predict(fake_model.images(12, 15)).shape == (12, 15)
    with pytest.raises(
        DataError, match=r'does not take an image of 13 x 15 \(its input is \(1, 12, 15, 3\)\)'
    ) as caught:
        predictor.predict(fake_model.images(13, 15))
    assert '\n' not in str(caught.value)


VIEWS = Views(window=(8, 11), overlap=0.4, scales=(1.0, 1.4), flip=True)


def _expected(model, image, views):
    def scores(pixels):
        logits = model.predict(model.preprocess(pixels[np.newaxis]), is_training=False)['logits']
        return tf.nn.softmax(logits[0]).numpy()

    return class_scores.class_ids(image, views, scores, num_classes=3)


@pytest.mark.parametrize('views', [VIEWS, Views(flip=True), Views(window=(8, 11)), Views(window=(30, 30))])
def test_a_checkpoint_predicts_through_views(model, config, checkpoint, views):
    predictor = predict_lib.from_checkpoint(config, checkpoint, views=views)
    image = fake_model.images(21, 30)
    ids = predictor.predict(image)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, _expected(model, image, views))
    assert predictor.max_pixels > image_files.MAX_PIXELS or views.window is None


@pytest.mark.parametrize('part', [frozen_graph.FILENAME, saved_model.DIRNAME])
def test_an_export_with_probabilities_predicts_through_views(model, tmp_path, part):
    concrete = Servable(model=model, num_classes=3, with_probabilities=True).trace()
    frozen_graph.write(concrete, str(tmp_path / frozen_graph.FILENAME))
    saved_model.write(concrete, str(tmp_path / saved_model.DIRNAME))
    image = fake_model.images(21, 30)
    views = Views(window=(8, 11), flip=True)
    predictor = predict_lib.from_export(str(tmp_path / part), views=views)
    np.testing.assert_array_equal(predictor.predict(image), _expected(model, image, views))
    # A graph takes whole numbers: a resized picture is rounded.
    scaled = predict_lib.from_export(str(tmp_path / part), views=VIEWS).predict(image)
    assert (scaled == _expected(model, image, VIEWS)).mean() > 0.95


@pytest.mark.parametrize('part', [frozen_graph.FILENAME, saved_model.DIRNAME])
def test_an_export_of_class_ids_is_stitched_from_windows(model, exported, part):
    image = fake_model.images(21, 30)
    ids = predict_lib.from_export(str(exported / part), views=Views(window=(12, 30), overlap=0.3)).predict(image)
    upper, lower = (fake_model.class_ids(model, image[np.newaxis, rows])[0] for rows in (slice(12), slice(9, 21)))
    np.testing.assert_array_equal(ids, np.concatenate([upper[:10], lower[1:]]))


@pytest.mark.parametrize('views', [VIEWS, Views(flip=True), Views(scales=(0.5,))])
def test_an_export_of_class_ids_has_no_mean(exported, views):
    with pytest.raises(UsageError, match=r'answers class ids alone.*export it with --output_probabilities'):
        predict_lib.from_export(str(exported), views=views)


def test_a_graph_of_one_size_takes_any_image_through_its_windows(model, tmp_path):
    concrete = Servable(model=model, num_classes=3, with_probabilities=True).trace((1, 8, 11))
    frozen_graph.write(concrete, str(tmp_path / 'fixed.pb'))
    image, views = fake_model.images(21, 30), Views(window=(8, 11))
    predictor = predict_lib.from_export(str(tmp_path / 'fixed.pb'), views=views)
    np.testing.assert_array_equal(predictor.predict(image), _expected(model, image, views))


def test_a_graph_that_answers_colours_is_refused(tmp_path):
    with tf.Graph().as_default() as graph:
        tf.identity(tf.compat.v1.placeholder(tf.uint8, [None, None, None, 3], name='inputs'), name='predictions')
    (tmp_path / 'colours.pb').write_bytes(graph.as_graph_def().SerializeToString())
    predictor = predict_lib.from_export(str(tmp_path / 'colours.pb'))
    with pytest.raises(DataError, match=r'answers \[1, 4, 5, 3\], not one class id for each pixel'):
        predictor.predict(fake_model.images(4, 5))


def test_what_is_no_export_is_named(tmp_path):
    with pytest.raises(UsageError, match='--exported: no such file or folder: '):
        predict_lib.from_export(str(tmp_path / 'missing'))
    with pytest.raises(UsageError, match=r'holds none of saved_model\.pb, model\.xml, frozen_inference_graph\.pb, '):
        predict_lib.from_export(str(tmp_path))
