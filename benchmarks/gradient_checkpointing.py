"""Memory and time of training steps with and without a recompute plan, each case in a process of its own.

Prints one JSON object. Peaks are resident memory above the process's size before its first step; times are medians of
the steps after the first. Plain and planned processes take turns.

    python -m benchmarks.gradient_checkpointing --suite models     # PSPNet 713x713 x2, ICNet 1025x1025 x4; half an hour
    python -m benchmarks.gradient_checkpointing --suite depth      # a residual chain of 16 to 256 blocks
    python -m benchmarks.gradient_checkpointing --suite batch      # the largest batch within 16 GiB; 16 GiB are needed
    python -m benchmarks.gradient_checkpointing --suite predicted  # predicted against measured peaks
    python -m benchmarks.gradient_checkpointing --suite planner    # against brute force and against sqrt(n)
    python -m benchmarks.gradient_checkpointing --suite timeline --picture docs/images/memory_timeline.png
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

_NUM_CLASSES = 19
_BLOCK_SIZE, _BLOCK_CHANNELS = 64, 32
_NUM_CHAINS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A model, its input and what is asked of the plan: plain, auto, speed, memory, a budget as --memory_budget."""

    model: str
    height: int
    width: int
    batch: int
    request: str = 'plain'
    filter_scale: float = 1.0
    steps: int = 3

    @property
    def name(self) -> str:
        scale = '' if self.filter_scale == 1 else f'_{self.filter_scale}'
        return f'{self.model}{scale}_{self.height}x{self.width}_batch_{self.batch}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--suite', choices=sorted(_SUITES), default='models')
    parser.add_argument('--rounds', type=int, default=1, help='processes of each case')
    parser.add_argument('--only', default='', help='cases whose name contains this text')
    parser.add_argument('--picture', help='timeline: PNG to write')
    parser.add_argument('--worker', help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        print(json.dumps(_measure(Case(**json.loads(flags.worker)))))
        return
    result = {'benchmark': 'gradient_checkpointing', 'suite': flags.suite, 'cpus': os.cpu_count()}
    print(json.dumps({**result, **_SUITES[flags.suite](flags)}))


def _models(flags: argparse.Namespace) -> dict[str, Any]:
    pspnet = Case(model='pspnet', height=713, width=713, batch=2)
    icnet = Case(model='icnet', height=1025, width=1025, batch=4)
    found: dict[str, Any] = {}
    for plain, requests in ((pspnet, ('30%peak', '25%', '10%')), (icnet, ('40%peak', '25%', '10%'))):
        if flags.only in plain.name:
            found[plain.name] = _against_plain(plain, ('auto', 'memory', *requests), flags.rounds)
    return {'models': found}


def _against_plain(plain: Case, requests: Sequence[str], rounds: int) -> dict[str, Any]:
    """Peaks and times of each request as shares of plain training; `N%peak` is a budget of that share of its peak."""
    runs: dict[str, list[dict[str, Any]]] = {request: [] for request in ('plain', *requests)}
    for _ in range(rounds):
        runs['plain'].append(_run(plain))
        peak = runs['plain'][0]['peak_mb']
        for request in requests:
            asked = f'{float(request[: -len("%peak")]) / 100 * peak:.0f}MB' if request.endswith('%peak') else request
            runs[request].append(_run(dataclasses.replace(plain, request=asked)))
    base = runs['plain']
    found: dict[str, Any] = {'plain': _summary(base)}
    for request in requests:
        if 'refused' in runs[request][0]:
            found[request] = runs[request][0]
            continue
        row = _summary(runs[request])
        row['peak_of_plain'] = round(row['peak_mb'] / found['plain']['peak_mb'], 3)
        row['time_of_plain'] = round(row['seconds'] / found['plain']['seconds'], 3)
        found[request] = row
    return found


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        'peak_mb': round(statistics.median(run['peak_mb'] for run in runs)),
        'predicted_peak_mb': round(runs[0]['predicted_peak_mb']),
        'seconds': round(statistics.median(s for run in runs for s in run['seconds']), 3),
        'activations_kept': round(runs[0]['activations_kept'], 3),
        'extra_forward_work': round(runs[0]['extra_work'], 3),
        'losses_equal_plain': runs[0]['loss'],
    }


