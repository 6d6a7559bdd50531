"""What an evaluation costs beside the network: counting, all metrics, input, memory.

Prints one JSON object:

- `confusion`: milliseconds to count a 1025x2049 map of 19 classes, beside numpy's bincount of the same maps in the same
  run, on street-like maps (large regions) and on noise;
- `metrics`: milliseconds per megapixel of everything that eval.py measures, on rendered streets of CamVid's size and at
  1025x2049;
- `evaluation`: ICNet 0.5 on 100 rendered streets of CamVid's size: milliseconds an image of a whole evaluation with
  every metric, restoring and reading included; of the network alone on the same images in memory; the share of the
  rest, also of the processor's time, which tells more on a busy machine;
- `memory`: resident memory in MB after 10 and after --images examples, of a process that evaluates a network of one
  convolution.

    python -m benchmarks.evaluation --rounds 3 --images 1000
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core import command_line

NUM_CLASSES, LARGE, CAMVID = 19, (1025, 2049), (360, 480)
_CONFIG = """
model {{ icnet {{
  num_classes: 8 filter_scale: 0.5 pooling_factors: [1, 2, 3, 6]
  feature_extractor {{ type: 'dilated_resnet50' }}
  loss {{ classification_loss {{ softmax {{}} }} use_auxiliary_loss: true }}
}} }}
eval_config {{ num_examples: 1 }}
eval_input_reader {{ tf_record_input_reader {{ input_path: '{records}' }} }}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs each part in a process of its own and prints the whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--rounds',
        type=int,
        default=3,
        help='repetitions; kernels ten times as many',
    )
    parser.add_argument('--images', type=int, default=1000, help='examples of the memory part')
    parser.add_argument('--worker', choices=tuple(_WORKERS), help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.worker:
        print(json.dumps(_WORKERS[flags.worker](flags)))
        return
    print(json.dumps({worker: _in_process(worker, flags) for worker in _WORKERS}, indent=2))


def _in_process(worker: str, flags: argparse.Namespace) -> Any:
    command = [sys.executable, '-m', 'benchmarks.evaluation', '--rounds', str(flags.rounds)]
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'}
    done = subprocess.run(
        [*command, '--images', str(flags.images), '--worker', worker], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _confusion(flags: argparse.Namespace) -> dict[str, Any]:
    from metrics.confusion import ConfusionMatrix

    rng = np.random.default_rng(0)
    noise = [rng.integers(0, NUM_CLASSES, LARGE, np.uint8) for _ in range(2)]
    found = {}
    for kind, (label, prediction) in (('streets', _street_maps(*LARGE)), ('noise', noise)):
        matrix = ConfusionMatrix(num_classes=NUM_CLASSES, ignore_label=255)

        def numpy_bincount(label=label, prediction=prediction) -> np.ndarray:
            codes = label.astype(np.int64).ravel() * NUM_CLASSES + prediction.ravel()
            return np.bincount(codes, minlength=NUM_CLASSES**2)

        codes = label.astype(np.int64).ravel() * NUM_CLASSES + prediction.ravel()
        ours, theirs, bare = _alternating(
            10 * flags.rounds,
            lambda label=label, prediction=prediction, matrix=matrix: matrix.update(label, prediction),
            numpy_bincount,
            lambda codes=codes: np.bincount(codes, minlength=NUM_CLASSES**2),
        )
        found[kind] = {
            'update_ms': ours,
            'numpy_bincount_ms': theirs,
            'numpy_bincount_of_ready_codes_ms': bare,
            'ratio': ours / theirs,
        }
    return found


def _metrics(flags: argparse.Namespace) -> dict[str, Any]:
    from metrics.accumulator import Accumulator
    from metrics.scores import Classes

    found = {}
    for name, size in (('360x480', CAMVID), ('1025x2049', LARGE)):
        label, prediction = _street_maps(*size)
        confidence = np.random.default_rng(1).uniform(0.3, 1, size).astype(np.float32)
        classes = Classes(names=[f'class_{i}' for i in range(NUM_CLASSES)])
        timings = {}
        for kind, detailed in (('all', True), ('without_detailed_metrics', False)):
            scores = Accumulator(classes=classes, ignore_label=255, detailed=detailed)
            add = functools.partial(scores.add, 'a.png', label, prediction, confidence=confidence)
            (milliseconds,) = _alternating(10 * flags.rounds, add)
            timings[f'{kind}_ms_per_megapixel'] = milliseconds / (label.size / 1e6)
        found[name] = timings
    return found


def _evaluation(flags: argparse.Namespace) -> dict[str, Any]:
    from google.protobuf import text_format

    from builders import config_loader
    from engine import checkpoints, inference
    from engine.eval_lib import Evaluator
    from protos.pipeline_pb2 import PipelineConfig

    with tempfile.TemporaryDirectory() as folder:
        records = os.path.join(folder, 'streets.record')
        _write_records(records, num_images=100, size=CAMVID)
        config = text_format.Parse(_CONFIG.format(records=records), PipelineConfig())
        config_loader.validate(config, 'eval')
        model = inference.build_model(config)
        checkpoint = checkpoints.save(folder, 1, model.variables_by_name())
        evaluator = Evaluator(config)
        evaluator.evaluate(checkpoint, eval_dir=folder)
        examples = list(evaluator._examples())
        rounds = []
        for _ in range(flags.rounds):
            clocks = [_clocks()]
            evaluator.evaluate(checkpoint, eval_dir=folder)
            clocks.append(_clocks())
            for example in examples:
                evaluator._score_image(example.image, example.label)
            clocks.append(_clocks())
            rounds.append(np.diff(clocks, axis=0))
    (evaluation, evaluation_cpu), (network, network_cpu) = 1e3 * np.median(rounds, 0) / len(examples)
    return {
        'image_size': '360x480',
        'num_images': len(examples),
        'evaluation_ms_per_image': evaluation,
        'network_alone_ms_per_image': network,
        'share_beside_network': 1 - network / evaluation,
        'share_of_processor_time_beside_network': 1 - network_cpu / evaluation_cpu,
    }


def _memory(flags: argparse.Namespace) -> dict[str, Any]:
    from google.protobuf import text_format

    from engine import checkpoints, inference
    from engine.eval_lib import Evaluator
    from metrics.accumulator import Accumulator
    from protos.pipeline_pb2 import PipelineConfig

    network = _OneConvolution()
    inference.build_model = lambda config: network
    resident: dict[str, float] = {}
    add, marks = Accumulator.add, (10, flags.images // 10, flags.images)

    def measured(self, *args, **kwargs):
        record = add(self, *args, **kwargs)
        if self.num_images in marks:
            resident[f'after_{self.num_images}_images_mb'] = _resident_mb()
        return record

    Accumulator.add = measured
    with tempfile.TemporaryDirectory() as folder:
        records = os.path.join(folder, 'streets.record')
        _write_records(records, num_images=20, size=(180, 240), copies=flags.images // 20)
        config = text_format.Parse(_CONFIG.format(records=records), PipelineConfig())
        checkpoint = checkpoints.save(folder, 1, network.variables_by_name())
        Evaluator(config).evaluate(checkpoint, eval_dir=folder)
    return resident


_WORKERS = {'confusion': _confusion, 'metrics': _metrics, 'evaluation': _evaluation, 'memory': _memory}


class _OneConvolution:
    """The smallest network that can be evaluated."""

    num_classes = 8

    def __init__(self):
        import tensorflow as tf

        kernel = np.random.default_rng(0).normal(size=(1, 1, 3, 8)).astype(np.float32)
        self._kernel = tf.Variable(kernel, name='weights')

    def preprocess(self, images):
        return images - 128.0

    def predict(self, images, is_training):
        del is_training
        import tensorflow as tf

        return {'logits': tf.nn.conv2d(images, self._kernel, 1, 'SAME')}

    def variables_by_name(self) -> dict[str, Any]:
        return {'weights': self._kernel}


def _street_maps(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A rendered street and a prediction that is wrong along borders and in blots, uint8 [height, width]."""
    from dataset_tools.street_renderer import render

    _, label = render(np.random.default_rng(0), height=height, width=width)
    rng = np.random.default_rng(1)
    prediction = np.roll(np.where(label == 255, 0, label), max(1, width // 240), axis=1)
    for y, x in rng.integers(0, (height, width), (20, 2)):
        prediction[y : y + height // 20, x : x + width // 20] = rng.integers(8)
    return label.astype(np.uint8), prediction.astype(np.uint8)


def _write_records(path: str, *, num_images: int, size: tuple[int, int], copies: int = 1) -> None:
    """`copies` times the same `num_images` streets, each copy under names of its own."""
    import tensorflow as tf

    from dataset_tools.street_renderer import render
    from inputs import tf_example

    pairs = [render(np.random.default_rng(i), height=size[0], width=size[1]) for i in range(num_images)]
    encoded = [
        [tf.io.encode_png(pixels.reshape(*size, -1)).numpy() for pixels in (image, label.astype(np.uint8))]
        for image, label in pairs
    ]
    with tf.io.TFRecordWriter(path) as writer:
        for copy in range(copies):
            for i, (image, label) in enumerate(encoded):
                example = tf_example.encode(
                    image_bytes=image,
                    image_format='png',
                    label_bytes=label,
                    filename=f'{copy}/street_{i}.png',
                    height=size[0],
                    width=size[1],
                )
                writer.write(example.SerializeToString())


def _alternating(rounds: int, *functions: Callable[[], object]) -> list[float]:
    """Least milliseconds of each; they take turns, so that a busy machine is busy for all."""
    timings: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(rounds):
        for function, times in zip(functions, timings, strict=True):
            started = time.perf_counter()
            function()
            times.append(1e3 * (time.perf_counter() - started))
    return [min(times) for times in timings]


def _clocks() -> tuple[float, float]:
    """Seconds on the wall, and of the processor in all threads."""
    return time.perf_counter(), time.process_time()


def _resident_mb() -> float:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1]) / 1024
    return float('nan')


if __name__ == '__main__':
    command_line.run(main)
