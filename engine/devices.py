"""Which devices a training runs on, and in which number format."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

import tensorflow as tf

from core import processor
from core.errors import UsageError, UserError, first_line
from engine.cluster import VARIABLE, Cluster, meet
from protos.train_pb2 import Distribution
from third_party import coordination

_LOGGER = logging.getLogger(__name__)


def make_strategy(
    distribution: Distribution | None = None,
    *,
    num_clones: int = 1,
    clone_on_cpu: bool = False,
    cluster: Cluster | None = None,
) -> tf.distribute.Strategy:
    """What `distribution` asks for; unset: one device, or `num_clones` GPUs, or those of every worker of `cluster`.

    The devices of this machine are GPUs where there are any, unless `clone_on_cpu`; then they are logical CPUs.

    To be called before anything else uses TensorFlow's devices. Raises UsageError if there are not enough of them, or
    if `distribution` names a strategy that the rest does not fit.
    """
    distribution = distribution or Distribution()
    if num_clones < 1:
        raise UsageError(f'--num_clones: got {num_clones}, choose 1 or more')
    _check_strategy(distribution, num_clones, cluster)
    gpus = [] if clone_on_cpu else tf.config.list_physical_devices('GPU')
    if distribution.strategy == Distribution.MIRRORED and num_clones == 1:
        num_clones = max(1, len(gpus))
    if cluster:
        return _multi_worker(distribution, num_clones, len(gpus), cluster)
    if num_clones == 1 and distribution.strategy != Distribution.MIRRORED:
        return tf.distribute.OneDeviceStrategy('/gpu:0' if gpus else '/cpu:0')
    if clone_on_cpu:
        return tf.distribute.MirroredStrategy(_logical_cpus(num_clones))
    if gpus or num_clones > 1:
        _check_gpus(num_clones, len(gpus))
    return tf.distribute.MirroredStrategy([f'/gpu:{i}' for i in range(num_clones)] if gpus else ['/cpu:0'])


def _check_strategy(distribution: Distribution, num_clones: int, cluster: Cluster | None) -> None:
    """Does what the config names fit the flags and the environment?"""
    place = 'train_config.distribution.strategy'
    name = Distribution.Strategy.Name(distribution.strategy)
    if distribution.strategy == Distribution.MULTI_WORKER_MIRRORED and not cluster:
        raise UsageError(
            f'{place}: got {name}, but {VARIABLE} names no two workers; set it for train.py (docs/distributed.md), '
            'or choose FROM_ENVIRONMENT'
        )
    if distribution.strategy in (Distribution.ONE_DEVICE, Distribution.MIRRORED) and cluster:
        raise UsageError(
            f'{place}: got {name}, but {VARIABLE} names {cluster.num_workers} workers; unset it, or choose '
            'FROM_ENVIRONMENT or MULTI_WORKER_MIRRORED'
        )
    if distribution.strategy == Distribution.ONE_DEVICE and num_clones > 1:
        raise UsageError(f'{place}: got {name} with --num_clones={num_clones}; choose MIRRORED, or leave the flag out')


def _check_gpus(num_clones: int, num_gpus: int) -> None:
    if num_gpus < num_clones:
        raise UsageError(
            f'--num_clones: got {num_clones}, but there are {num_gpus} GPUs; choose at most that, or --clone_on_cpu'
        )


def _multi_worker(
    distribution: Distribution, num_clones: int, num_gpus: int, cluster: Cluster
) -> tf.distribute.Strategy:
    """Starts this worker's server and waits until all of them are there."""
    if num_gpus:
        _check_gpus(num_clones, num_gpus)
    elif num_clones > 1:
        raise UsageError(
            f'--num_clones: got {num_clones}, but a worker without GPUs has one device; choose 1 and name more workers '
            f'in {VARIABLE}'
        )
    tf.get_logger().setLevel(logging.WARNING)  # else it tells of every exchange that is compiled
    coordination.configure(
        {job: len(addresses) for job, addresses in cluster.jobs.items()},
        peer_timeout_seconds=distribution.peer_timeout_seconds,
        start_timeout_seconds=distribution.start_timeout_seconds,
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({job: list(addresses) for job, addresses in cluster.jobs.items()}),
        task_type=cluster.task_type,
        task_id=cluster.task_index,
        num_accelerators={'GPU': num_clones} if num_gpus else {},
        rpc_layer='grpc',
    )
    kind = getattr(
        tf.distribute.experimental.CommunicationImplementation,
        Distribution.Communication.Name(distribution.communication),
    )
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    _LOGGER.info('%s at %s waits for the others', cluster.name, cluster.addresses[cluster.rank])
    meet(cluster, distribution.start_timeout_seconds)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options, cluster_resolver=resolver)
    except tf.errors.OpError as error:
        raise UserError(
            f'{cluster.name}: the workers cannot begin ({first_line(error)}); start all of them again, with the same '
            f'{VARIABLE} but for task.index'
        ) from error


