"""An evaluation against the definition, computed without the code under test; a one-layer network stands in."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from builders import config_loader
from core.errors import CheckpointError, DataError
from engine import checkpoints, class_scores, eval_results, image_records, inference
from engine.eval_lib import Evaluator
from engine.views import Views
from inputs import tf_example
from tests import fake_model, tiny_run

PADDED = 'eval_input_type { padded_eval_input { height: 70 width: 99 } }'


@pytest.fixture
def model(monkeypatch):
    model = fake_model.FakeModel()
    monkeypatch.setattr(inference, 'build_model', lambda config: model)
    return model


def _checkpoint(model, folder, step=7):
    tensors = {name: v for name, v in model.variables_by_name().items() if not name.startswith('aux')}
    return checkpoints.save(folder, step, tensors)


def _evaluator(run):
    return Evaluator(config_loader.load(run.config_path, (), 'eval'))


def _counts(model, images, labels):
    """Rows are labels; pixel by pixel."""
    counts = np.zeros((3, 3), int)
    for image, label in zip(images, labels, strict=True):
        ids = fake_model.class_ids(model, image[np.newaxis])[0]
        for i in range(3):
            for j in range(3):
                counts[i, j] += ((label == i) & (ids == j)).sum()
    return counts


@pytest.mark.parametrize('eval_input_type', ['', PADDED])
def test_every_example_is_counted_once_at_its_own_size(model, tmp_path, eval_input_type):
    run = tiny_run.make(tmp_path, num_examples=1000, eval_input_type=eval_input_type)
    metrics = _evaluator(run).evaluate(_checkpoint(model, tmp_path)).metrics
    counts = _counts(model, run.images, run.labels)
    np.testing.assert_array_equal(metrics['confusion_matrix'], counts)
    ious = [counts[i, i] / (counts[i].sum() + counts[:, i].sum() - counts[i, i]) for i in range(3)]
    assert metrics['class_iou'] == pytest.approx(dict(zip(['road', 'sky', 'car'], ious, strict=True)))
    assert metrics['mean_iou'] == pytest.approx(np.mean(ious))
    assert metrics['num_examples'] == len(run.images)
    assert metrics['num_pixels'] == sum((label != 255).sum() for label in run.labels)
    assert (metrics['step'], metrics['checkpoint']) == (7, str(tmp_path / 'model.ckpt-7'))


def test_the_central_crop_is_scored(model, tmp_path):
    crop = 'eval_input_type { cropped_eval_input { height: 41 width: 70 } }'
    run = tiny_run.make(tmp_path, eval_input_type=crop)
    metrics = _evaluator(run).evaluate(_checkpoint(model, tmp_path)).metrics
    cuts = []
    for height, width in tiny_run.SIZES:
        top, left = max(0, (height - 41) // 2), max(0, (width - 70) // 2)
        cuts.append(np.s_[top : top + 41, left : left + 70])
    images = [image[cut] for image, cut in zip(run.images, cuts, strict=True)]
    labels = [label[cut] for label, cut in zip(run.labels, cuts, strict=True)]
    np.testing.assert_array_equal(metrics['confusion_matrix'], _counts(model, images, labels))


def test_cross_entropy_is_the_mean_over_counted_pixels(model, tmp_path):
    run = tiny_run.make(tmp_path)
    model.kernel.assign(model.kernel * 0.01)
    metrics = _evaluator(run).evaluate(_checkpoint(model, tmp_path)).metrics
    losses = []
    for image, label in zip(run.images, run.labels, strict=True):
        logits = model.predict(model.preprocess(image[np.newaxis]), is_training=False)['logits'].numpy()[0]
        log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        counted = label != 255
        losses.append(-log_probabilities[counted, label[counted].astype(int)])
    assert metrics['cross_entropy'] == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)


def test_a_window_as_large_as_the_images_changes_no_number(model, tmp_path):
    checkpoint = _checkpoint(model, tmp_path)
    whole = _evaluator(tiny_run.make(tmp_path)).evaluate(checkpoint).metrics
    inference_ = 'inference { sliding_window { height: 65 width: 97 } }'
    windows = _evaluator(tiny_run.make(tmp_path, eval_input_type=inference_)).evaluate(checkpoint).metrics
    assert windows.pop('views') == 'windows of 65 x 97, overlap 0.333, gaussian' and whole.pop('views') == 'whole image'
    # Two functions give the confidences, which kernels may round one way or the other at the border of a bin.
    assert windows.pop('calibration')['ece'] == pytest.approx(whole.pop('calibration')['ece'], rel=1e-3)
    assert windows == whole


def test_windows_scales_and_flip_are_averaged_as_softmax_probabilities(model, tmp_path):
    inference_ = 'inference { sliding_window { height: 24 width: 40 overlap: 0.5 } scale: [1.0, 1.5] flip: true }'
    run = tiny_run.make(tmp_path, eval_input_type=inference_)
    model.kernel.assign(model.kernel * 0.01)
    metrics = _evaluator(run).evaluate(_checkpoint(model, tmp_path)).metrics

    def scores(pixels):
        logits = model.predict(model.preprocess(pixels[np.newaxis]), is_training=False)['logits']
        return tf.nn.softmax(logits[0]).numpy()

    views = Views(window=(24, 40), overlap=0.5, scales=(1.0, 1.5), flip=True)
    counts, losses = np.zeros((3, 3), int), []
    for image, label in zip(run.images, run.labels, strict=True):
        probabilities = np.zeros((*label.shape, 3))
        for patch in class_scores.patches(image, views, scores, num_classes=3):
            probabilities[patch.rows, patch.columns] = patch.probabilities
        counted = label != 255
        np.add.at(counts, (label[counted], probabilities.argmax(-1)[counted]), 1)
        losses.append(-np.log(probabilities[counted, label[counted]]))
    assert np.abs(np.array(metrics['confusion_matrix']) - counts).sum() <= 2  # a tie may round the other way
    assert metrics['cross_entropy'] == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)


def test_one_evaluator_scores_several_checkpoints(model, tmp_path):
    run = tiny_run.make(tmp_path)
    first, first_counts = _checkpoint(model, tmp_path, 1), _counts(model, run.images, run.labels)
    model.kernel.assign(-model.kernel)
    second, second_counts = _checkpoint(model, tmp_path, 2), _counts(model, run.images, run.labels)
    evaluator = _evaluator(run)
    for path, counts in [(first, first_counts), (second, second_counts), (first, first_counts)]:
        np.testing.assert_array_equal(evaluator.evaluate(path).metrics['confusion_matrix'], counts)


def test_pictures_are_the_first_examples(model, tmp_path):
    run = tiny_run.make(tmp_path)
    pictures = _evaluator(run).evaluate(_checkpoint(model, tmp_path), keep_pictures=True).pictures
    assert len(pictures) == len(run.images)
    np.testing.assert_array_equal(pictures[0].image, run.images[0])
    np.testing.assert_array_equal(pictures[0].label, run.labels[0])
    np.testing.assert_array_equal(pictures[0].prediction, fake_model.class_ids(model, run.images[0][np.newaxis])[0])


def test_verbose_names_each_image(model, tmp_path, capsys):
    run = tiny_run.make(tmp_path)
    _evaluator(run).evaluate(_checkpoint(model, tmp_path), verbose=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if 'mean IoU so far' in line]
    assert [line.split(':')[0] for line in lines] == [f'street_{i}.png' for i in range(4)]


def test_an_image_larger_than_the_padded_size_is_named(model, tmp_path):
    run = tiny_run.make(tmp_path, eval_input_type='eval_input_type { padded_eval_input { height: 64 width: 97 } }')
    with pytest.raises(DataError, match=r'^street_0\.png: the image is 65 x 97 .*padded_eval_input, 64 x 97; set'):
        _evaluator(run).evaluate(_checkpoint(model, tmp_path))


def test_instance_ids_of_the_records_give_the_instance_iou(model, tmp_path):
    run = tiny_run.make(tmp_path, eval_input_type='eval_input_type { cropped_eval_input { height: 41 width: 70 } }')
    rng = np.random.default_rng(3)
    instances = [rng.choice(np.array([7, 26, 26001, 26002, 7001], np.uint16), size) for size in tiny_run.SIZES]
    names = [f'street_{i}.png' for i in range(4)]
    tiny_run.write_records(tmp_path / 'eval-0.tfrecord', run.images[:1], run.labels[:1], names[:1], instances[:1])
    tiny_run.write_records(tmp_path / 'eval-1.tfrecord', run.images[1:], run.labels[1:], names[1:], instances[1:])
    metrics = _evaluator(run).evaluate(_checkpoint(model, tmp_path)).metrics
    sizes, shares, false_positives = [], [], 0
    for image, label, ids in zip(run.images, run.labels, instances, strict=True):
        top, left = max(0, (label.shape[0] - 41) // 2), max(0, (label.shape[1] - 70) // 2)
        cut = np.s_[top : top + 41, left : left + 70]
        predicted = fake_model.class_ids(model, image[cut][np.newaxis])[0]
        false_positives += ((predicted == 2) & (label[cut] != 2) & (label[cut] != 255)).sum()
        for number in (26001, 26002):
            inside = ids[cut] == number
            sizes.append(inside.sum())
            shares.append((predicted[inside] == 2).mean())
    average = np.mean(sizes)
    hits = average * np.sum(shares)
    expected = hits / (average * len(sizes) + false_positives)
    assert metrics['class_instance_iou']['car'] == pytest.approx(expected, abs=1e-9)
    assert metrics['class_instance_iou']['sky'] is None


def test_records_without_instance_ids_say_so(model, tmp_path):
    metrics = _evaluator(tiny_run.make(tmp_path)).evaluate(_checkpoint(model, tmp_path)).metrics
    assert metrics['class_instance_iou'] is None and metrics['mean_instance_iou'] is None
    assert any('the records hold no instance ids' in note for note in metrics['notes'])


def test_confidence_is_the_largest_softmax(model, tmp_path):
    run = tiny_run.make(tmp_path)
    model.kernel.assign(model.kernel * 0.005)
    metrics = _evaluator(run).evaluate(_checkpoint(model, tmp_path)).metrics
    kept = []
    for image, label in zip(run.images, run.labels, strict=True):
        logits = model.predict(model.preprocess(image[np.newaxis]), is_training=False)['logits'].numpy()[0]
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        kept.append(probabilities.max(-1)[label != 255])
    mean = sum(one['share'] * one['confidence'] for one in metrics['calibration']['bins'] if one['share'])
    assert mean == pytest.approx(np.concatenate(kept).mean(), rel=1e-5)


def test_every_image_has_its_line_and_a_failure_leaves_none(model, tmp_path):
    run = tiny_run.make(tmp_path)
    evaluation = _evaluator(run).evaluate(_checkpoint(model, tmp_path), eval_dir=str(tmp_path / 'eval'))
    records = list(image_records.read(str(tmp_path / 'eval' / evaluation.metrics['images'])))
    assert [record['filename'] for record in records] == [f'street_{i}.png' for i in range(4)]
    for record, image, label in zip(records, run.images, run.labels, strict=True):
        counts = _counts(model, [image], [label])
        assert record['hits'] == np.diag(counts).tolist()
        assert record['labels'] == counts.sum(1).tolist()
        assert record['predictions'] == counts.sum(0).tolist()
        assert (record['height'], record['width']) == label.shape
    run.labels[1][3, 4] = 9
    tiny_run.write_records(tmp_path / 'eval-1.tfrecord', run.images[1:2], run.labels[1:2], ['broken.png'])
    with pytest.raises(DataError):
        _evaluator(run).evaluate(_checkpoint(model, tmp_path, 8), eval_dir=str(tmp_path / 'eval'))
    assert [path.name for path in (tmp_path / 'eval').iterdir()] == ['images-7.jsonl']


def test_metrics_without_detail(model, tmp_path):
    run = tiny_run.make(tmp_path)
    config = config_loader.load(
        run.config_path, ['eval_config.detailed_metrics=false', 'eval_config.bootstrap_samples=0'], 'eval'
    )
    metrics = Evaluator(config).evaluate(_checkpoint(model, tmp_path)).metrics
    assert [metrics[key] for key in ('boundary', 'size', 'calibration', 'intervals')] == [None] * 4
    assert metrics['mean_iou'] is not None


def test_a_truncated_shard_is_named_with_what_was_read(model, tmp_path):
    run = tiny_run.make(tmp_path)
    path = tmp_path / 'eval-1.tfrecord'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf'^{path}: record 3 at byte \d+: the file is cut off in this record'):
        _evaluator(run).evaluate(_checkpoint(model, tmp_path))


def test_records_without_labels_are_named(model, tmp_path):
    run = tiny_run.make(tmp_path)
    example = tf_example.encode(
        image_bytes=tf.io.encode_png(run.images[0]).numpy(),
        image_format='png',
        label_bytes=None,
        filename='unlabelled.png',
        height=65,
        width=97,
    )
    with tf.io.TFRecordWriter(str(tmp_path / 'eval-1.tfrecord')) as writer:
        writer.write(example.SerializeToString())
    with pytest.raises(
        DataError,
        match=r'eval-1\.tfrecord: record 1 at byte 0: unlabelled\.png: the record has no image/segmentation/class',
    ):
        _evaluator(run).evaluate(_checkpoint(model, tmp_path))


def test_a_label_outside_the_classes_is_named(model, tmp_path):
    run = tiny_run.make(tmp_path)
    run.labels[1][3, 4] = 9
    tiny_run.write_records(tmp_path / 'eval-1.tfrecord', run.images[1:2], run.labels[1:2], ['broken.png'])
    with pytest.raises(
        DataError,
        match=r'eval-1\.tfrecord: record 1 at byte 0: broken\.png: 1 pixels have label ids \[9\], neither a class',
    ):
        _evaluator(run).evaluate(_checkpoint(model, tmp_path))


def test_records_without_examples_are_refused(model, tmp_path):
    run = tiny_run.make(tmp_path)
    tiny_run.write_records(tmp_path / 'eval-0.tfrecord', [], [], [])
    (tmp_path / 'eval-1.tfrecord').unlink()
    with pytest.raises(DataError, match='eval'):
        _evaluator(run).evaluate(_checkpoint(model, tmp_path))


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    run = tiny_run.make(tmp_path)
    path = checkpoints.save(tmp_path, 3, {'head/weights': np.zeros([3, 3, 3, 5], np.float32)})
    with pytest.raises(CheckpointError):
        _evaluator(run).evaluate(path)


def test_the_report_has_a_picture_of_every_image_of_a_small_set(model, tmp_path):
    run = tiny_run.make(tmp_path)
    evaluator, eval_dir = _evaluator(run), tmp_path / 'eval'
    for step in (7, 9):
        evaluation = evaluator.evaluate(_checkpoint(model, tmp_path, step), eval_dir=str(eval_dir), report=True)
        eval_results.write(evaluation, str(eval_dir), label_map=evaluator.label_map, config_path='x.config')
    gallery = {entry['filename']: entry for entry in evaluation.metrics['gallery']}
    assert sorted(gallery) == [f'street_{i}.png' for i in range(4)]
    report = eval_dir / 'report'
    assert [path.name for path in (report / 'images').iterdir()] == ['9']  # the earlier checkpoint's are gone
    colors = np.array([*evaluator.label_map.colors, (0, 0, 0)])
    for i, (image, label) in enumerate(zip(run.images, run.labels, strict=True)):
        entry = gallery[f'street_{i}.png']
        ids = fake_model.class_ids(model, image[np.newaxis])[0]
        painted = np.array(Image.open(report / entry['files']['prediction']).convert('RGB'))
        np.testing.assert_array_equal(painted, colors[ids])
        painted = np.array(Image.open(report / entry['files']['label']).convert('RGB'))
        np.testing.assert_array_equal(painted, colors[np.where(label == tiny_run.IGNORE_LABEL, 3, label)])
        counted = label != tiny_run.IGNORE_LABEL
        assert entry['pixel_accuracy'] == pytest.approx((ids == label)[counted].mean())
    text = (report / 'index.html').read_text(encoding='utf-8')
    assert all(entry['files']['image'] in text for entry in gallery.values())


def test_without_a_report_nothing_is_drawn(model, tmp_path):
    run = tiny_run.make(tmp_path)
    evaluator, eval_dir = _evaluator(run), tmp_path / 'eval'
    evaluation = evaluator.evaluate(_checkpoint(model, tmp_path), eval_dir=str(eval_dir))
    eval_results.write(evaluation, str(eval_dir), label_map=evaluator.label_map, config_path='x.config')
    assert 'gallery' not in evaluation.metrics and not (eval_dir / 'report').exists()
