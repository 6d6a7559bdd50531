"""Faults put into record files, one at a time, and what is then found: a process of its own can run any number of them.

`python -m tests.inputs.record_faults FOLDER FIRST COUNT` prints one line for each fault that was handled wrongly.
"""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from core.errors import DataError
from inputs import pipeline, tf_example

SIZE = (6, 8)
SHARDS, PER_SHARD = 2, 4
Place = tuple[int, int]  # shard, record within it


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, 'PNG')
    return buffer.getvalue()


def example(index: int, **changes) -> bytes:
    rng = np.random.default_rng(index)
    arguments = {
        'image_bytes': png(rng.integers(0, 256, (*SIZE, 3), np.uint8)),
        'image_format': 'png',
        'label_bytes': png(rng.integers(0, 3, SIZE, np.uint8)),
        'filename': f'street/{index}.png',
        'height': SIZE[0],
        'width': SIZE[1],
    }
    return tf_example.encode(**{**arguments, **changes}).SerializeToString()


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few bytes that says it is `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'0')) + chunk(b'IEND', b'')


@dataclasses.dataclass(frozen=True)
class Fault:
    """What was done.

    Attributes:
      lost: the records that cannot be used any more.
      reason: a part of what has to be said about one of them.
    """

    what: str
    lost: frozenset[Place]
    reason: str = ''


class Records:
    """Whole record files with their manifest in `folder`, restored before every fault.

    Args:
      folder: where they lie.
      with_offsets: the manifest says where each record begins.
    """

    def __init__(self, folder: Path, *, with_offsets: bool = False):
        self.folder = folder
        self.serialized = [[example(PER_SHARD * s + r) for r in range(PER_SHARD)] for s in range(SHARDS)]
        self.shards = [folder / f'x.record-{s:05d}-of-{SHARDS:05d}' for s in range(SHARDS)]
        self.contents = [self._write(s, records) for s, records in enumerate(self.serialized)]
        self.ends = [np.cumsum([len(record) + 16 for record in records]).tolist() for records in self.serialized]
        listed = [
            {'file': path.name, 'num_examples': PER_SHARD, 'bytes': len(content)}
            for path, content in zip(self.shards, self.contents, strict=True)
        ]
        for entry, ends in zip(listed, self.ends, strict=True):
            entry.update({'offsets': [0, *ends[:-1]]} if with_offsets else {})
        (folder / 'x.record.manifest.json').write_text(json.dumps({'shards': listed}))

    def restore(self) -> None:
        for path, content in zip(self.shards, self.contents, strict=True):
            path.write_bytes(content)

    def replace(self, place: Place, serialized: bytes) -> None:
        records = list(self.serialized[place[0]])
        records[place[1]] = serialized
        self._write(place[0], records)

    def touched(self, shard: int, begin: int, end: int) -> frozenset[Place]:
        """The records of which a byte lies in [begin, end)."""
        starts = [0, *self.ends[shard][:-1]]
        return frozenset(
            (shard, r) for r in range(PER_SHARD) if begin < self.ends[shard][r] and end > starts[r] and end > begin
        )

    def _write(self, shard: int, records: list[bytes]) -> bytes:
        with tf.io.TFRecordWriter(str(self.shards[shard])) as writer:
            for record in records:
                writer.write(record)
        return self.shards[shard].read_bytes()


def flip(records: Records, rng: np.random.Generator) -> Fault:
    shard = int(rng.integers(SHARDS))
    content = bytearray(records.contents[shard])
    record = int(rng.integers(PER_SHARD))
    start = [0, *records.ends[shard]][record]
    # Framing is a small part of a record: half of the faults are there.
    place = start + int(rng.integers(12)) if rng.random() < 0.5 else int(rng.integers(len(content)))
    content[place] ^= 1 << int(rng.integers(8))
    records.shards[shard].write_bytes(content)
    return Fault(f'bit of byte {place} of shard {shard}', records.touched(shard, place, place + 1))


def cut(records: Records, rng: np.random.Generator) -> Fault:
    shard = int(rng.integers(SHARDS))
    content = records.contents[shard]
    length = int(rng.integers(1, len(content)))
    records.shards[shard].write_bytes(content[:length])
    return Fault(f'shard {shard} cut to {length} bytes', records.touched(shard, length, len(content)))


def cut_between(records: Records, rng: np.random.Generator) -> Fault:
    shard, kept = int(rng.integers(SHARDS)), int(rng.integers(1, PER_SHARD))
    length = records.ends[shard][kept - 1]
    records.shards[shard].write_bytes(records.contents[shard][:length])
    lost = records.touched(shard, length, len(records.contents[shard]))
    return Fault(f'shard {shard} cut behind record {kept}', lost, 'ends here, between two records')


def zeros(records: Records, rng: np.random.Generator) -> Fault:
    shard = int(rng.integers(SHARDS))
    content = bytearray(records.contents[shard])
    begin = int(rng.integers(len(content)))
    end = min(len(content), begin + int(rng.integers(1, 600)))
    changed = [i for i in range(begin, end) if content[i]]
    content[begin:end] = bytes(end - begin)
    records.shards[shard].write_bytes(content)
    lost = frozenset().union(*(records.touched(shard, i, i + 1) for i in changed))
    return Fault(f'bytes {begin} to {end} of shard {shard} zeroed', lost)


def missing_bytes(records: Records, rng: np.random.Generator) -> Fault:
    shard, record = int(rng.integers(SHARDS)), int(rng.integers(PER_SHARD))
    start, end = [0, *records.ends[shard]][record : record + 2]
    begin = start + 12 + int(rng.integers(end - start - 16))
    count = int(rng.integers(1, end - begin + 1))
    content = records.contents[shard]
    records.shards[shard].write_bytes(content[:begin] + content[begin + count :])
    return Fault(f'{count} bytes from {begin} of shard {shard} missing', frozenset({(shard, record)}))


def more_bytes(records: Records, rng: np.random.Generator) -> Fault:
    shard, record = int(rng.integers(SHARDS)), int(rng.integers(PER_SHARD))
    start, end = [0, *records.ends[shard]][record : record + 2]
    place = start + 12 + int(rng.integers(end - start - 16))
    content = records.contents[shard]
    records.shards[shard].write_bytes(content[:place] + rng.bytes(int(rng.integers(1, 50))) + content[place:])
    return Fault(f'bytes put in at {place} of shard {shard}', frozenset({(shard, record)}))


def _content(change: Callable[[np.random.Generator], bytes], reason: str) -> Callable[..., Fault]:
    def inject(records: Records, rng: np.random.Generator) -> Fault:
        place = (int(rng.integers(SHARDS)), int(rng.integers(PER_SHARD)))
        records.replace(place, change(rng))
        return Fault(f'{reason} at {place}', frozenset({place}), reason)

    return inject


def _cut_png(rng: np.random.Generator) -> bytes:
    whole = png(rng.integers(0, 256, (*SIZE, 3), np.uint8))
    return example(9, image_bytes=whole[: int(rng.integers(9, len(whole) - 12))])


FAULTS: dict[str, Callable[..., Fault]] = {
    'flip': flip,
    'cut': cut,
    'cut_between': cut_between,
    'zeros': zeros,
    'missing_bytes': missing_bytes,
    'more_bytes': more_bytes,
    'noise for an image': _content(lambda rng: example(9, image_bytes=rng.bytes(90)), 'cannot be decoded'),
    'half a picture': _content(_cut_png, 'cannot be decoded'),
    'noise for a label': _content(lambda rng: example(9, label_bytes=rng.bytes(90)), 'cannot be decoded'),
    'another size': _content(
        lambda rng: example(9, label_bytes=png(rng.integers(0, 3, (6, int(rng.integers(9, 20))), np.uint8))),
        'the image has size [6 8] and its label',
    ),
    'wrong ids': _content(
        lambda rng: example(9, label_bytes=png(rng.integers(3, 255, SIZE, np.uint8))), 'pixels have label ids'
    ),
    'bomb': _content(lambda rng: example(9, image_bytes=bomb(int(rng.integers(10_001, 2**31 - 1)))), 'not decoded'),
    'label bomb': _content(lambda rng: example(9, label_bytes=bomb()), 'not decoded'),
    'no label': _content(lambda rng: example(9, label_bytes=None), 'the record has no'),
    # Some noise is a message without any feature.
    'no example': _content(lambda rng: rng.bytes(200), 'the record '),
}


def wrong(records: Records, kind: str, seed: int) -> str | None:
    """Injects one fault; what was handled wrongly, or None."""
    records.restore()
    fault = FAULTS[kind](records, np.random.default_rng(seed))
    try:
        return wrong_after(records, fault)
    except Exception as error:
        return f'{fault.what}: {type(error).__name__}: {error}'
    finally:
        records.restore()


def wrong_after(records: Records, fault: Fault) -> str | None:
    arguments = {'augmentations': (), 'num_classes': 3}
    found = pipeline.TrainingRecords([f'{records.folder}/x.record-*'], allow_damaged_framing=True, **arguments)
    damages = {number: damage for number in range(found.num_records) if (damage := found.damage(number))}
    said = [str(damage) for damage in [*found.framing_damages, *damages.values()]]
    if bool(said) != bool(fault.lost):
        return f'{fault.what}: {len(fault.lost)} lost, said: {said}'
    if any('\n' in line or 'record' not in line or str(records.folder) not in line for line in said):
        return f'{fault.what}: not one clear line: {said}'
    if fault.reason not in ' '.join(said):
        return f'{fault.what}: said {said}, not {fault.reason}'
    whole = {found._index.read(number) for number in range(found.num_records) if number not in damages}
    everything = {(s, r): records.serialized[s][r] for s in range(SHARDS) for r in range(PER_SHARD)}
    lost = {place for place, serialized in everything.items() if serialized not in whole}
    if lost != fault.lost:
        return f'{fault.what}: lost {sorted(lost)} instead of {sorted(fault.lost)}: {said}'
    counted = sum(damage.num_records for damage in [*found.framing_damages, *damages.values()])
    if counted < len(lost):
        return f'{fault.what}: {len(lost)} lost, {counted} counted'
    return _wrong_by_default(records, fault, arguments)


def _wrong_by_default(records: Records, fault: Fault, arguments: dict) -> str | None:
    """Without leave to skip, the same fault stops: at the start, or where the record is looked at."""
    try:
        strict = pipeline.TrainingRecords([f'{records.folder}/x.record-*'], **arguments)
    except DataError as error:
        return None if fault.lost else f'{fault.what}: refused for no reason: {error}'
    stops = any(strict.damage(number) for number in range(strict.num_records))
    return None if stops == bool(fault.lost) else f'{fault.what}: not found by default'


def main(folder: str, first: str, count: str) -> None:
    kinds = list(FAULTS)
    records = Records(Path(folder), with_offsets=bool(int(first) % 2))
    for number in range(int(first), int(first) + int(count)):
        said = wrong(records, kinds[number % len(kinds)], number)
        if said:
            print(f'{number}: {said}', flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