def _run(case: Case) -> dict[str, Any]:
    described = json.dumps(dataclasses.asdict(case))
    command = [sys.executable, '-m', 'benchmarks.gradient_checkpointing', '--worker', described]
    print(f'{case.name} {case.request} ...', file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    result = json.loads(done.stdout.splitlines()[-1])
    told = {key: value for key, value in result.items() if key != 'timeline'}
    print(f'{case.name} {case.request}: {told}', file=sys.stderr, flush=True)
    return result


def _depth(flags: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    rows = []
    for depth in (16, 32, 64, 128, 256):
        case = Case(model=f'chain{depth}', height=_BLOCK_SIZE, width=_BLOCK_SIZE, batch=8, steps=6)
        rows.append({'blocks': depth, **_against_plain(case, ('memory',), flags.rounds)})
    peaks = [row['memory']['peak_mb'] for row in rows]
    exponent = float(np.polyfit(np.log([row['blocks'] for row in rows]), np.log(peaks), 1)[0])
    return {'depth': rows, 'exponent_of_peak': round(exponent, 3)}


def _batch(flags: argparse.Namespace) -> dict[str, Any]:
    """The largest batch of PSPNet at 713x713 whose measured peak, with the process itself, is within 16 GiB."""
    found = {}
    for request in ('plain', 'memory'):
        one = _run(Case(model='pspnet', height=713, width=713, batch=1, request=request, steps=1))
        two = _run(Case(model='pspnet', height=713, width=713, batch=2, request=request, steps=1))
        each = two['peak_mb'] - one['peak_mb']
        batch = int((16 * 1024**3 / 1e6 - one['resident_mb'] - one['peak_mb']) / each) + 1
        result = _run(Case(model='pspnet', height=713, width=713, batch=batch, request=request, steps=2))
        found[request] = {
            'batch': batch,
            'total_mb': round(result['resident_mb'] + result['peak_mb']),
            'seconds_per_image': round(min(result['seconds']) / batch, 3),
        }
    return {
        'largest_batch': found,
        'times_plain': round(found['memory']['batch'] / found['plain']['batch'], 2),
        'time_per_image_of_plain': round(found['memory']['seconds_per_image'] / found['plain']['seconds_per_image'], 3),
    }


def _predicted(flags: argparse.Namespace) -> dict[str, Any]:
    sizes = [
        ('pspnet', 1.0, 257, 257, 2),
        ('pspnet', 0.5, 385, 385, 4),
        ('pspnet', 1.0, 449, 449, 2),
        ('icnet', 1.0, 513, 513, 2),
        ('icnet', 0.5, 353, 481, 8),
        ('icnet', 1.0, 769, 769, 2),
    ]
    rows = []
    for model, filter_scale, height, width, batch in sizes:
        for request in ('plain', 'auto'):
            case = Case(
                model=model, filter_scale=filter_scale, height=height, width=width, batch=batch, request=request
            )
            if flags.only not in case.name:
                continue
            run = _run(case)
            ratio = round(run['predicted_peak_mb'] / run['peak_mb'], 3)
            rows.append({'case': case.name, 'request': request, 'peak_mb': round(run['peak_mb']), 'predicted': ratio})
    errors = [abs(row['predicted'] - 1) for row in rows]
    return {'predicted': rows, 'largest_error': round(max(errors), 3), 'cases': len(rows)}


def _timeline(flags: argparse.Namespace) -> dict[str, Any]:
    runs = {
        request: _run(Case(model='pspnet', height=449, width=449, batch=2, request=request, steps=2))
        for request in ('plain', 'auto', 'memory')
    }
    if flags.picture:
        _draw(runs, flags.picture)
    return {'timeline': {request: {k: v for k, v in run.items() if k != 'timeline'} for request, run in runs.items()}}


def _draw(runs: dict[str, dict[str, Any]], path: str) -> None:
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    labels = {'plain': 'plain', 'auto': 'a third of a forward pass again', 'memory': 'least memory'}
    figure, axes = plt.subplots(figsize=(9, 4), layout='constrained')
    for request, run in runs.items():
        seconds, megabytes = zip(*run['timeline'], strict=True)
        axes.plot(seconds, [m / 1000 for m in megabytes], label=labels[request])
    axes.set(xlabel='seconds into one training step', ylabel='GB above the process before it', ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _planner(flags: argparse.Namespace) -> dict[str, Any]:
    """Random chains against every keep-set; the real models against the square-root rule at its own memory."""
    import numpy as np

    rng = np.random.default_rng(0)
    equal = sum(_equals_brute_force(rng) for _ in range(_NUM_CHAINS))
    models = [
        _square_root_rule(Case(model='pspnet', height=713, width=713, batch=2)),
        _square_root_rule(Case(model='icnet', height=1025, width=1025, batch=4)),
    ]
    return {'chains': _NUM_CHAINS, 'equal_to_brute_force': equal, 'square_root_rule': models}


def _equals_brute_force(rng: Any) -> bool:
    """One chain of 2 to 12 stages with unequal bytes and work, and a random budget."""
    import numpy as np

    from recompute import planner
    from recompute.chains import plain_chain

    length = int(rng.integers(2, 13))
    sizes, work = rng.integers(1, 30, length), rng.integers(1, 100, length)
    budget = int(rng.integers(sizes.max(), sizes.sum() + 1))
    keeps = (np.arange(2**length)[:, None] >> np.arange(length)) & 1
    # Stage by stage: bytes kept so far, bytes to be computed again in the segment at hand, the largest sum of both.
    kept, again, peak = (np.zeros(2**length, np.int64) for _ in range(3))
    for stage in range(length):
        kept += keeps[:, stage] * sizes[stage]
        peak = np.maximum(peak, kept + again)
        again = np.where(keeps[:, stage] == 1, 0, again + sizes[stage])
        peak = np.maximum(peak, kept + again)
    # The stage before the objective needs no second run when it is kept; those not kept cost their work, save that the
    # last of each segment is what is kept.
    cost = ((1 - keeps) * work).sum(1)
    allowed = cost[peak <= budget]
    solution = planner.least_cost(plain_chain(sizes.tolist(), work.tolist()), length, budget)
    if solution is None or not allowed.size:
        return solution is None and not allowed.size
    return solution.cost == allowed.min() and solution.peak <= budget


def _square_root_rule(case: Case) -> dict[str, Any]:
    """Work of the optimal plan over that of equal segments, at the memory that these take."""
    import tensorflow as tf

    from recompute import planner
    from recompute.activations import Activations
    from recompute.chains import equal_segments
    from recompute.forward import ForwardGraph
    from recompute.needed import tensors_needed
    from recompute.segments import SegmentOptions

    model = _model(case)
    model.build()
    variables = list(model.trainable_variables)
    shape = (case.batch, case.height, case.width)
    graph = tf.__internal__.FuncGraph('forward')
    with graph.as_default(), model.entered():
        predictions = model.predict(model.preprocess(tf.zeros([*shape, 3])), is_training=True)
        forward = ForwardGraph(tf.add_n(list(model.loss(predictions, tf.zeros(shape, tf.int32)).values())))
        handles = [graph.capture(variable.handle) for variable in variables]
        activations = Activations(forward, tensors_needed(forward, variables), forward.depending_on(handles))
    options = SegmentOptions(activations)
    segments = options.all(with_gradients=False)
    rule = equal_segments(segments, options.length)
    best = planner.least_cost(segments, options.length, rule.peak)
    assert best is not None
    return {
        'case': case.name,
        'segments_of_the_rule': len(rule.choices),
        'peak_of_plain': round(rule.peak / activations.plain_bytes, 3),
        'forward_work_of_the_rule': round(rule.cost / activations.total_work, 3),
        'forward_work_of_the_plan': round(best.cost / activations.total_work, 3),
        'plan_over_rule': round(best.cost / rule.cost, 3),
    }


_SUITES = {
    'models': _models,
    'depth': _depth,
    'batch': _batch,
    'predicted': _predicted,
    'timeline': _timeline,
    'planner': _planner,
}


def _measure(case: Case) -> dict[str, Any]:
    """In the worker: traces, plans, then measures steps."""
    import tensorflow as tf

    from core.errors import UsageError
    from engine import devices, memory, recompute_plan
    from recompute.budget import parse_budget
    from recompute.plan import Mode, Planner, Request

    modes = {'plain': Mode.NONE, 'auto': Mode.AUTO, 'speed': Mode.SPEED, 'memory': Mode.MEMORY}
    if case.request in modes:
        request = Request(mode=modes[case.request])
    else:
        request = Request(**parse_budget(case.request, '--request'))
    devices.keep_order_of_sums()
    tf.random.set_seed(1)
    planner: Planner = recompute_plan.planner(request)
    step, batch = _step(case, planner)
    try:
        step.get_concrete_function(batch)
    except UsageError as error:
        return {'refused': str(error)}
    plan = planner.plan
    assert plan is not None
    before = memory.resident_bytes()
    _reset_peak()
    seconds, loss = [], 0.0
    for _ in range(case.steps):
        started = time.perf_counter()
        loss = float(step(batch)['total_loss'])
        seconds.append(time.perf_counter() - started)
    peak = memory.peak_bytes()
    return {
        'peak_mb': (peak - before) / 1e6,
        'resident_mb': before / 1e6,
        'predicted_peak_mb': plan.peak_bytes / 1e6,
        'activations_kept': plan.kept_activation_bytes / max(1, plan.plain_activation_bytes),
        'extra_work': plan.extra_work,
        'seconds': seconds[1:] or seconds,
        'loss': loss,
        'timeline': _sample(lambda: step(batch), before),
    }


def _reset_peak() -> None:
    """The kernel's high-water mark starts again from what is resident now."""
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')


def _sample(run: Any, before: int) -> list[tuple[float, float]]:
    """(seconds, MB above `before`) through one step, about 500 times."""
    from engine import memory

    found: list[tuple[float, float]] = []
    done = threading.Event()
    started = time.perf_counter()

    def sample() -> None:
        while not done.wait(0.02):
            found.append((time.perf_counter() - started, (memory.resident_bytes() - before) / 1e6))

    thread = threading.Thread(target=sample)
    thread.start()
    float(run()['total_loss'])
    done.set()
    thread.join()
    stride = max(1, len(found) // 500)
    return found[::stride]


def _step(case: Case, planner: Any) -> tuple[Any, dict[str, Any]]:
    import numpy as np
    import tensorflow as tf

    from core.optimizers import Momentum
    from core.schedules import constant
    from engine import devices
    from engine.train_state import TrainState
    from engine.train_step import make_train_step

    strategy = devices.make_strategy(num_clones=1, clone_on_cpu=False)
    optimizer = Momentum(learning_rate=constant(learning_rate=0.001), momentum=0.9)
    with strategy.scope():
        model = _model(case)
        model.build()
        state = TrainState(model, optimizer)
    step = make_train_step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=True,
        planner=planner,
    )
    rng = np.random.default_rng(0)
    shape = (case.batch, case.height, case.width)
    return step, {
        'image': tf.constant(rng.uniform(0, 255, (*shape, 3)).astype(np.float32)),
        'label': tf.constant(rng.integers(0, _NUM_CLASSES, shape).astype(np.int32)),
    }


def _model(case: Case) -> Any:
    from google.protobuf import text_format

    from builders import model_builder
    from protos import model_pb2

    if case.model.startswith('chain'):
        return _Chain(int(case.model.removeprefix('chain')))
    config = text_format.Parse(
        f"""{case.model} {{
          num_classes: {_NUM_CLASSES} filter_scale: {case.filter_scale} pooling_factors: [1, 2, 3, 6]
          feature_extractor {{ type: 'dilated_resnet50' }}
          hyperparams {{ regularizer {{ l2_regularizer {{ weight: 0.0001 }} }} }}
          loss {{ use_auxiliary_loss: true }}
        }}""",
        model_pb2.FastSegmentationModel(),
    )
    return model_builder.build(config)


class _Chain:
    """A plain residual chain: convolution, batch norm, ReLU, sum, `depth` times, and a classifier."""

    def __init__(self, depth: int):
        from core import layers
        from third_party import slim

        self._depth, self._slim, self._layers = depth, slim, layers
        self._store = slim.VariableStore()
        self._hyperparams = layers.Hyperparams(initializer=slim.variance_scaling_initializer())

    def build(self) -> None:
        import tensorflow as tf

        with tf.__internal__.FuncGraph('build').as_default():
            self.predict(tf.zeros([1, 8, 8, 3]), is_training=True)

    def entered(self) -> Any:
        return self._store.scope()

    def preprocess(self, images: Any) -> Any:
        return images / 255.0

    def predict(self, images: Any, is_training: bool) -> dict[str, Any]:
        with self.entered(), self._layers.layer_scope(self._hyperparams, is_training=is_training):
            features = self._slim.conv2d(images, _BLOCK_CHANNELS, 3, scope='stem')
            for i in range(self._depth):
                features = features + self._slim.conv2d(features, _BLOCK_CHANNELS, 3, scope=f'block_{i}')
            classifier = {'activation_fn': None, 'normalizer_fn': None, 'scope': 'classifier'}
            return {'logits': self._slim.conv2d(features, _NUM_CLASSES, 1, **classifier)}

    def loss(self, predictions: dict[str, Any], labels: Any) -> dict[str, Any]:
        import tensorflow as tf

        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, predictions['logits'])
        return {'loss': tf.reduce_mean(losses)}

    def regularization_loss(self) -> Any:
        import tensorflow as tf

        return tf.constant(0.0)

    def variables_by_name(self) -> dict[str, Any]:
        return dict(self._store._vars)

    @property
    def trainable_variables(self) -> tuple[Any, ...]:
        return tuple(variable for variable in self.variables_by_name().values() if variable.trainable)


if __name__ == '__main__':
    main()
