"""Which devices a training runs on, and in which number format."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import tensorflow as tf

from core.errors import UsageError

_LOGGER = logging.getLogger(__name__)


def make_strategy(*, num_clones: int, clone_on_cpu: bool) -> tf.distribute.Strategy:
    """One device, or `num_clones` GPUs (logical CPUs with `clone_on_cpu`) that each take a share of the batch.

    To be called before anything else uses TensorFlow's devices. Raises UsageError if there are not enough of them.
    """
    gpus = [] if clone_on_cpu else tf.config.list_physical_devices('GPU')
    if num_clones < 1:
        raise UsageError(f'--num_clones: got {num_clones}, choose 1 or more')
    if num_clones == 1:
        return tf.distribute.OneDeviceStrategy('/gpu:0' if gpus else '/cpu:0')
    if clone_on_cpu:
        return tf.distribute.MirroredStrategy(_logical_cpus(num_clones))
    if len(gpus) < num_clones:
        raise UsageError(
            f'--num_clones: got {num_clones}, but there are {len(gpus)} GPUs; choose at most that, or --clone_on_cpu'
        )
    return tf.distribute.MirroredStrategy([f'/gpu:{i}' for i in range(num_clones)])


def _logical_cpus(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices('CPU')[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices('CPU')) < count:
            raise UsageError(f'--clone_on_cpu: TensorFlow already runs, {count} CPU devices cannot be made') from error
    return [f'/cpu:{i}' for i in range(count)]


def use_bfloat16(enabled: bool) -> None:
    """Lets oneDNN compute convolutions and their gradients in bfloat16 on CPUs; variables stay float32.

    It rewrites graphs when they are first run, so it has to be set before the step is compiled. On GPUs it has no
    effect: there TensorFloat-32 is on by default.
    """
    tf.config.optimizer.set_experimental_options({'auto_mixed_precision_onednn_bfloat16': enabled})
    if enabled and tf.config.list_logical_devices('GPU'):
        _LOGGER.warning('train_config.mixed_precision: BFLOAT16 acts on CPUs only; this GPU uses TensorFloat-32')


def keep_order_of_sums() -> None:
    """Stops TensorFlow from merging and factoring operations in a way that depends on what else the graph holds.

    With it a step that computes some activations twice gives the same bits as one that keeps them all. The remapper
    fuses batch norm and ReLU, for one, only where nothing else reads what lies between, and never in a copy that has to
    wait; fused and alone they round differently where oneDNN has no kernel for a number of channels.
    """
    tf.config.optimizer.set_experimental_options({'arithmetic_optimization': False, 'remapping': False})


def num_threads() -> int:
    """How many threads share one operation; the order of its sums, and so its last bits, depend on it."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return tf.config.threading.get_intra_op_parallelism_threads() or available


@contextlib.contextmanager
def graph_options_kept() -> Iterator[None]:
    """Undoes `use_bfloat16` and `keep_order_of_sums` at the end, for what is compiled and timed after a training."""
    before = tf.config.optimizer.get_experimental_options()
    try:
        yield
    finally:
        plain = {'auto_mixed_precision_onednn_bfloat16': False, 'arithmetic_optimization': True, 'remapping': True}
        tf.config.optimizer.set_experimental_options({**plain, **before})


def describe(strategy: tf.distribute.Strategy) -> str:
    """For the log: `1 x CPU`, or `2 x GPU (NVIDIA H200)`."""
    kind = 'GPU' if 'GPU' in strategy.extended.worker_devices[0].upper() else 'CPU'
    text = f'{strategy.num_replicas_in_sync} x {kind}'
    if kind == 'GPU':
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices('GPU')[0])
        text += f' ({details.get("device_name", "unnamed")})'
    return text
