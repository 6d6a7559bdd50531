"""An evaluation directory as eval.py leaves it, without a network: street scenes with mistakes of a known kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.street_renderer import render
from engine import eval_results, image_records
from engine.eval_lib import Evaluation, about_images
from inputs.label_map import LabelMap
from metrics.accumulator import Accumulator
from metrics.scores import Classes

LABEL_MAP = LabelMap.load(Path(__file__).resolve().parents[2] / 'configs' / 'label_maps' / 'streets.json')


def make(
    eval_dir: Path, *, num_images: int = 12, size: tuple[int, int] = (96, 144), step: int = 100, shift: int = 2
) -> dict[str, Any]:
    """Scores `num_images` rendered scenes; a prediction is its label, moved and with one class taken for another.

    Args:
      shift: pixels; more are a worse evaluation of the same images.

    Returns:
      what `metrics.json` holds.
    """
    classes = Classes(names=LABEL_MAP.names, categories=[name[0] for name in LABEL_MAP.names])
    scores = Accumulator(classes=classes, ignore_label=LABEL_MAP.ignore_label, num_samples=500)
    with image_records.ImageRecords(str(eval_dir), step) as records:
        for i in range(num_images):
            rng = np.random.default_rng(i)
            _, label = render(rng, height=size[0], width=size[1])
            prediction = _predict(label, rng, shift)
            right = rng.beta(8, 2, label.shape).astype(np.float32)
            records.write(scores.add(f'sequence_{i % 3}/scene_{i:03d}.png', label, prediction, confidence=right))
    about = {
        'cross_entropy': 0.5,
        'checkpoint': f'runs/streets/model.ckpt-{step}',
        'step': step,
        'eval_input': 'own size',
        'views': 'the whole image',
        **about_images(LABEL_MAP, scores.num_images, image_records.file_name(step)),
    }
    evaluation = Evaluation(metrics={**scores.summary(), **about}, pictures=[])
    eval_results.write(evaluation, str(eval_dir), label_map=LABEL_MAP, config_path='streets.config')
    return evaluation.metrics


def _predict(label: np.ndarray, rng: np.random.Generator, shift: int) -> np.ndarray:
    known = np.where(label == LABEL_MAP.ignore_label, 0, label)
    moved = np.roll(known, int(rng.integers(0, shift + 1)), axis=1)
    row = int(rng.integers(0, label.shape[0] // 2))
    moved[row : row + label.shape[0] // 6] = np.roll(moved[row : row + label.shape[0] // 6], 9, axis=1)
    return moved.astype(np.uint8)
