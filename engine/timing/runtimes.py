"""One class for each runtime: an artefact loaded with a number of threads, run on one image, asked for its layers."""

from __future__ import annotations

import abc
import glob
import json
import os
import tempfile
from typing import Any

import numpy as np

from engine.timing.artefact import Artefact

_PREDICTIONS = 'predictions'


class Runtime(abc.ABC):
    """A loaded artefact. `input_shape` is [N, H, W, C] with None where free."""

    input_shape: tuple[int | None, ...]

    @abc.abstractmethod
    def run(self, images: np.ndarray) -> np.ndarray:
        """uint8 [1, H, W, C] -> what it predicts, of any shape with H W elements."""

    def layers(self, images: np.ndarray) -> list[dict[str, Any]]:
        """{name, kind, milliseconds} of each operation of one run; none where the runtime does not tell."""
        del images
        return []

    def tensors_mib(self, images: np.ndarray) -> float | None:
        """The most that tensors, weights among them, hold at one time; None where the runtime does not tell."""
        del images
        return None

    def counts(self) -> dict[str, float | None]:
        """Million parameters, and GFLOPs of one image; None where the runtime does not tell."""
        return {'million_parameters': None, 'gflops': None}


class TensorFlow(Runtime):
    """A frozen graph or a SavedModel in a session."""

    def __init__(self, artefact: Artefact, threads: int):
        import tensorflow as tf
        from tensorflow.core.protobuf import rewriter_config_pb2

        self._tf = tf
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
        if artefact.precision == 'bfloat16':
            on = rewriter_config_pb2.RewriterConfig.ON
            config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = on
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._session = tf.compat.v1.Session(config=config)
            if artefact.kind == 'saved_model':
                loaded = tf.compat.v1.saved_model.load(self._session, ['serve'], artefact.path)
                signature = loaded.signature_def['serving_default']
                (self._input,) = (info.name for info in signature.inputs.values())
                self._output = signature.outputs[_PREDICTIONS].name
            else:
                graph_def = tf.compat.v1.GraphDef()
                with open(artefact.path, 'rb') as f:
                    graph_def.ParseFromString(f.read())
                tf.graph_util.import_graph_def(graph_def, name='')
                self._input, self._output = 'inputs:0', f'{_PREDICTIONS}:0'
        self.input_shape = tuple(self._graph.get_tensor_by_name(self._input).shape)
        self._call = self._session.make_callable(self._output, [self._input])

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._call(images)

    def layers(self, images: np.ndarray) -> list[dict[str, Any]]:
        return [
            {
                'name': node.node_name,
                'kind': node.timeline_label.split('=')[-1].split('(')[0].strip(),
                'milliseconds': (node.op_end_rel_micros - node.op_start_rel_micros) / 1e3,
            }
            for node in self._traced(images)
        ]

    def tensors_mib(self, images: np.ndarray) -> float | None:
        in_use = [used.allocator_bytes_in_use for node in self._traced(images) for used in node.memory]
        return round(max(in_use) / 2**20, 1) if any(in_use) else None  # 0 where the allocator does not count

    def _traced(self, images: np.ndarray) -> list[Any]:
        """What TensorFlow notes of each operation of one run."""
        metadata = self._tf.compat.v1.RunMetadata()
        options = self._tf.compat.v1.RunOptions(trace_level=self._tf.compat.v1.RunOptions.FULL_TRACE)
        self._session.run(self._output, {self._input: images}, options=options, run_metadata=metadata)
        return [node for device in metadata.step_stats.dev_stats for node in device.node_stats]

    def counts(self) -> dict[str, float | None]:
        from engine.timing import operation_counts

        if any(operation.type.endswith('PartitionedCall') for operation in self._graph.get_operations()):
            return super().counts()  # a SavedModel of TensorFlow 2: its operations are in functions
        return operation_counts.of_graph(self._graph)


