"""The label table of Cityscapes (Cordts et al., CVPR 2016), and its polygon files; imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from inputs.label_map import LabelMap


class Label(NamedTuple):
    """One row; `train_id` 255 is ignored in training."""

    name: str
    id: int
    train_id: int
    category: str
    has_instances: bool
    ignore_in_eval: bool
    color: tuple[int, int, int]


LABELS = (
    Label('unlabeled', 0, 255, 'void', False, True, (0, 0, 0)),
    Label('ego vehicle', 1, 255, 'void', False, True, (0, 0, 0)),
    Label('rectification border', 2, 255, 'void', False, True, (0, 0, 0)),
    Label('out of roi', 3, 255, 'void', False, True, (0, 0, 0)),
    Label('static', 4, 255, 'void', False, True, (0, 0, 0)),
    Label('dynamic', 5, 255, 'void', False, True, (111, 74, 0)),
    Label('ground', 6, 255, 'void', False, True, (81, 0, 81)),
    Label('road', 7, 0, 'flat', False, False, (128, 64, 128)),
    Label('sidewalk', 8, 1, 'flat', False, False, (244, 35, 232)),
    Label('parking', 9, 255, 'flat', False, True, (250, 170, 160)),
    Label('rail track', 10, 255, 'flat', False, True, (230, 150, 140)),
    Label('building', 11, 2, 'construction', False, False, (70, 70, 70)),
    Label('wall', 12, 3, 'construction', False, False, (102, 102, 156)),
    Label('fence', 13, 4, 'construction', False, False, (190, 153, 153)),
    Label('guard rail', 14, 255, 'construction', False, True, (180, 165, 180)),
    Label('bridge', 15, 255, 'construction', False, True, (150, 100, 100)),
    Label('tunnel', 16, 255, 'construction', False, True, (150, 120, 90)),
    Label('pole', 17, 5, 'object', False, False, (153, 153, 153)),
    Label('polegroup', 18, 255, 'object', False, True, (153, 153, 153)),
    Label('traffic light', 19, 6, 'object', False, False, (250, 170, 30)),
    Label('traffic sign', 20, 7, 'object', False, False, (220, 220, 0)),
    Label('vegetation', 21, 8, 'nature', False, False, (107, 142, 35)),
    Label('terrain', 22, 9, 'nature', False, False, (152, 251, 152)),
    Label('sky', 23, 10, 'sky', False, False, (70, 130, 180)),
    Label('person', 24, 11, 'human', True, False, (220, 20, 60)),
    Label('rider', 25, 12, 'human', True, False, (255, 0, 0)),
    Label('car', 26, 13, 'vehicle', True, False, (0, 0, 142)),
    Label('truck', 27, 14, 'vehicle', True, False, (0, 0, 70)),
    Label('bus', 28, 15, 'vehicle', True, False, (0, 60, 100)),
    Label('caravan', 29, 255, 'vehicle', True, True, (0, 0, 90)),
    Label('trailer', 30, 255, 'vehicle', True, True, (0, 0, 110)),
    Label('train', 31, 16, 'vehicle', True, False, (0, 80, 100)),
    Label('motorcycle', 32, 17, 'vehicle', True, False, (0, 0, 230)),
    Label('bicycle', 33, 18, 'vehicle', True, False, (119, 11, 32)),
    Label('license plate', -1, -1, 'vehicle', False, True, (0, 0, 142)),
)
_BY_NAME: Mapping[str, Label] = {label.name: label for label in LABELS}
_IGNORE = 255

# Pixels of an average instance in the training set, as the benchmark's script weights its instance IoU.
_INSTANCE_SIZES = {
    'person': 3462.4756337644,
    'rider': 3930.4788056518,
    'car': 12794.0202738185,
    'truck': 27855.1264367816,
    'bus': 35732.1511111111,
    'train': 67583.7075812274,
    'motorcycle': 6298.7200839748,
    'bicycle': 4672.3249222261,
}

TRAIN_IDS: Mapping[int, int] = {label.id: label.train_id for label in LABELS if label.id >= 0}


def label_map() -> LabelMap:
    """The 19 classes of training, in the order of their train ids."""
    classes = sorted((label for label in LABELS if 0 <= label.train_id < _IGNORE), key=lambda label: label.train_id)
    return LabelMap(
        names=tuple(label.name for label in classes),
        colors=tuple(label.color for label in classes),
        label_ids=tuple(label.id for label in classes),
        ignore_label=_IGNORE,
        categories=tuple(label.category for label in classes),
        instance_sizes=tuple(_INSTANCE_SIZES.get(label.name) for label in classes),
    )


def draw_polygons(path: str, size: tuple[int, int]) -> np.ndarray:
    """Train ids uint8 [H, W] of a *_polygons.json file: objects are drawn in their order, later ones on top.

    As in the published preparation script: `deleted` objects are passed over, and so are those with a negative id (a
    license plate stays part of its car); the name of a group (`cargroup`) counts as its single label; what no object
    covers is ignored.

    Raises ValueError, in one line, for a name that is not in the table or a file of another form.
    """
    del size
    with open(path, encoding='utf-8') as file:
        content = json.load(file)
    try:
        canvas = Image.new('L', (int(content['imgWidth']), int(content['imgHeight'])), _IGNORE)
        pen = ImageDraw.Draw(canvas)
        for entry in content['objects']:
            label = _by_name(entry['label'])
            if not entry.get('deleted') and label.id >= 0:
                pen.polygon([(float(x), float(y)) for x, y in entry['polygon']], fill=label.train_id)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'not a Cityscapes polygon file: {type(error).__name__}: {error}') from error
    return np.asarray(canvas)


def _by_name(name: str) -> Label:
    single = name if name in _BY_NAME else name.removesuffix('group')
    if single not in _BY_NAME:
        raise ValueError(f'unknown label {name!r}')
    return _BY_NAME[single]
