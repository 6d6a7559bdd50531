"""An evaluation directory as eval.py leaves it, with pictures and page, from a "network" that is wrong on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools import street_renderer
from engine import compare_lib, eval_results, image_records
from engine.eval_lib import Evaluation, about_images
from engine.gallery import Gallery, Limits
from inputs.label_map import LabelMap
from metrics.accumulator import Accumulator
from metrics.scores import Classes
from reports.page import render
from reports.page.picture_files import PictureFiles, report_dir
from reports.pictures import Picture
from tests.conftest import ROOT

STEP = 700
LIMITS = Limits(worst=4, best=3, sample=4, per_class=1)
_FILE_NAMES = ('scene_{}.png', "sc\"ene '{}'.png", '<script>window.hacked=1</script>_{}_ö€.png')


def make(
    eval_dir: Path,
    *,
    num_images: int = 12,
    size: tuple[int, int] = (97, 129),
    names: tuple[str, ...] = (),
    step: int = STEP,
    harm: int = 1,
    limits: Limits = LIMITS,
) -> dict[str, Any]:
    """Scores street scenes whose "prediction" is the label moved and with blots; writes all files and the page.

    Args:
      names: class names instead of those of the synthetic streets, in their order.
      harm: more of it is a worse network on the same images.

    Returns:
      what `metrics.json` holds.
    """
    label_map = LabelMap.load(ROOT / 'configs' / 'label_maps' / 'streets.json')
    if names:
        label_map = LabelMap(names=names, colors=label_map.colors, ignore_label=label_map.ignore_label)
    colors, ignore_label = label_map.colors, label_map.ignore_label
    files = PictureFiles(report_dir(str(eval_dir)), step=step, colors=colors, ignore_label=ignore_label)
    gallery = Gallery(files=files, class_names=label_map.names, limits=limits)
    scores = Accumulator(classes=Classes(names=label_map.names), ignore_label=ignore_label, num_samples=300)
    with image_records.ImageRecords(str(eval_dir), step) as records:
        for number in range(num_images):
            rng = np.random.default_rng(number)
            image, label = street_renderer.render(rng, height=size[0], width=size[1])
            picture = Picture(image=image, label=label, prediction=_wrong(label, rng, harm, len(label_map.names)))
            confidence = rng.beta(8, 2, label.shape).astype(np.float32)
            name = _FILE_NAMES[number % 3].format(number)
            records.write(scores.add(name, label, picture.prediction, confidence=confidence))
            gallery.offer(name, scores.image_counts, lambda picture=picture: picture)
    about = {
        'cross_entropy': 0.4321,
        'checkpoint': f'runs/streets/train/model.ckpt-{step}',
        'step': step,
        'eval_input': 'own size',
        'views': 'the whole image',
        **about_images(label_map, num_images, image_records.file_name(step)),
        'gallery': gallery.finish(),
    }
    metrics = {**scores.summary(), **about}
    evaluation = Evaluation(metrics=metrics, pictures=[], picture_files=files)
    eval_results.write(evaluation, str(eval_dir), label_map=label_map, config_path='configs/streets.config')
    return {**metrics, 'config': 'configs/streets.config'}


def make_comparison(folder: Path) -> Path:
    """Two evaluations of the same images, `a` (the worse) and `b`, and the page of both in `ab`; returns `folder`."""
    for side, harm in (('a', 3), ('b', 1)):
        make(folder / side, harm=harm)
    found = compare_lib.compare(*(compare_lib.load(str(folder / side)) for side in 'ab'))
    compare_lib.write(found, str(folder / 'ab'))
    render.write(str(folder / 'ab'))
    return folder


def _wrong(label: np.ndarray, rng: np.random.Generator, harm: int, num_classes: int) -> np.ndarray:
    """The label moved sideways, with blots of other classes; ignored pixels become class 1."""
    prediction = np.roll(np.where(label < num_classes, label, 1), harm + int(rng.integers(4)), axis=1)
    height, width = label.shape
    rows, columns = np.ogrid[:height, :width]
    for _ in range(int(rng.integers(1, 4 + 2 * harm))):
        y, x, radius = rng.integers(height), rng.integers(width), rng.integers(3, max(4, height // 8))
        prediction[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.integers(num_classes)
    return prediction.astype(np.uint8)
