"""What the exported graphs of several nets cost, side by side in one process."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import runner
from builders import config_loader
from core import command_line
from core.errors import UserError
from core.fields import IMAGE

FILE = 'latency.json'


def measure_exports(
    nets: Mapping[str, Path], *, output_dir: Path, size: tuple[int, int], num_images: int
) -> dict[str, dict[str, float]]:
    """{net: million parameters, GFLOPs and milliseconds of one image}, kept in `output_dir`/latency.json.

    Nets of one architecture and equal widths are measured once. The graphs take turns, image by image, so that a busy
    machine is busy for all; the first image of each is not counted. Images are the first of the evaluation records:
    the time of labelling depends on how many pixels lie between classes.

    Args:
      nets: folders of checkpoints with their pipeline.config; the first has the records.
      size: height and width of the image.
    """
    fingerprints = {name: _fingerprint(folder, size, num_images) for name, folder in nets.items()}
    path = output_dir / FILE
    kept: dict[str, Any] = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    if set(fingerprints.values()) - set(kept):
        distinct = {fingerprint: nets[name] for name, fingerprint in reversed(list(fingerprints.items()))}
        first = config_loader.load(str(next(iter(nets.values())) / 'pipeline.config'))
        kept = _measure(distinct, output_dir / 'exports', size, lambda: pictures_of(first, size, num_images + 1))
        runner.write_json(path, kept)
    return {name: kept[fingerprint] for name, fingerprint in fingerprints.items()}


def _fingerprint(folder: Path, size: tuple[int, int], num_images: int) -> str:
    """Weights do not count: among trained nets they hardly change the time."""
    model = config_loader.load(str(folder / 'pipeline.config')).model.SerializeToString(deterministic=True)
    return hashlib.sha256(model + repr((size, num_images)).encode()).hexdigest()


def _measure(
    distinct: Mapping[str, Path], exports: Path, size: tuple[int, int], read: Callable[[], Sequence[np.ndarray]]
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
    milliseconds = interleaved(list(answers.values()), read())
    for (fingerprint, folder), each in zip(distinct.items(), milliseconds, strict=True):
        config = config_loader.load(str(folder / 'pipeline.config'))
        counted = graph.trace(config.model, height=size[0], width=size[1])[1]
        figures[fingerprint] = {**counted, 'latency_ms': round(each, 1)}
    return figures


def pictures_of(config: Any, size: tuple[int, int], number: int) -> list[np.ndarray]:
    """The first evaluation images, uint8 [H, W, C] of `size`, over and over until there are `number`.

    Those of another size are brought to it by nearest pixels. Raises UserError if there is none.
    """
    from builders import input_builder  # TensorFlow, as above

    examples = input_builder.build_eval(config).take(number).as_numpy_iterator()
    found = [_resized(example[IMAGE], size).astype(np.uint8) for example in examples]
    if not found:
        raise UserError('eval_input_reader: has no image that latency could be measured on')
    return [found[index % len(found)] for index in range(number)]


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, image.shape[:2], strict=True))
    return image[rows][:, columns]


def interleaved(answers: Sequence[Callable[[np.ndarray], Any]], pictures: Sequence[np.ndarray]) -> list[float]:
    """Median milliseconds of each function of a picture; the first picture is not counted."""
    taken: list[list[float]] = [[] for _ in answers]
    for number, picture in enumerate(pictures):
        for answer, seconds in zip(answers, taken, strict=True):
            started = time.perf_counter()
            answer(picture)
            if number:
                seconds.append(time.perf_counter() - started)
    return [1000 * statistics.median(seconds) for seconds in taken]
