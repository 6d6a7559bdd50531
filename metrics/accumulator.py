"""All metrics of an evaluation, image by image, in memory that does not grow with their number."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from core.errors import DataError
from metrics import bootstrap, segmentation
from metrics.boundary import BoundaryCounter
from metrics.calibration import CalibrationCounter
from metrics.confusion import ConfusionMatrix
from metrics.instances import InstanceCounter
from metrics.objects import ObjectCounter
from metrics.scores import Classes, number
from metrics.tally import Tally, mean
from metrics.worst_images import WorstImages

_NUM_CONFUSIONS = 5


class Accumulator:
    """Counts images and sums them up; needs no network, so predictions from anywhere can be scored.

    Args:
      classes: names, categories and sizes of instances.
      ignore_label: pixels with this label, 0..255, do not count.
      label_ids: the id of each class in instance pictures; by default the class ids.
      detailed: also borders, sizes of objects, calibration.
      num_samples: resamples for the intervals; 0 gives no intervals.
      seed: of the resamples.
      group_pattern: regular expression; images whose names give the same first group (the whole match, if it has no
        group) are resampled together. Empty: each image by itself.

    Attributes:
      image_counts: confusion of the image that was added last, int64 [C, C], rows are labels.
    """

    def __init__(
        self,
        *,
        classes: Classes,
        ignore_label: int,
        label_ids: tuple[int, ...] | None = None,
        detailed: bool = True,
        num_samples: int = 2000,
        seed: int = 0,
        group_pattern: str = '',
    ):
        num_classes = len(classes.names)
        self.classes, self.num_images, self._num_without_instances = classes, 0, 0
        self.matrix = ConfusionMatrix(num_classes=num_classes, ignore_label=ignore_label)
        self.worst = WorstImages(classes.names)
        self.image_counts = np.zeros((num_classes, num_classes), np.int64)
        self._ignore_label = ignore_label
        self._sums: dict[str, np.ndarray] = {}
        self._bootstrap = bootstrap.Bootstrap(num_samples=num_samples, seed=seed) if num_samples else None
        self._group_pattern = re.compile(group_pattern) if group_pattern else None
        self._groups: set[str] = set()
        self._has_instances: bool | None = None
        self._instances = InstanceCounter(
            label_ids=range(num_classes) if label_ids is None else label_ids, category_index=classes.category_index
        )
        self._boundary = self._objects = self._calibration = None
        if detailed:
            self._boundary = BoundaryCounter(num_classes=num_classes, ignore_label=ignore_label)
            self._objects = ObjectCounter(num_classes=num_classes, ignore_label=ignore_label)
            self._calibration = CalibrationCounter(ignore_label=ignore_label)

    def add(
        self,
        filename: str,
        labels: np.ndarray,
        predictions: np.ndarray,
        *,
        confidence: np.ndarray | None = None,
        instance_ids: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Adds one image; returns its line of images-<step>.jsonl (see docs/evaluation.md).

        Args:
          filename: names the image in every result; images of one name are resampled together.
          labels: integers [H, W], uint8 is quickest.
          predictions: integers [H, W], each a class id.
          confidence: the largest probability of each pixel, float32 [H, W]; needed for calibration.
          instance_ids: label id * 1000 + number, integers [H, W]; needed of every image for the instance IoU.

        Raises:
          DataError: a label is neither a class nor ignored, or `group_pattern` is not found in the name.
        """
        group = self._group(filename)
        counts = self.image_counts = self.matrix.update(labels, predictions, source=filename)
        labels, predictions = labels.astype(np.uint8, copy=False), predictions.astype(np.uint8, copy=False)
        columns = self._columns(counts, labels, predictions, instance_ids)
        for name, values in columns.items():
            self._sums[name] = self._sums[name] + values if name in self._sums else values
        if self._bootstrap:
            self._bootstrap.add(filename if group is None else group, columns)
        if self._objects is not None:
            self._objects.add(labels, predictions)
        if self._calibration is not None and confidence is not None:
            self._calibration.add(labels, predictions, confidence)
        self.worst.add(filename, counts)
        self.num_images += 1
        tally = Tally.of(counts)
        return {
            'filename': filename,
            'group': group,
            'height': labels.shape[0],
            'width': labels.shape[1],
            'pixel_accuracy': number(tally.pixel_accuracy()),
            'mean_iou': number(mean(tally.class_iou())),
            **{name: values.tolist() for name, values in columns.items()},
            'confusions': self._confusions(counts),
        }

    def summary(self) -> dict[str, Any]:
        """What metrics.json holds of the images; an undefined score is None."""
        columns = self._sums
        if self._has_instances and self._num_without_instances:
            columns = {name: values for name, values in columns.items() if not name.startswith('instance')}
        return {
            **segmentation.summarize(self.matrix.counts, self.classes.names, columns=columns, classes=self.classes),
            'ignore_label': self._ignore_label,
            'intervals': self._intervals(columns),
            'boundary': self._boundary and self._boundary.summary(list(self.classes.names)),
            'size': self._objects and self._objects.summary(list(self.classes.names)),
            'calibration': self._calibration and self._calibration.summary(),
            'confusion_pairs': self.worst.confusion_pairs(),
            'worst_images': self.worst.worst_images(),
            'notes': self._notes(),
        }

    def _columns(
        self, counts: np.ndarray, labels: np.ndarray, predictions: np.ndarray, instance_ids: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        tally = Tally.of(counts)
        columns = {'hits': tally.hits, 'labels': tally.labels, 'predictions': tally.predictions}
        if self.classes.categories is not None:
            index = self.classes.category_index
            same = index[:, np.newaxis] == index
            columns['category_hits'] = self.classes.merge((counts * same).sum(1))
        if self._boundary is not None:
            bands = self._boundary.add(labels, predictions)
            columns |= {f'boundary_{name}': values for name, values in vars(bands).items()}
        if self._has_instances is None:
            self._has_instances = instance_ids is not None
        self._num_without_instances += instance_ids is None
        if self._has_instances:
            ids = np.zeros(labels.shape, np.int32) if instance_ids is None else instance_ids
            found = self._instances.count(ids, predictions)
            columns['instances'] = found.number
            columns['instance_pixels'] = found.pixels
            columns['instance_recall'] = found.recall
            columns['instance_category_recall'] = found.category_recall
        return columns

    def _intervals(self, columns: dict[str, np.ndarray]) -> dict[str, Any] | None:
        num_units = len(self._groups) if self._group_pattern else self.num_images
        if self._bootstrap is None or num_units < 2:
            return None
        sums = {name: values for name, values in self._bootstrap.sums().items() if name in columns}
        about = {
            'level': bootstrap.LEVEL,
            'method': bootstrap.METHOD,
            'unit': 'group' if self._group_pattern else 'image',
            'num_units': num_units,
            'num_samples': self._bootstrap.num_samples,
            'seed': self._bootstrap.seed,
        }
        return about | segmentation.intervals(sums, columns, classes=self.classes, num_units=num_units)

    def _group(self, filename: str) -> str | None:
        if self._group_pattern is None:
            return None
        match = self._group_pattern.search(filename)
        group = match and (match[1] if self._group_pattern.groups else match[0])
        if group is None:
            raise DataError(
                f'{filename}: eval_config.group_pattern, {self._group_pattern.pattern!r}, is not found in this name; '
                'correct the pattern, or remove it to resample single images'
            )
        self._groups.add(group)
        return group

    def _confusions(self, counts: np.ndarray) -> list[dict[str, Any]]:
        wrong = counts.copy()
        np.fill_diagonal(wrong, 0)
        largest = np.argsort(-wrong, axis=None, kind='stable')[:_NUM_CONFUSIONS]
        pairs = [np.unravel_index(i, wrong.shape) for i in largest]
        names = self.classes.names
        return [
            {'label': names[label], 'prediction': names[prediction], 'pixels': int(wrong[label, prediction])}
            for label, prediction in pairs
            if wrong[label, prediction]
        ]

    def _notes(self) -> list[str]:
        notes = []
        if self.classes.categories is None:
            notes.append('no category IoU: the label map has no categories')
        if not self._has_instances:
            notes.append('no instance IoU: the records hold no instance ids (image/segmentation/instance/encoded)')
        elif self._num_without_instances:
            notes.append(
                f'no instance IoU: {self._num_without_instances} of {self.num_images} records hold no instance ids'
            )
        if self._group_pattern and len(self._groups) < 2:
            notes.append(f'no intervals: eval_config.group_pattern gives {len(self._groups)} group, 2 are needed')
        return notes
