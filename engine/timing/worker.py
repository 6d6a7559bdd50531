"""The process of one artefact: answers each line on standard input with one line of JSON.

`run`: seconds and processor seconds of one inference. `memory`: MiB, see `_Memory` and `tensors_mib`. `layers`: time
of each operation. `counts`: parameters and GFLOPs. `save PATH`: the prediction as a NumPy file, axes of length 1 left
out. The image comes as a NumPy file.

    python -m engine.timing.worker '{"artefact": {...}, "image": "image.npy", "threads": 2, "warm_up": 2}'
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from core import command_line
from engine.timing.artefact import Artefact


class _Memory:
    """Memory of this process, MiB: before the artefact was loaded, before the first inference, and the most since.

    The first inference also plans the graph, with copies of its weights; `warm` is about those that come after.
    """

    def __init__(self) -> None:
        self.before_loading = _status('VmRSS')
        self.loaded = self.most = 0

    def is_loaded(self) -> None:
        """Forgets what loading took at its height."""
        self._forget()
        self.loaded = _status('VmRSS')

    def is_warm(self) -> None:
        """Takes apart what came before and what comes now."""
        self.most = _status('VmHWM')
        self._forget()

    def peak(self) -> dict[str, int]:
        warm = _status('VmHWM')
        peak = max(self.most, warm)
        return {
            'peak_mib': peak,
            'inference_mib': peak - self.loaded,
            'artefact_and_inference_mib': peak - self.before_loading,
            'artefact_and_warm_inference_mib': warm - self.before_loading,
        }

    @staticmethod
    def _forget() -> None:
        with open('/proc/self/clear_refs', 'w', encoding='ascii') as f:
            f.write('5')


def _status(field: str) -> int:
    with open('/proc/self/status', encoding='ascii') as f:
        (line,) = (line for line in f if line.startswith(field))
    return int(line.split()[1]) // 1024


def main(argv: Sequence[str] | None = None) -> int:
    settings = json.loads((argv or sys.argv[1:])[0])
    artefact = Artefact(**settings['artefact'])
    image = np.load(settings['image'])
    with command_line.quiet_start():
        from engine.timing import runtimes

        _import_runtime(artefact.kind)
        memory = _Memory()
        runtime = runtimes.load(artefact, settings['threads'])
    memory.is_loaded()
    for _ in range(settings['warm_up']):
        runtime.run(image)
    memory.is_warm()
    answers = {
        'run': lambda: _timed(runtime, image),
        'memory': lambda: {**memory.peak(), 'tensors_mib': runtime.tensors_mib(image)},
        'layers': lambda: runtime.layers(image),
        'counts': runtime.counts,
    }
    _answer({'input_shape': runtime.input_shape})
    for line in sys.stdin:
        command, _, argument = line.strip().partition(' ')
        if command == 'save':
            np.save(argument, np.squeeze(np.asarray(runtime.run(image))))
            _answer({})
        else:
            _answer(answers[command]())
    return 0


def _import_runtime(kind: str) -> None:
    """What is there whichever artefact is loaded is not counted to it."""
    if kind in ('frozen_graph', 'saved_model'):
        import tensorflow

        del tensorflow
    elif kind == 'openvino':
        import openvino

        del openvino


def _timed(runtime: Any, image: np.ndarray) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    runtime.run(image)
    return {'seconds': time.perf_counter() - wall, 'processor_seconds': time.process_time() - processor}


def _answer(value: Any) -> None:
    os.write(_ANSWERS, (json.dumps(value) + '\n').encode())


if __name__ == '__main__':
    # Runtimes print what they like on standard output; the answers have it to themselves.
    _ANSWERS = os.dup(1)
    os.dup2(2, 1)
    command_line.run(main)
