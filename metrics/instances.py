"""Instance-weighted IoU (iIoU) of Cityscapes (Cordts et al. 2016, arXiv:1604.01685, section 4.1).

iIoU = iTP / (iTP + FP + iFN): each pixel of an instance counts as the average size of its class's instances divided by
the size of its own instance, so that large objects count no more than small ones. FP is not weighted.

Instance ids are those of the *_instanceIds.png files: label id * 1000 + running number; smaller values are pixels of no
single instance (a group, or a class without instances) and are not counted among the hits and misses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from metrics.runs import Runs
from metrics.tally import Tally, ratio

INSTANCE_FACTOR = 1000


@dataclasses.dataclass(frozen=True)
class InstanceTally:
    """Sums over the instances, each [..., C] by the class of the instance.

    Attributes:
      number: instances.
      pixels: their sizes.
      recall: for each the share of its pixels predicted as its class.
      category_recall: for each the share of its pixels predicted as any class of its category.
    """

    number: np.ndarray
    pixels: np.ndarray
    recall: np.ndarray
    category_recall: np.ndarray


class InstanceCounter:
    """Sums of the instances of one image.

    Args:
      label_ids: the id in the instance picture of each class, C numbers.
      category_index: category of each class, or None.
    """

    def __init__(self, *, label_ids: Sequence[int], category_index: np.ndarray | None = None):
        self._num_classes = len(label_ids)
        self._class_of = {label_id: class_id for class_id, label_id in enumerate(label_ids)}
        self._category = np.arange(self._num_classes) if category_index is None else np.asarray(category_index)

    def count(self, instance_ids: np.ndarray, predictions: np.ndarray) -> InstanceTally:
        """Both integers [H, W]; instances of ids that are no class are left out."""
        sums = {field.name: np.zeros(self._num_classes) for field in dataclasses.fields(InstanceTally)}
        runs = Runs.of(instance_ids, predictions)
        ids, predicted = runs.values
        found, which = np.unique(ids, return_inverse=True)
        classes = np.array([self._class_of.get(int(i) // INSTANCE_FACTOR, -1) for i in found])
        counted = (found > INSTANCE_FACTOR) & (classes >= 0)
        sizes = np.bincount(which, weights=runs.lengths, minlength=len(found))
        of_run = classes[which]
        hits = np.bincount(which, weights=runs.lengths * (predicted == of_run), minlength=len(found))
        same_category = self._category[predicted.astype(np.int64)] == self._category[of_run]
        category_hits = np.bincount(which, weights=runs.lengths * same_category, minlength=len(found))
        for class_id, size, hit, category_hit in zip(
            classes[counted], sizes[counted], hits[counted], category_hits[counted], strict=True
        ):
            sums['number'][class_id] += 1
            sums['pixels'][class_id] += size
            sums['recall'][class_id] += hit / size
            sums['category_recall'][class_id] += category_hit / size
        return InstanceTally(**sums)


def class_iou(instances: InstanceTally, pixels: Tally, average_sizes: Sequence[float | None] | None) -> np.ndarray:
    """iIoU of each class, float64 [..., C]; NaN for a class without instances.

    Args:
      average_sizes: pixels of an average instance of each class, None for a class that has no instances; Cityscapes
        publishes those of its training set. Not given: the average over the instances that were counted.
    """
    weight = _weights(instances, average_sizes)
    counted = (instances.number > 0) & ~np.isnan(weight)
    weight = np.nan_to_num(weight)
    whole = weight * instances.number + pixels.predictions - pixels.hits
    return np.where(counted, ratio(weight * instances.recall, whole), np.nan)


def category_iou(
    instances: InstanceTally,
    categories: Tally,
    category_index: np.ndarray,
    average_sizes: Sequence[float | None] | None,
    has_instances: np.ndarray,
) -> np.ndarray:
    """iIoU of each category, float64 [..., K]; NaN unless every class of the category has instances.

    Args:
      categories: hits, labels and predictions of the merged classes, [..., K].
      category_index: category of each class, int [C].
      has_instances: bool [C], which classes come as instances in the data set.
    """
    weight = np.nan_to_num(_weights(instances, average_sizes))
    member = (np.arange(categories.hits.shape[-1]) == np.asarray(category_index)[:, np.newaxis]).astype(np.float64)
    number = instances.number @ member
    whole = (weight * instances.number) @ member + categories.predictions - categories.hits
    complete = (np.where(has_instances, 1.0, 0.0) @ member) == member.sum(0)
    score = ratio((weight * instances.category_recall) @ member, whole)
    return np.where(complete & (number > 0), score, np.nan)


def _weights(instances: InstanceTally, average_sizes: Sequence[float | None] | None) -> np.ndarray:
    if average_sizes is None:
        return ratio(instances.pixels, instances.number)
    return np.array([np.nan if size is None else size for size in average_sizes], np.float64)
