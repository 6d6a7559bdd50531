"""Every score of an evaluation as a function of sums over images, for the whole and for each resample alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from metrics import instances
from metrics.tally import Tally, mean

# Scores of the whole, and scores of each class, as metrics.json calls them.
SCALARS = (
    'mean_iou',
    'pixel_accuracy',
    'mean_accuracy',
    'frequency_weighted_iou',
    'kappa',
    'mean_f1',
    'mean_category_iou',
    'mean_instance_iou',
    'mean_category_instance_iou',
    'mean_boundary_iou',
)
OF_CLASSES = (
    'class_iou',
    'class_accuracy',
    'class_precision',
    'class_recall',
    'class_f1',
    'class_instance_iou',
    'boundary_iou',
)
OF_CATEGORIES = ('category_iou', 'category_instance_iou')

_PIXELS = ('hits', 'labels', 'predictions')
_BOUNDARY = ('boundary_hits', 'boundary_labels', 'boundary_predictions')
_INSTANCES = ('instances', 'instance_pixels', 'instance_recall', 'instance_category_recall')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes:
    """What is known of the classes beside their number.

    Attributes:
      names: one a class.
      categories: the category of each class, or None.
      instance_sizes: pixels of an average instance of each class, None where a class has no instances; or None, then
        the average over the evaluated data counts.
    """

    names: Sequence[str]
    categories: Sequence[str] | None = None
    instance_sizes: Sequence[float | None] | None = None

    @property
    def category_names(self) -> list[str]:
        """Each once, in the order of the classes."""
        return list(dict.fromkeys(self.categories or ()))

    @property
    def category_index(self) -> np.ndarray:
        """Position in `category_names` of each class, int [C]; each class on its own without categories."""
        if self.categories is None:
            return np.arange(len(self.names))
        return np.array([self.category_names.index(category) for category in self.categories])

    def merge(self, values: np.ndarray) -> np.ndarray:
        """Sums [..., C] over the classes of each category: [..., K]."""
        return values @ (self.category_index[:, np.newaxis] == np.arange(len(self.category_names)))

    def has_instances(self, number: np.ndarray) -> np.ndarray:
        """Which classes come as instances, bool [C]; `number` [C] is how many were seen."""
        if self.instance_sizes is None:
            return number > 0
        return np.array([size is not None for size in self.instance_sizes])


def scores(
    columns: Mapping[str, np.ndarray], classes: Classes, *, has_instances: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The scores that `columns` allow, by name: scalars [...], of classes [..., C], of categories [..., K].

    Args:
      columns: sums by name, [..., C] or [..., K]: hits, labels, predictions; category_hits; boundary_*; instances and
        instance_* (see `metrics.instances`).
      has_instances: bool [C], of the whole data; by default what these sums say.
    """
    pixels = Tally(*(columns[name] for name in _PIXELS))
    found = {
        'class_iou': pixels.class_iou(),
        'class_accuracy': pixels.class_accuracy(),
        'class_precision': pixels.class_precision(),
        'class_recall': pixels.class_accuracy(),
        'class_f1': pixels.class_f1(),
        'pixel_accuracy': pixels.pixel_accuracy(),
        'frequency_weighted_iou': pixels.frequency_weighted_iou(),
        'kappa': pixels.kappa(),
    }
    means = {'mean_iou': 'class_iou', 'mean_accuracy': 'class_accuracy', 'mean_f1': 'class_f1'}
    merged = None
    if 'category_hits' in columns:
        merged = Tally(columns['category_hits'], classes.merge(pixels.labels), classes.merge(pixels.predictions))
        found['category_iou'] = merged.class_iou()
        means['mean_category_iou'] = 'category_iou'
    if _INSTANCES[0] in columns:
        tally = instances.InstanceTally(*(columns[name] for name in _INSTANCES))
        found['class_instance_iou'] = instances.class_iou(tally, pixels, classes.instance_sizes)
        means['mean_instance_iou'] = 'class_instance_iou'
        if merged is not None:
            known = classes.has_instances(tally.number) if has_instances is None else has_instances
            found['category_instance_iou'] = instances.category_iou(
                tally, merged, classes.category_index, classes.instance_sizes, known
            )
            means['mean_category_instance_iou'] = 'category_instance_iou'
    if _BOUNDARY[0] in columns:
        found['boundary_iou'] = Tally(*(columns[name] for name in _BOUNDARY)).class_iou()
        means['mean_boundary_iou'] = 'boundary_iou'
    return found | {name: mean(found[values]) for name, values in means.items()}


def by_name(names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    """One value a name, ready for JSON."""
    return {name: number(value) for name, value in zip(names, values, strict=True)}


def number(value: np.ndarray | float) -> float | None:
    """Ready for JSON: an undefined score is None."""
    return None if np.isnan(value) else float(value)
