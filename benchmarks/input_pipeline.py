"""How fast training batches come from records, in every form that the converters write, and in how much memory.

Prints one JSON object. Full augmentation (scale 0.5 to 2, crop 513x513, mirror; `--colors`: brightness, contrast,
saturation and gamma too) of two data sets: CamVid's training split (`--camvid`, records as its converter makes them),
and street scenes of 1024x2048, painted for the purpose with the noise of a sensor. Each case is a process of its own;
the records lie in the page cache:

- `images_per_second`: of `TrainingRecords.batches`, batches of eight; `decode_alone`: of reading and decoding image and
  label and nothing else, by the same number of threads in the same process, in turn with it; `share_of_decode`;
- `over_png`: how many times as fast as the same pictures as PNG, and how many times as large on the disk;
- `growth_mb`: how far resident memory rises above what it was before the data set was opened, and `in_flight_mb`, the
  batches in it that are ready or being made;
- `pytorch`: a DataLoader of two workers on the files of the pictures: Pillow decodes, the crop is cut out before it is
  resized (`--torch_python`, an interpreter that has torch, numpy and Pillow).

    python -m benchmarks.input_pipeline --torch_python ~/torch/bin/python
"""

from __future__ import annotations

import argparse
import functools
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import command_line

_ROOT = Path(__file__).resolve().parent.parent
_CROP = 513
_BATCH = 8
_NUM_CLASSES = 11
_RENDERED = 6
ENCODINGS = ('original', 'jpeg', 'tiles', 'raw')


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--camvid', default='data/camvid/camvid_train.record-*', help='left out if nothing matches')
    parser.add_argument('--torch_python', help='its rows are left out without it')
    parser.add_argument('--num_images', type=int, default=24, help='street scenes')
    parser.add_argument('--size', default='2048x1024', help='of the street scenes, WIDTHxHEIGHT')
    parser.add_argument('--encodings', default=','.join(ENCODINGS), help='forms of the street scenes to measure')
    parser.add_argument('--rounds', type=int, default=3, help='of each measurement, in turn')
    parser.add_argument('--seconds', type=float, default=5, help='of one measurement')
    parser.add_argument('--colors', action='store_true', help='four steps of colour as well')
    parser.add_argument('--scenes_dir', help='keeps pictures and records there, for the next call')
    parser.add_argument('--worker', help=argparse.SUPPRESS)
    parser.add_argument('--no_cache', action='store_true', help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.worker:
        print(json.dumps(_measure(flags)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_report(flags, Path(flags.scenes_dir or folder))))


def _report(flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    _make_scenes(folder, flags.num_images, flags.size)
    streets = {}
    for encoding in flags.encodings.split(','):
        pattern = _make_records(folder, encoding)
        # As a data set that is too large to be kept decoded: a few scenes would not be.
        streets[encoding] = {**_run_worker(flags, pattern, '--no_cache'), 'bytes_per_image': _bytes_per_image(pattern)}
    if 'original' in streets:
        png = streets['original']
        for case in streets.values():
            ratios = {key: case[key] / png[key] for key in ('images_per_second', 'bytes_per_image')}
            case['over_png'] = {key: round(ratio, 2) for key, ratio in ratios.items()}
    if flags.torch_python:
        streets['pytorch'] = _run_torch(flags, _pairs_of_files(folder))
    cases = {f'streets_{flags.size}': streets}
    if glob.glob(flags.camvid):
        kept = _run_worker(flags, flags.camvid)
        cases['camvid'] = {'decoded_in_memory': kept, 'original': _run_worker(flags, flags.camvid, '--no_cache')}
        if flags.torch_python:
            cases['camvid']['pytorch'] = _run_torch(flags, _unpacked(flags.camvid, folder / 'camvid'))
    return {
        'benchmark': 'input_pipeline',
        'cpus': len(os.sched_getaffinity(0)),
        'crop': _CROP,
        'batch_size': _BATCH,
        'colors': flags.colors,
        'rounds': flags.rounds,
        'cases': cases,
    }


def _make_scenes(folder: Path, count: int, size: str) -> None:
    """PNG pictures and labels; a few are painted, the others are those mirrored and under another sensor's noise."""
    from dataset_tools import street_renderer

    width, height = map(int, size.split('x'))
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    (folder / 'labels').mkdir(exist_ok=True)
    painted: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(count):
        rng = np.random.default_rng([5, number])
        if number < _RENDERED:
            painted.append(street_renderer.render(rng, height=height, width=width))
        image, ids = painted[number % _RENDERED]
        if (number // _RENDERED) % 2:
            image, ids = image[:, ::-1], ids[:, ::-1]
        if number >= _RENDERED:
            image = (image + rng.normal(0, 1, image.shape)).clip(0, 255).astype(np.uint8)
        for kind, pixels in (('images', image), ('labels', ids)):
            path = folder / kind / f'{number:03d}.png'
            if not path.exists():
                Image.fromarray(pixels).save(path)


def _make_records(folder: Path, encoding: str) -> str:
    name = f'{encoding}.record'
    command = [sys.executable, '-m', 'dataset_tools.create_tf_record', '--encoding', encoding, '--name', name]
    command += ['--images', str(folder / 'images'), '--labels', str(folder / 'labels'), '--output_dir', str(folder)]
    subprocess.run([*command, '--num_classes', str(_NUM_CLASSES)], cwd=_ROOT, check=True, stdout=sys.stderr)
    return str(folder / f'{name}-*')


def _bytes_per_image(pattern: str) -> int:
    manifest = json.loads(Path(pattern.removesuffix('-*') + '.manifest.json').read_text(encoding='utf-8'))
    return sum(shard['bytes'] for shard in manifest['shards']) // manifest['num_examples']


def _run_worker(flags: argparse.Namespace, pattern: str, *more: str) -> dict[str, Any]:
    command = [sys.executable, '-m', 'benchmarks.input_pipeline', '--worker', pattern, *more]
    command += ['--rounds', str(flags.rounds), '--seconds', str(flags.seconds), *(['--colors'] if flags.colors else [])]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(flags: argparse.Namespace) -> dict[str, Any]:
    from inputs import augmentations as aug
    from inputs import pipeline

    steps = [
        functools.partial(aug.random_scale, min_ratio=0.5, max_ratio=2.0),
        functools.partial(aug.random_crop, height=_CROP, width=_CROP),
        aug.random_horizontal_flip,
    ]
    if flags.colors:
        steps += [
            functools.partial(aug.random_brightness, max_delta=32.0),
            functools.partial(aug.random_contrast, min_factor=0.8, max_factor=1.25),
            functools.partial(aug.random_saturation, min_factor=0.8, max_factor=1.25),
            functools.partial(aug.random_gamma, min_gamma=0.8, max_gamma=1.25),
        ]
    files = pipeline.record_files(sorted(glob.glob(flags.worker)))
    # Whatever TensorFlow needs for itself is there before memory is looked at.
    decoded = _decode_alone(files)
    for _ in range(3):
        next(decoded)
    before = _resident_mb()
    limit = 0 if flags.no_cache else pipeline.CACHE_LIMIT_BYTES
    records = pipeline.TrainingRecords(files, augmentations=steps, num_classes=_NUM_CLASSES, cache_limit_bytes=limit)
    batches = iter(records.batches(batch_size=_BATCH, seed=1))
    peaks = [before]

    def one_batch() -> int:
        next(batches)
        peaks.append(_resident_mb())
        return _BATCH

    rates = _rates([one_batch, lambda: next(decoded)], flags)
    batch_mb = _BATCH * _CROP * _CROP * 16 / 1e6
    return {
        'images_per_second': round(rates[0], 2),
        'decode_alone': round(rates[1], 2),
        'share_of_decode': round(rates[0] / rates[1], 3),
        'growth_mb': round(max(peaks) - before),
        'in_flight_mb': round((pipeline.BATCHES_AHEAD + 2) * batch_mb),
    }


def _decode_alone(files: list[str]) -> Iterator[int]:
    """Counts of examples whose image and label were read, one file after the other, and decoded."""
    import tensorflow as tf

    from core.fields import IMAGE, LABEL
    from inputs import tf_example

    def sizes(serialized: tf.Tensor) -> tf.Tensor:
        example = tf_example.decode(serialized)
        return tf.size(example[IMAGE]) + tf.size(example[LABEL])

    records = tf.data.TFRecordDataset(files, buffer_size=1 << 20).repeat()
    decoded = records.map(sizes, num_parallel_calls=len(os.sched_getaffinity(0))).prefetch(4)
    for _ in decoded:
        yield 1


def _rates(works: list[Callable[[], int]], flags: argparse.Namespace) -> list[float]:
    """Images per second of each, the median of its rounds; every round of one follows one of the others."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(flags.rounds):
        for rates, work in zip(found, works, strict=True):
            # What had been made ahead while another was measured is not counted.
            for _ in range(4):
                work()
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < flags.seconds:
                count += work()
            rates.append(count / (time.perf_counter() - started))
    return [statistics.median(rates) for rates in found]


def _resident_mb() -> float:
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6


def _pairs_of_files(folder: Path) -> list[tuple[str, str]]:
    return [(str(path), str(folder / 'labels' / path.name)) for path in sorted((folder / 'images').glob('*.png'))]


def _unpacked(pattern: str, folder: Path) -> list[tuple[str, str]]:
    """The files in the records, as files again."""
    import tensorflow as tf

    from core.fields import RecordFields

    pairs = []
    for number, record in enumerate(tf.data.TFRecordDataset(sorted(glob.glob(pattern))).as_numpy_iterator()):
        features = tf.train.Example.FromString(record).features.feature
        pair = []
        for kind, name in (('image', RecordFields.IMAGE_ENCODED), ('label', RecordFields.LABEL_ENCODED)):
            path = folder / f'{kind}{number:04d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(features[name.value].bytes_list.value[0])
            pair.append(str(path))
        pairs.append((pair[0], pair[1]))
    return pairs


def _run_torch(flags: argparse.Namespace, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    settings = {'pairs': pairs, 'crop': _CROP, 'batch_size': _BATCH, 'rounds': flags.rounds, 'seconds': flags.seconds}
    script = str(Path(__file__).with_name('input_pipeline_torch.py'))
    done = subprocess.run([flags.torch_python, script], input=json.dumps(settings), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == '__main__':
    command_line.run(main)