def _logical_cpus(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices('CPU')[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices('CPU')) < count:
            raise UsageError(f'--clone_on_cpu: TensorFlow already runs, {count} CPU devices cannot be made') from error
    return [f'/cpu:{i}' for i in range(count)]


def use_bfloat16(enabled: bool) -> bool:
    """Lets oneDNN compute convolutions and their gradients in bfloat16 on CPUs; variables stay float32.

    It rewrites graphs when they are first run, so it has to be set before the step is compiled. On GPUs it has no
    effect: there TensorFloat-32 is on by default. Nor has it on a CPU that would have to emulate bfloat16, which is
    slower than float32. Both are told in a warning. Returns whether it is in effect.
    """
    if enabled and tf.config.list_logical_devices('GPU'):
        _LOGGER.warning('train_config.mixed_precision: BFLOAT16 acts on CPUs only; this GPU uses TensorFloat-32')
        enabled = False
    if enabled and not processor.has_bfloat16():
        _LOGGER.warning(
            'train_config.mixed_precision: BFLOAT16 needs a processor with avx512_bf16 or AMX, which this one lacks; '
            'computing in FLOAT32'
        )
        enabled = False
    tf.config.optimizer.set_experimental_options({'auto_mixed_precision_onednn_bfloat16': enabled})
    return enabled


def use_float16(enabled: bool) -> None:
    """Lets GPUs compute convolutions, matrix products and what lies between in float16; variables stay float32.

    As `use_bfloat16`, to be set before the step is compiled. Raises UsageError without a GPU.
    """
    if enabled and not tf.config.list_physical_devices('GPU'):
        raise UsageError(
            'train_config.mixed_precision: got FLOAT16, for which a GPU is needed, and there is none; choose FLOAT32, '
            'or BFLOAT16 on a CPU that has it'
        )
    tf.config.optimizer.set_experimental_options({'auto_mixed_precision': enabled})


def computes_in_16_bits() -> bool:
    """Whether `use_bfloat16` or `use_float16` is in effect."""
    options = tf.config.optimizer.get_experimental_options()
    return any(options.get(name) for name in ('auto_mixed_precision_onednn_bfloat16', 'auto_mixed_precision'))


def gather_replicas(values: tf.Tensor) -> tf.Tensor:
    """Float [n...] of each replica -> [replicas, n...], the same in all, with a gradient.

    To be called by all replicas, in the same order.
    """
    replica = tf.distribute.get_replica_context()
    assert replica is not None
    graph = tf.compat.v1.get_default_graph()
    own = tf.one_hot(replica.replica_id_in_sync_group, replica.num_replicas_in_sync, dtype=values.dtype)
    place = tf.reshape(own, [-1, *[1] * len(values.shape)])

    @tf.custom_gradient
    def gathered(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # A planner builds the backward pass aside to weigh it; replicas cannot meet in a graph that never runs.
            if tf.compat.v1.get_default_graph() is graph:
                upstream = replica.all_reduce(tf.distribute.ReduceOp.SUM, upstream)
            return tf.reduce_sum(place * upstream, 0)

        return replica.all_reduce(tf.distribute.ReduceOp.SUM, place * values), gradient

    return gathered(values)


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
    """Undoes what `use_bfloat16`, `use_float16` and `keep_order_of_sums` set, for what is compiled and timed later."""
    before = tf.config.optimizer.get_experimental_options()
    try:
        yield
    finally:
        plain = {
            'auto_mixed_precision_onednn_bfloat16': False,
            'auto_mixed_precision': False,
            'arithmetic_optimization': True,
            'remapping': True,
        }
        tf.config.optimizer.set_experimental_options({**plain, **before})


def describe(strategy: tf.distribute.Strategy, *, num_workers: int = 1) -> str:
    """For the log: `1 x CPU`, `2 x GPU (NVIDIA H200)`, or `3 workers of 2 x GPU (...)`."""
    kind = 'GPU' if 'GPU' in strategy.extended.worker_devices[0].upper() else 'CPU'
    text = f'{strategy.num_replicas_in_sync // num_workers} x {kind}'
    if kind == 'GPU':
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices('GPU')[0])
        text += f' ({details.get("device_name", "unnamed")})'
    return text if num_workers == 1 else f'{num_workers} workers of {text}'
