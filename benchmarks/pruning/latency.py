"""What the exported graphs of several nets cost, side by side in one process."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import runner
from builders import config_loader
from core import command_line

FILE = 'latency.json'


def measure_exports(
    nets: Mapping[str, Path], *, output_dir: Path, size: tuple[int, int], num_images: int
) -> dict[str, dict[str, float]]:
    """{net: million parameters, GFLOPs and milliseconds of one image}, kept in `output_dir`/latency.json.

    Nets of one architecture and equal widths are measured once. The graphs take turns, image by image, so that a busy
    machine is busy for all; the first image of each is not counted.

    Args:
      nets: folders of checkpoints with their pipeline.config.
      size: height and width of the image.
    """
    fingerprints = {name: _fingerprint(folder, size, num_images) for name, folder in nets.items()}
    path = output_dir / FILE
    kept: dict[str, Any] = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    if set(fingerprints.values()) - set(kept):
        distinct = {fingerprint: nets[name] for name, fingerprint in reversed(list(fingerprints.items()))}
        kept = _measure(distinct, output_dir / 'exports', size, num_images)
        runner.write_json(path, kept)
    return {name: kept[fingerprint] for name, fingerprint in fingerprints.items()}


def _fingerprint(folder: Path, size: tuple[int, int], num_images: int) -> str:
    """Weights do not count: they change no time."""
    model = config_loader.load(str(folder / 'pipeline.config')).model.SerializeToString(deterministic=True)
    return hashlib.sha256(model + repr((size, num_images)).encode()).hexdigest()


def _measure(
    distinct: Mapping[str, Path], exports: Path, size: tuple[int, int], num_images: int
) -> dict[str, dict[str, float]]:
    figures = {}
    for fingerprint, folder in distinct.items():
        target = exports / fingerprint[:8]
        config_path = str(folder / 'pipeline.config')
        flags = ['--config_path', config_path, '--trained_checkpoint', str(folder)]
        shape = '1,{},{},{}'.format(*size, config_loader.input_channels(config_loader.load(config_path)))
        runner.run_script(
            'export.py', [*flags, '--output_dir', str(target), '--input_shape', shape], name=f'export of {folder.name}'
        )
    with command_line.quiet_start():  # TensorFlow, which everything else here needs only in other processes
        from benchmarks.zoo import graph
        from core.servable import PREDICTIONS
        from engine import exported_graph

    answers = {
        fingerprint: exported_graph.find(str(exports / fingerprint[:8])).load(PREDICTIONS) for fingerprint in distinct
    }
    milliseconds = interleaved(list(answers.values()), size=size, num_images=num_images)
    for (fingerprint, folder), each in zip(distinct.items(), milliseconds, strict=True):
        config = config_loader.load(str(folder / 'pipeline.config'))
        counted = graph.trace(config.model, height=size[0], width=size[1])[1]
        figures[fingerprint] = {**counted, 'latency_ms': round(each, 1)}
    return figures


def interleaved(answers: Sequence[Any], *, size: tuple[int, int], num_images: int) -> list[float]:
    """Median milliseconds of each function of a picture."""
    rng = np.random.default_rng(0)
    taken: list[list[float]] = [[] for _ in answers]
    for number in range(num_images + 1):
        picture = rng.integers(0, 256, (*size, answers[0].input_channels), np.uint8)
        for answer, seconds in zip(answers, taken, strict=True):
            started = time.perf_counter()
            answer(picture)
            if number:
                seconds.append(time.perf_counter() - started)
    return [1000 * statistics.median(seconds) for seconds in taken]
