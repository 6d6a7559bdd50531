"""Which pictures are kept, against a choice made with everything in memory; and the files of each."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.gallery import Gallery, Limits
from metrics import segmentation
from reports.page.picture_files import ERROR_COLOR, IGNORED_COLOR, MAX_SIDE, PictureFiles
from reports.pictures import Picture

COLORS = ((128, 64, 128), (70, 130, 180), (0, 0, 142))
NAMES = ('road', 'sky', 'car')
LIMITS = Limits(worst=3, best=2, sample=4, per_class=2, pairs=2, per_pair=2)


def _picture(image=None, label=None, prediction=None):
    image = np.full((6, 8, 3), 90, np.uint8) if image is None else image
    label = np.zeros(image.shape[:2], np.uint8) if label is None else label
    return Picture(image=image, label=label, prediction=label if prediction is None else prediction)


def _gallery(folder, limits=LIMITS, step=7):
    files = PictureFiles(str(folder), step=step, colors=COLORS, ignore_label=255)
    return Gallery(files=files, class_names=NAMES, limits=limits), files


def _random_counts(num_images, seed=0):
    rng = np.random.default_rng(seed)
    return [np.round(rng.exponential(30, (3, 3)) * (1 + 5 * np.eye(3))).astype(np.int64) for _ in range(num_images)]


def _on_disk(folder):
    return sorted(path.name for path in folder.rglob('*.*') if path.is_file())


def test_the_worst_the_best_and_the_lowest_of_each_class(tmp_path):
    gallery, files = _gallery(tmp_path)
    all_counts = _random_counts(60)
    for i, counts in enumerate(all_counts):
        gallery.offer(f'{i}.png', counts, _picture)
    entries = gallery.finish()
    files.publish()
    scores = np.array([segmentation.mean_iou(counts) for counts in all_counts])
    order = np.argsort(scores, kind='stable')
    kept = {entry['filename']: entry for entry in entries}

    def kept_as(kind):
        return {name for name, entry in kept.items() if kind in entry['kept_as']}

    assert kept_as('worst') == {f'{i}.png' for i in order[:3]}
    assert kept_as('best') == {f'{i}.png' for i in order[-2:]}
    assert len(kept_as('sample')) == 4
    for k in range(3):
        lowest = np.argsort([segmentation.class_iou(counts)[k] for counts in all_counts], kind='stable')[:2]
        assert {f'{i}.png' for i in lowest} <= set(kept)
    for name, entry in kept.items():
        assert entry['mean_iou'] == pytest.approx(scores[int(name.split('.')[0])])
    expected = [path.rpartition('/')[2] for entry in entries for path in entry['files'].values()]
    assert _on_disk(tmp_path) == sorted(expected)


def test_the_worst_images_of_the_most_frequent_confusions(tmp_path):
    gallery, _ = _gallery(tmp_path, Limits(worst=0, best=0, sample=0, per_class=0, pairs=2, per_pair=2))
    all_counts = _random_counts(40)
    for counts in all_counts:
        counts[0, 2] += 40  # two confusions are frequent in every image, so that the choice is exact
        counts[1, 0] += 80
    for i, counts in enumerate(all_counts):
        gallery.offer(f'{i}.png', counts, _picture)
    kept = {entry['filename']: entry for entry in gallery.finish()}
    expected = set()
    for pair in ((0, 2), (1, 0)):
        expected |= {f'{i}.png' for i in np.argsort([-counts[pair] for counts in all_counts], kind='stable')[:2]}
    assert set(kept) == expected
    for name, entry in kept.items():
        counts = all_counts[int(name.split('.')[0])]
        pixels = {(c['label'], c['prediction']): c['pixels'] for c in entry['confusions']}
        assert pixels['road', 'car'] == counts[0, 2] and pixels['sky', 'road'] == counts[1, 0]
        assert [c['pixels'] for c in entry['confusions']] == sorted(pixels.values(), reverse=True)


def test_files_and_memory_do_not_grow_with_the_images(tmp_path):
    gallery, _ = _gallery(tmp_path)
    most = LIMITS.worst + LIMITS.best + LIMITS.sample + 2 * 3 + 2 * 2 * LIMITS.pairs * LIMITS.per_pair
    num_offered = 0
    for i, counts in enumerate(_random_counts(400)):
        num_offered += gallery.offer(f'{i}.png', counts, _picture)
        assert len(_on_disk(tmp_path)) <= 4 * most
    assert len(gallery.finish()) <= most
    assert num_offered < 200  # most images are not even read


def test_the_sample_is_the_same_in_another_run_and_independent_of_the_scores(tmp_path):
    limits = Limits(worst=0, best=0, sample=5, per_class=0, pairs=0, per_pair=0)
    chosen = []
    for run in range(2):
        gallery, _ = _gallery(tmp_path / str(run), limits)
        for i, counts in enumerate(_random_counts(50, seed=run)):
            gallery.offer(f'{i}.png', counts, _picture)
        chosen.append([entry['filename'] for entry in gallery.finish()])
    assert chosen[0] == chosen[1] and len(chosen[0]) == 5


def test_the_sample_is_uniform(tmp_path):
    limits = Limits(worst=0, best=0, sample=3, per_class=0, pairs=0, per_pair=0)
    times = np.zeros(12)
    for run in range(300):
        gallery, _ = _gallery(tmp_path, limits)
        for i in range(12):
            gallery.offer(f'{run}-{i}.png', np.eye(3, dtype=np.int64), _picture)
        for entry in gallery.finish():
            times[int(entry['filename'].split('-')[1].split('.')[0])] += 1
    assert times.sum() == 900
    assert (abs(times - 75) < 5 * np.sqrt(75 * 0.75)).all(), times  # five standard deviations of a fair draw


def test_an_image_without_counted_pixels_is_not_kept(tmp_path):
    gallery, _ = _gallery(tmp_path)
    assert not gallery.offer('empty.png', np.zeros((3, 3), np.int64), _picture)
    assert gallery.finish() == []


def test_the_four_pictures(tmp_path):
    files = PictureFiles(str(tmp_path), step=7, colors=COLORS, ignore_label=255)
    image = np.full((2, 3, 3), 200, np.uint8)
    label, prediction = np.array([[0, 1, 255], [2, 2, 0]]), np.array([[0, 0, 1], [2, 1, 0]])
    paths = files.write(3, _picture(image, label, prediction))
    assert not (tmp_path / paths['image']).exists()
    files.publish()
    views = {view: np.array(Image.open(tmp_path / path).convert('RGBA')) for view, path in paths.items()}
    assert abs(views['image'][..., :3].astype(int) - 200).max() < 4
    clear = (0, 0, 0, 0)
    road, sky, car = ((*color, 255) for color in COLORS)
    np.testing.assert_array_equal(views['label'], [[road, sky, clear], [car, car, road]])
    np.testing.assert_array_equal(views['prediction'], [[road, road, sky], [car, sky, road]])
    wrong, ignored = (*ERROR_COLOR, 255), (*IGNORED_COLOR, 255)
    np.testing.assert_array_equal(views['error'], [[clear, wrong, ignored], [clear, wrong, clear]])


def test_more_classes_than_a_palette_holds(tmp_path):
    colors = [(i % 256, i // 256, 77) for i in range(300)]
    files = PictureFiles(str(tmp_path), step=7, colors=colors, ignore_label=65535)
    label = np.array([[0, 299, 65535]])
    paths = files.write(0, _picture(np.zeros((1, 3, 3), np.uint8), label))
    files.publish()
    painted = np.array(Image.open(tmp_path / paths['label']))
    np.testing.assert_array_equal(painted, [[(*colors[0], 255), (*colors[299], 255), (0, 0, 0, 0)]])


def test_a_large_image_is_reduced_without_blending_classes(tmp_path):
    files = PictureFiles(str(tmp_path), step=7, colors=COLORS, ignore_label=255)
    label = np.zeros((2 * 300, 2 * MAX_SIDE), np.uint8)
    label[:, MAX_SIDE:] = 2
    paths = files.write(0, _picture(np.zeros((*label.shape, 3), np.uint8), label))
    files.publish()
    for path in paths.values():
        assert Image.open(tmp_path / path).size == (MAX_SIDE, 300)
    painted = np.array(Image.open(tmp_path / paths['label']).convert('RGB'))
    assert (painted[:, : MAX_SIDE // 2] == COLORS[0]).all() and (painted[:, MAX_SIDE // 2 :] == COLORS[2]).all()


def test_an_earlier_page_keeps_its_pictures_until_there_is_a_new_one(tmp_path):
    first = PictureFiles(str(tmp_path), step=7, colors=COLORS, ignore_label=255)
    old = first.write(0, _picture())
    first.publish()
    second = PictureFiles(str(tmp_path), step=9, colors=COLORS, ignore_label=255)
    new = second.write(0, _picture())
    assert (tmp_path / old['image']).exists() and not (tmp_path / new['image']).exists()
    second.publish()
    assert (tmp_path / old['image']).exists() and (tmp_path / new['image']).exists()
    second.remove_other_steps()
    assert not (tmp_path / old['image']).exists() and (tmp_path / new['image']).exists()


def test_what_an_interrupted_evaluation_left_is_removed(tmp_path):
    interrupted = PictureFiles(str(tmp_path), step=7, colors=COLORS, ignore_label=255)
    interrupted.write(0, _picture())
    again = PictureFiles(str(tmp_path), step=7, colors=COLORS, ignore_label=255)
    kept = again.write(1, _picture())
    again.publish()
    assert _on_disk(tmp_path) == sorted(path.rpartition('/')[2] for path in kept.values())
