"""Parameters, operations, activations and time of one model's inference graph."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import numpy as np
import tensorflow as tf

from builders import model_builder
from core.flops import operation_flops
from core.servable import Servable, inference_variables
from protos import model_pb2

_BYTES = 4  # float32


def trace(config: model_pb2.FastSegmentationModel, *, height: int, width: int) -> tuple[Any, dict[str, float]]:
    """The inference graph of one image, and what is counted in it: million parameters, GFLOPs, MiB of activations."""
    model = model_builder.build(config)
    model.build()
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, height, width))
    trainable = {variable.ref() for variable in model.trainable_variables}
    read = inference_variables(concrete, model.variables_by_name()).values()
    operations = concrete.graph.get_operations()
    return concrete, {
        'million_parameters': round(sum(math.prod(v.shape) for v in read if v.ref() in trainable) / 1e6, 2),
        'gflops': round(sum(map(operation_flops, operations)) / 1e9, 1),
        'activation_mib': round(sum(map(activation_bytes, operations)) / 2**20),
    }


_ACTIVATIONS = {
    *('Conv2D', 'DepthwiseConv2dNative', 'Conv2DBackpropInput', 'MatMul', 'FusedBatchNormV3'),
    *('MaxPool', 'AvgPool', 'ResizeBilinear', 'ConcatV2', 'AddN'),
}


def activation_bytes(operation: tf.Operation) -> int:
    """Bytes of its first output, where the operation makes a new feature map."""
    return _BYTES * math.prod(operation.outputs[0].shape) if operation.type in _ACTIVATIONS else 0


def latency(concrete: Any, *, height: int, width: int, num_images: int) -> float:
    """Median milliseconds of one image through the traced graph, after one image that is not counted."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, concrete.servable.model.input_channels))
    image = tf.constant(pixels, tf.uint8)
    seconds = []
    for _ in range(num_images + 1):
        started = time.perf_counter()
        concrete(image)['predictions'].numpy()
        seconds.append(time.perf_counter() - started)
    return round(1000 * statistics.median(seconds[1:]), 1)
