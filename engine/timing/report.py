"""What benchmark.py measures and writes."""

from __future__ import annotations

import json
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError
from engine import image_files, output_folder
from engine.timing import side_by_side
from engine.timing.artefact import Artefact

_DEFAULT_SIZE = (1025, 2049)
_COLUMNS = {
    'name': 'artefact',
    'median_ms': 'median, ms',
    'p95_ms': '95 %, ms',
    'images_per_second': 'images/s',
    'processor_ms': 'processor, ms',
    'peak_mib': 'peak, MiB',
    'artefact_and_inference_mib': 'without the runtime, MiB',
    'artefact_and_warm_inference_mib': 'the same when warm, MiB',
    'gflops': 'GFLOPs',
    'million_parameters': 'M parameters',
    'equal_pixels': 'equal pixels, %',
}


def run(
    artefacts: Sequence[Artefact],
    image: np.ndarray,
    settings: side_by_side.Settings,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measures them on `image` uint8 [1, H, W, C]: a row for each, and {name: its operations, the slowest first}."""
    with side_by_side.workers(artefacts, image, settings, progress) as started:
        rows = side_by_side.measure(started, settings, progress)
        ids = [side_by_side.predictions(worker) for worker in started]
        layers = {}
        for row, worker, own in zip(rows, started, ids, strict=True):
            row |= _counts(worker)
            row['equal_pixels'] = round(100 * float((own == ids[0]).mean()), 3) if own.shape == ids[0].shape else None
            layers[row['name']] = sorted(worker.ask('layers'), key=lambda layer: -layer['milliseconds'])
    return {
        'image': list(image.shape),
        'threads': settings.threads,
        'warm_up': settings.warm_up,
        'rounds': settings.rounds,
        'processor': _processor(),
        'artefacts': rows,
        'layers': layers,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table in markdown. Pixels are compared with the first row's."""
    lines = [list(_COLUMNS.values()), ['---'] * len(_COLUMNS)]
    lines += [['' if row[key] is None else str(row[key]) for key in _COLUMNS] for row in rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def write(result: dict[str, Any], folder: str, *, layers: int) -> list[str]:
    """Writes benchmark.json, and benchmark.md with the `layers` slowest operations of each artefact."""
    output_folder.make(folder, '--output_dir')
    written = []
    for name, text in (
        ('benchmark.json', json.dumps(result, indent=1) + '\n'),
        ('benchmark.md', _page(result, layers)),
    ):
        path = os.path.join(folder, name)
        beside = Path(f'{path}.unfinished')
        beside.write_text(text, encoding='utf-8')
        os.replace(beside, path)
        written.append(path)
    return written


def picture(path: str | None, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 [1, H, W, 3]: the file, resized if a size is given, or noise of that size."""
    if path is None:
        height, width = size or _DEFAULT_SIZE
        return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    from PIL import Image

    if not os.path.isfile(path):
        raise UsageError(f'--image: no such file: {path}')
    pixels = image_files.read(path, has_windows=False)
    if size is not None:
        height, width = size
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return pixels[np.newaxis]


def _counts(worker: side_by_side.Worker) -> dict[str, float | None]:
    """Of the graph that runs; where the runtime does not tell, of the network, as its export's manifest has them."""
    counts = worker.ask('counts')
    if None in counts.values():
        written = manifest_counts(worker.artefact)
        counts = {key: written.get(key) if value is None else value for key, value in counts.items()}
    return counts


def manifest_counts(artefact: Artefact) -> dict[str, float | None]:
    """What the manifest.json beside an artefact says of its network; nothing where none is, or it is of others."""
    entry = os.path.dirname(artefact.path) if artefact.kind == 'openvino' else artefact.path
    entry = os.path.abspath(entry)
    try:
        about = json.loads(Path(entry).with_name('manifest.json').read_text(encoding='utf-8'))
        entries = [form['entry'] for form in about['forms'].values()]
        return about['network'] if os.path.basename(entry) in entries else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _page(result: dict[str, Any], count: int) -> str:
    _, height, width, _ = result['image']
    parts = [
        f'One image of {height}x{width}, {result["threads"]} threads, {result["rounds"]} inferences of each in turn '
        f'after {result["warm_up"]} that do not count; {result["processor"]}.',
        table(result['artefacts']),
    ]
    for name, layers in result['layers'].items():
        if layers and count:
            parts += [f'## {name}', _kinds(layers), _slowest(layers[:count])]
    return '\n\n'.join(parts) + '\n'


def _kinds(layers: Sequence[dict[str, Any]]) -> str:
    sums: dict[str, float] = defaultdict(float)
    for layer in layers:
        sums[layer['kind']] += layer['milliseconds']
    largest = sorted(sums.items(), key=lambda item: -item[1])[:8]
    return 'By kind, ms: ' + ', '.join(f'{kind} {milliseconds:.1f}' for kind, milliseconds in largest) + '.'


def _slowest(layers: Sequence[dict[str, Any]]) -> str:
    lines = ['| ms | kind | operation |', '|---|---|---|']
    lines += [f'| {layer["milliseconds"]:.2f} | {layer["kind"]} | {layer["name"]} |' for layer in layers]
    return '\n'.join(lines)


def _processor() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as f:
            names = [line.partition(':')[2].strip() for line in f if line.startswith('model name')]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or 'unknown processor'
