"""Which pictures of an evaluation are kept for its page: few, however many images there are."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metrics import segmentation
from reports.page.picture_files import PictureFiles
from reports.pictures import Picture

Shelf = tuple[Any, ...]
Pair = tuple[int, int]

_NUM_CONFUSIONS = 8
_CANDIDATES = 2  # pairs whose pictures are held while it is still open which pairs matter, as a multiple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How many pictures are kept for each reason; one picture may serve several.

    Attributes:
      worst, best: by the image's mean IoU.
      sample: a fixed pseudo-random choice by file name, so that two runs on the same images show the same ones.
      per_class: the lowest IoU of each class, among the images with labels of it.
      pairs: so many of the most frequent confusions (label, prediction) ...
      per_pair: ... with so many images each, those with the most such pixels.
    """

    worst: int = 12
    best: int = 6
    sample: int = 12
    per_class: int = 2
    pairs: int = 24
    per_pair: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """A picture on a shelf: the lowest `rank` is the first to stay."""

    rank: tuple[float, ...]
    number: int


class Gallery:
    """Chooses pictures image by image, in memory and on disk that do not grow with their number.

    Every image is offered to shelves of fixed size (the worst, the best, a sample, each class, each frequent
    confusion); a picture's files are written when the first shelf takes it and removed when the last one drops it.
    Which confusions are frequent is known only at the end: until then twice as many have a shelf, the most frequent so
    far. So the pictures of a confusion that becomes frequent late are the worst of those seen since.

    Args:
      files: where the pictures go; nothing is published here.
      class_names: C names.
      limits: shelf sizes.
    """

    def __init__(self, *, files: PictureFiles, class_names: Sequence[str], limits: Limits | None = None):
        self.files = files
        self._names = list(class_names)
        self._limits = limits or Limits()
        self._totals = np.zeros((len(self._names),) * 2, np.int64)
        self._shelves: dict[Shelf, list[_Place]] = {}
        self._entries: dict[int, dict[str, Any]] = {}
        self._holders: dict[int, set[Shelf]] = {}
        self._candidates: list[Pair] = []
        self._num_seen = 0

    def offer(
        self, filename: str, counts: np.ndarray, load: Callable[[], Picture], *, group: str | None = None
    ) -> bool:
        """Decides on one image; True if its picture is kept for now.

        Args:
          filename: shown and sorted by.
          counts: the image's own confusion, integers [C, C], rows are labels.
          load: called if the picture is kept.
          group: city or sequence, where there is one.
        """
        number, self._num_seen = self._num_seen, self._num_seen + 1
        if not counts.sum():
            return False
        self._totals += counts
        self._candidates = _most_confused(self._totals, _CANDIDATES * self._limits.pairs)
        self._keep_pairs(self._candidates)
        places = self._places(filename, number, counts)
        taken = [shelf for shelf, rank in places.items() if self._has_room(shelf, rank)]
        if not taken:
            return False
        picture = load()
        self._entries[number] = {
            'filename': filename,
            'group': group,
            'height': picture.image.shape[0],
            'width': picture.image.shape[1],
            **self._scores(counts),
            'files': self.files.write(number, picture),
            'counts': counts,
        }
        self._holders[number] = set()
        for shelf in taken:
            self._put(shelf, _Place(rank=places[shelf], number=number))
        return True

    def finish(self) -> list[dict[str, Any]]:
        """What is kept, in the order of the data, ready for JSON; pictures of rare confusions are removed first."""
        self._keep_pairs(_most_confused(self._totals, self._limits.pairs))
        entries = []
        for number, entry in sorted(self._entries.items()):
            holders = self._holders[number]
            entries.append(
                {
                    **{name: value for name, value in entry.items() if name != 'counts'},
                    'confusions': self._confusions(entry['counts'], holders),
                    'kept_as': [name for name in ('worst', 'best', 'sample') if (name,) in holders],
                }
            )
        return entries

    def _places(self, filename: str, number: int, counts: np.ndarray) -> dict[Shelf, tuple[float, ...]]:
        """Rank on each shelf that the image may stand on, lower is kept first."""
        score = segmentation.mean_iou(counts)
        places: dict[Shelf, tuple[float, ...]] = {
            ('worst',): (score, number),
            ('best',): (-score, number),
            ('sample',): (_pseudo_random(filename, number),),
        }
        ious, labelled = segmentation.class_iou(counts), counts.sum(1)
        for i in np.flatnonzero(labelled):
            places['class', int(i)] = (float(ious[i]), -int(labelled[i]), number)
        for pair in self._candidates:
            if counts[pair]:
                places['pair', *pair] = (-int(counts[pair]), number)
        return places

    def _size(self, shelf: Shelf) -> int:
        limits = self._limits
        sizes = {'worst': limits.worst, 'best': limits.best, 'sample': limits.sample}
        return sizes.get(shelf[0], limits.per_class if shelf[0] == 'class' else limits.per_pair)

    def _has_room(self, shelf: Shelf, rank: tuple[float, ...]) -> bool:
        standing = self._shelves.get(shelf, [])
        return self._size(shelf) > 0 and (len(standing) < self._size(shelf) or rank < standing[-1].rank)

    def _put(self, shelf: Shelf, place: _Place) -> None:
        standing = self._shelves.setdefault(shelf, [])
        standing.append(place)
        standing.sort(key=lambda other: other.rank)
        self._holders[place.number].add(shelf)
        if len(standing) > self._size(shelf):
            self._release(shelf, standing.pop())

    def _keep_pairs(self, pairs: Sequence[Pair]) -> None:
        """Drops the shelves of all other confusions."""
        kept = {('pair', *pair) for pair in pairs}
        for shelf in [shelf for shelf in self._shelves if shelf[0] == 'pair' and shelf not in kept]:
            for place in self._shelves.pop(shelf):
                self._release(shelf, place)

    def _release(self, shelf: Shelf, place: _Place) -> None:
        self._holders[place.number].discard(shelf)
        if not self._holders[place.number]:
            del self._holders[place.number]
            self.files.remove(self._entries.pop(place.number)['files'])

    def _scores(self, counts: np.ndarray) -> dict[str, Any]:
        ious = zip(self._names, segmentation.class_iou(counts).tolist(), strict=True)
        return {
            'mean_iou': segmentation.mean_iou(counts),
            'pixel_accuracy': segmentation.pixel_accuracy(counts),
            'num_pixels': int(counts.sum()),
            'class_iou': {name: iou for name, iou in ious if not np.isnan(iou)},
        }

    def _confusions(self, counts: np.ndarray, holders: set[Shelf]) -> list[dict[str, Any]]:
        """The image's most frequent confusions, and those that it is kept for, most pixels first."""
        pairs = {*_most_confused(counts, _NUM_CONFUSIONS)}
        pairs |= {(shelf[1], shelf[2]) for shelf in holders if shelf[0] == 'pair'}
        ordered = sorted(pairs, key=lambda pair: (-int(counts[pair]), pair))
        return [
            {'label': self._names[i], 'prediction': self._names[j], 'pixels': int(counts[i, j])} for i, j in ordered
        ]


def _most_confused(counts: np.ndarray, num_pairs: int) -> list[Pair]:
    """(label, prediction) of the most frequent errors that occur in counts [C, C], most frequent first."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind='stable')[:num_pairs]
    pairs = [divmod(int(flat), len(counts)) for flat in order]
    return [pair for pair in pairs if wrong[pair]]


def _pseudo_random(filename: str, number: int) -> float:
    """In 0..1, the same in every run over the same data; keeping the lowest of it is a uniform sample."""
    digest = hashlib.sha256(f'{number}/{filename}'.encode('utf-8', 'replace')).digest()
    return int.from_bytes(digest[:7], 'big') / 2**56