class TFLite(Runtime):
    """TensorFlow Lite with its XNNPACK delegate."""

    def __init__(self, artefact: Artefact, threads: int):
        import tensorflow as tf

        self._interpreter = tf.lite.Interpreter(model_path=artefact.path, num_threads=threads)
        (self._input,) = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        named = [output for output in outputs if _PREDICTIONS in output['name']]
        self._output = (named or outputs)[0]
        self.input_shape = tuple(None if n < 0 else int(n) for n in self._input['shape_signature'])
        self._shape: tuple[int, ...] = ()

    def run(self, images: np.ndarray) -> np.ndarray:
        if images.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input['index'], images.shape)
            self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input['index'], images)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output['index'])


class ONNX(Runtime):
    """ONNX Runtime on the CPU."""

    def __init__(self, artefact: Artefact, threads: int):
        import onnxruntime

        self._runtime, self._path = onnxruntime, artefact.path
        self._options = self._make_options(threads)
        self._session = onnxruntime.InferenceSession(artefact.path, self._options, ['CPUExecutionProvider'])
        (given,) = self._session.get_inputs()
        names = [output.name for output in self._session.get_outputs()]
        self._input, self._output = given.name, next((n for n in names if n.startswith(_PREDICTIONS)), names[0])
        self.input_shape = tuple(n if isinstance(n, int) else None for n in given.shape)

    def _make_options(self, threads: int) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        return options

    def run(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run([self._output], {self._input: images})[0])

    def layers(self, images: np.ndarray) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            self._options.enable_profiling = True
            self._options.profile_file_prefix = os.path.join(folder, 'profile')
            session = self._runtime.InferenceSession(self._path, self._options, ['CPUExecutionProvider'])
            self._options.enable_profiling = False
            for _ in range(2):  # the first also allocates
                session.run([self._output], {self._input: images})
            session.end_profiling()
            (path,) = glob.glob(os.path.join(folder, 'profile*'))
            with open(path, encoding='utf-8') as f:
                events = [event for event in json.load(f) if event['name'].endswith('_kernel_time')]
        return [
            {
                'name': event['name'].removesuffix('_kernel_time'),
                'kind': event['args']['op_name'],
                'milliseconds': event['dur'] / 1e3,
            }
            for event in events[len(events) // 2 :]
        ]


class OpenVINO(Runtime):
    """OpenVINO on the CPU; reads its own IR, a frozen graph and ONNX."""

    def __init__(self, artefact: Artefact, threads: int):
        import openvino

        core = openvino.Core()
        self._model = core.read_model(artefact.path)
        settings = {
            'INFERENCE_PRECISION_HINT': {'float32': 'f32', 'bfloat16': 'bf16'}[artefact.precision],
            'INFERENCE_NUM_THREADS': threads,
            'NUM_STREAMS': 1,
        }
        self._compile = lambda **more: core.compile_model(self._model, 'CPU', {**settings, **more})
        compiled = self._compile()
        self._request = compiled.create_infer_request()
        self._output = next((o for o in compiled.outputs if _PREDICTIONS in str(o.names)), compiled.outputs[0])
        shape = compiled.inputs[0].partial_shape
        self.input_shape = tuple(None if side.is_dynamic else side.get_length() for side in shape)

    def run(self, images: np.ndarray) -> np.ndarray:
        self._request.infer({0: images}, share_inputs=True)
        return self._request.get_tensor(self._output).data

    def layers(self, images: np.ndarray) -> list[dict[str, Any]]:
        request = self._compile(PERF_COUNT='YES').create_infer_request()
        for _ in range(2):
            request.infer({0: images}, share_inputs=True)
        return [
            {
                'name': info.node_name,
                'kind': f'{info.node_type} {info.exec_type}',
                'milliseconds': info.real_time.total_seconds() * 1e3,
            }
            for info in request.profiling_info
            if info.real_time
        ]


_RUNTIMES = {
    'frozen_graph': TensorFlow,
    'saved_model': TensorFlow,
    'tflite': TFLite,
    'onnx': ONNX,
    'openvino': OpenVINO,
}


def load(artefact: Artefact, threads: int) -> Runtime:
    """The artefact in its runtime."""
    return _RUNTIMES[artefact.kind](artefact, threads)
