"""Names and colours of the classes, in one JSON file that every tool reads; imports no TensorFlow."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.fields import IGNORE_LABEL

Color = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """What each class id is called and how it is painted.

    Attributes:
      names: one name per class, position = class id.
      colors: one RGB colour per class, each channel in 0..255.
      ignore_label: the id of pixels without a class, 0..255 and not a class id.
      label_ids: the data set's own id of each class, 0..255, where it has other ids than the classes (Cityscapes).
      categories: the category of each class, for scores of categories; or None.
      instance_sizes: pixels of an average instance of each class, None for a class that has no instances; for the
        instance IoU where a data set publishes such sizes (Cityscapes), else None.

    Raises ValueError, in one line, if they do not fit together.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    ignore_label: int = IGNORE_LABEL
    label_ids: tuple[int, ...] | None = None
    categories: tuple[str, ...] | None = None
    instance_sizes: tuple[float | None, ...] | None = None

    def __post_init__(self):
        if not self.names:
            raise ValueError('a label map needs at least one class')
        if len(self.colors) != len(self.names):
            raise ValueError(f'{len(self.names)} names but {len(self.colors)} colors')
        for class_id, (name, color) in enumerate(zip(self.names, self.colors, strict=True)):
            _check_class(class_id, name, color)
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f'class names must differ, got {repeated[0]!r} twice')
        if self.label_ids is not None and (
            len(self.label_ids) != len(self.names) or not all(_is_byte(label_id) for label_id in self.label_ids)
        ):
            raise ValueError(f'label_id: expected a number 0..255 for every class, got {list(self.label_ids)}')
        if self.categories is not None:
            _check_categories(self.names, self.categories)
        if self.instance_sizes is not None:
            _check_instance_sizes(self.names, self.instance_sizes)
        if not _is_byte(self.ignore_label) or self.ignore_label < len(self.names):
            raise ValueError(
                f'ignore_label: got {self.ignore_label!r}, choose {len(self.names)}..255 (ids below are classes)'
            )

    @property
    def num_classes(self) -> int:
        """How many classes there are, the ignore label not counted."""
        return len(self.names)

    @classmethod
    def default(cls, num_classes: int, *, ignore_label: int = IGNORE_LABEL) -> LabelMap:
        """Names class_0, class_1, ... in the colours of PASCAL VOC's bit-interleaving scheme, black left out."""
        return cls(
            names=tuple(f'class_{i}' for i in range(num_classes)),
            colors=tuple(_distinct_color(i + 1) for i in range(num_classes)),
            ignore_label=ignore_label,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LabelMap:
        """Reads the form that `save` writes; DataError, in one line, names the file and what is wrong in it."""
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
        except OSError as error:
            raise DataError(f'{path}: cannot read the label map: {error.strerror or error}') from error
        except ValueError as error:
            raise DataError(f'{path}: not JSON: {error}') from error
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: Any, source: str) -> LabelMap:
        """From the JSON object that `to_json` writes; DataError, in one line, names `source` and what is wrong."""
        try:
            return _from_json(content)
        except ValueError as error:
            raise DataError(f'{source}: {error}') from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the JSON file beside and renames it into place."""
        temporary = Path(f'{path}.tmp')
        temporary.write_text(self.to_json(), encoding='utf-8')
        temporary.replace(path)

    def to_json(self) -> str:
        """The text of the file: one class a line."""
        entries = (
            {'id': i, 'name': name, 'color': list(color)} | self._more(i)
            for i, (name, color) in enumerate(zip(self.names, self.colors, strict=True))
        )
        classes = ',\n'.join(f'    {json.dumps(entry, ensure_ascii=False)}' for entry in entries)
        return f'{{\n  "ignore_label": {self.ignore_label},\n  "classes": [\n{classes}\n  ]\n}}\n'

    def _more(self, class_id: int) -> dict[str, Any]:
        """What only some label maps say of a class."""
        optional = (('label_id', self.label_ids), ('category', self.categories), ('instance_size', self.instance_sizes))
        return {
            key: values[class_id] for key, values in optional if values is not None and values[class_id] is not None
        }


def _from_json(content: Any) -> LabelMap:
    if not isinstance(content, dict) or not isinstance(content.get('classes'), list):
        raise ValueError('expected {"ignore_label": 255, "classes": [{"id": 0, "name": ..., "color": [r, g, b]}, ...]}')
    classes: Sequence[Any] = content['classes']
    for position, entry in enumerate(classes):
        if not isinstance(entry, dict) or not {'id', 'name', 'color'} <= set(entry):
            raise ValueError(f'classes[{position}]: expected the keys id, name and color, got {entry!r}')
        if not isinstance(entry['color'], list):
            raise ValueError(f'classes[{position}].color: expected [r, g, b], got {entry["color"]!r}')
    ids = [entry['id'] for entry in classes]
    if not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise ValueError(f'class ids must be 0..{len(ids) - 1}, each once, got {ids}')
    ordered = sorted(classes, key=lambda entry: entry['id'])

    def optional(key: str) -> tuple | None:
        return tuple(entry.get(key) for entry in ordered) if any(key in entry for entry in ordered) else None

    return LabelMap(
        names=tuple(entry['name'] for entry in ordered),
        colors=tuple(tuple(entry['color']) for entry in ordered),
        ignore_label=content.get('ignore_label', IGNORE_LABEL),
        label_ids=optional('label_id'),
        categories=optional('category'),
        instance_sizes=optional('instance_size'),
    )


def _check_class(class_id: int, name: Any, color: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'class {class_id}: the name must be a text, got {name!r}')
    if len(color) != 3 or not all(_is_byte(channel) for channel in color):
        raise ValueError(f'class {class_id} ({name}): color must be three numbers in 0..255, got {list(color)}')


def _check_categories(names: Sequence[str], categories: Sequence[Any]) -> None:
    if len(categories) != len(names) or not all(isinstance(x, str) and x.strip() for x in categories):
        raise ValueError(f'category: expected a text for every class or for none, got {list(categories)}')


def _check_instance_sizes(names: Sequence[str], sizes: Sequence[Any]) -> None:
    numbers = [size for size in sizes if size is not None]
    if len(sizes) != len(names) or not all(type(x) in (int, float) and 0 < x < float('inf') for x in numbers):
        raise ValueError(f'instance_size: expected pixels above 0, left out where a class has none, got {list(sizes)}')


def _is_byte(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 255


def _distinct_color(index: int) -> Color:
    """Spreads the bits of `index` over the high bits of red, green and blue, lowest bits first."""
    channels = [0, 0, 0]
    for bit in range(24):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return (channels[0], channels[1], channels[2])
