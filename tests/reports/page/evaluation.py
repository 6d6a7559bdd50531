"""An evaluation directory in the form that eval.py leaves, from a "network" that is wrong on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools import street_renderer
from engine.gallery import Gallery, Limits
from inputs.label_map import LabelMap
from metrics import segmentation
from metrics.confusion import ConfusionMatrix
from reports.page.picture_files import PictureFiles
from tests.conftest import ROOT

IGNORE_LABEL = 255
STEP = 700


def make(
    eval_dir: Path, *, num_images: int = 12, size: tuple[int, int] = (97, 129), names: tuple[str, ...] = (), step=STEP
) -> dict[str, Any]:
    """Street scenes whose "prediction" is the label moved and with blots; writes metrics.json and the pictures.

    Args:
      names: class names instead of the label map's, in its order.
    """
    label_map = LabelMap.load(ROOT / 'configs' / 'label_maps' / 'streets.json')
    class_names = list(names or label_map.names)
    colors = label_map.colors
    files = PictureFiles(str(eval_dir / 'report'), step=step, colors=colors, ignore_label=IGNORE_LABEL)
    gallery = Gallery(files=files, class_names=class_names, limits=Limits(worst=4, best=3, sample=4, per_class=1))
    total = ConfusionMatrix(num_classes=len(class_names), ignore_label=IGNORE_LABEL)
    for number in range(num_images):
        image, label = street_renderer.render(np.random.default_rng(number), height=size[0], width=size[1])
        prediction = _wrong(label, number, len(class_names))
        counts = total.update(label, prediction)
        gallery.offer(file_name(number), counts, lambda views=(image, label, prediction): views)
    summary = segmentation.summarize(total.counts, class_names)
    metrics = {
        **summary,
        **_contract(total.counts, class_names),
        'class_colors': {n: '#%02x%02x%02x' % c for n, c in zip(class_names, colors, strict=True)},
        'gallery': gallery.finish(),
        'num_examples': num_images,
        'cross_entropy': 0.4321,
        'checkpoint': 'runs/streets/train/model.ckpt-700',
        'step': step,
        'eval_input': 'own size',
        'config': 'configs/icnet_0.5_193x321_resnet50_streets.config',
    }
    files.publish()
    eval_dir.mkdir(exist_ok=True)
    (eval_dir / 'metrics.json').write_text(json.dumps(metrics))
    return metrics


def file_name(number: int) -> str:
    """Every third name is hostile to a page that does not escape."""
    return ('scene_{}.png', "sc\"ene '{}'.png", '<script>window.hacked=1</script>_{}_ö€.png')[number % 3].format(number)


def _wrong(label: np.ndarray, seed: int, num_classes: int) -> np.ndarray:
    """The label moved sideways, more so with the seed, with blots of other classes; no ignored pixel is left."""
    rng = np.random.default_rng([5, seed])
    prediction = np.roll(label, 1 + seed % 5, axis=1)
    prediction[prediction == IGNORE_LABEL] = 1
    height, width = label.shape
    rows, columns = np.ogrid[:height, :width]
    for _ in range(2 + seed % 7):
        y, x, radius = rng.integers(height), rng.integers(width), rng.integers(3, max(4, height // 8))
        blot = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        prediction[blot] = np.where(prediction[blot] == 2, 1, rng.integers(num_classes))
    return prediction


def _contract(counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The keys beyond the basic ones, in the form that eval.py writes; small numbers made up around the exact ones."""
    hits, labels, predictions = np.diag(counts), counts.sum(1), counts.sum(0)
    ious = segmentation.class_iou(counts)
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    order = [divmod(int(flat), len(names)) for flat in np.argsort(-wrong, axis=None)[:20]]
    mean = segmentation.mean_iou(counts)

    def by_name(values):
        return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}

    def around(value, spread):
        return None if np.isnan(value) else [max(0.0, value - spread), min(1.0, value + spread)]

    spreads = np.linspace(0.01, 0.08, len(names))
    return {
        'frequency_weighted_iou': 0.71,
        'kappa': 0.7654,
        'class_precision': by_name(hits / np.maximum(predictions, 1)),
        'class_recall': by_name(hits / np.maximum(labels, 1)),
        'class_f1': by_name(2 * ious / (1 + ious)),
        'mean_f1': float(np.nanmean(2 * ious / (1 + ious))),
        'absent_classes': [name for name, n in zip(names, labels, strict=True) if not n],
        'confusion_share': (counts / np.maximum(labels, 1)[:, np.newaxis]).tolist(),
        'ignore_label': IGNORE_LABEL,
        'intervals': {
            'level': 0.95,
            'method': 'percentile bootstrap',
            'unit': 'image',
            'num_units': 12,
            'num_samples': 1000,
            'mean_iou': [mean - 0.03, mean + 0.025],
            'pixel_accuracy': around(float(segmentation.pixel_accuracy(counts)), 0.02),
            'class_iou': {n: around(i, s) for n, i, s in zip(names, ious, spreads, strict=True)},
        },
        'boundary': {
            'boundary_iou': by_name(ious * 0.7),
            'mean_boundary_iou': mean * 0.7,
            'trimap': [
                {'distance_px': d, 'mean_iou': mean * (1 - 0.6 / (1 + d)), 'class_iou': {}} for d in (1, 2, 4, 8, 16)
            ],
        },
        'calibration': {
            'ece': 0.0421,
            'bins': [
                {'confidence': (i + 0.5) / 10, 'accuracy': ((i + 0.5) / 10) ** 1.3, 'share': (i + 1) / 55}
                for i in range(10)
            ],
        },
        'confusion_pairs': [
            {
                'label': names[i],
                'prediction': names[j],
                'pixels': int(counts[i, j]),
                'share_of_label': counts[i, j] / labels[i],
                'images': [file_name(0)],
            }
            for i, j in order
            if counts[i, j]
        ],
    }
