"""Evaluation: every example exactly once, scored at its label's own resolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from builders import input_builder
from core import fields
from core.errors import DataError
from core.servable import Servable
from engine import inference
from inputs import pipeline
from metrics import segmentation
from metrics.confusion import ConfusionMatrix
from reports.pictures import as_rgb

NUM_PICTURES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One evaluated example: image uint8 [H, W, 3], label and prediction integers [H, W]."""

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of one checkpoint.

    Attributes:
      metrics: what `metrics.json` holds.
      pictures: the first `NUM_PICTURES` examples, if they were asked for.
    """

    metrics: dict[str, Any]
    pictures: list[Picture]


class Evaluator:
    """Scores checkpoints of one pipeline config; the model is built and traced once.

    Args:
      config: `PipelineConfig`, validated for evaluation.
    """

    def __init__(self, config: Any):
        input_builder.check_reader(config, 'eval')
        self.config = config
        self._model = inference.build_model(config)
        self.label_map = input_builder.build_label_map(config.eval_input_reader, self._model.num_classes)
        self._fit = _Fit.from_config(config.eval_config)
        self._servable = Servable(
            model=self._model, num_classes=self._model.num_classes, pad_to_shape=self._fit.padded_size
        )
        self._score = tf.function(
            self._score_image,
            input_signature=[
                tf.TensorSpec([1, None, None, self._model.input_channels]),
                tf.TensorSpec([1, None, None], tf.int32),
            ],
            autograph=False,
        ).get_concrete_function()
        self._num_examples: int | None = None

    def evaluate(self, checkpoint: str, *, keep_pictures: bool = False, verbose: bool = False) -> Evaluation:
        """Restores `checkpoint` (prefix, file or directory) and scores it on every example of the eval records.

        Args:
          keep_pictures: return the first examples with their predictions.
          verbose: print each example's accuracy and the mean IoU so far.

        Raises:
          CheckpointError: it does not fit the config.
          DataError: no example, an image larger than the padded input, or a label outside the classes.
        """
        restored = inference.restore(self._model, self._score, checkpoint)
        matrix = ConfusionMatrix(num_classes=self._model.num_classes, ignore_label=self.config.eval_config.ignore_label)
        pictures, cross_entropy, num_examples = [], 0.0, 0
        with tqdm(
            total=self._num_examples, unit='image', desc=f'step {restored.step}', leave=False, disable=None
        ) as progress:
            for name, image, label in self._examples():
                class_ids, loss = self._score(image[tf.newaxis], label[tf.newaxis])
                label, prediction = label.numpy(), class_ids.numpy()[0]
                counts = matrix.update(label, prediction, source=name)
                cross_entropy, num_examples = cross_entropy + float(loss), num_examples + 1
                if keep_pictures and len(pictures) < NUM_PICTURES:
                    pixels = image.numpy().round().clip(0, 255).astype(np.uint8)
                    pictures.append(Picture(image=as_rgb(pixels), label=label, prediction=prediction))
                if verbose:
                    tqdm.write(_line(name, counts, matrix.counts))
                progress.update()
        if not num_examples:
            raise DataError(f'eval_input_reader: no examples in {_paths(self.config)}')
        self._num_examples = num_examples
        summary = segmentation.summarize(matrix.counts, self.label_map.names)
        about = {
            'num_examples': num_examples,
            'cross_entropy': cross_entropy / summary['num_pixels'] if summary['num_pixels'] else None,
            'checkpoint': restored.path,
            'step': restored.step,
            'eval_input': self._fit.describe(),
        }
        return Evaluation(metrics={**summary, **about}, pictures=pictures)

    def _examples(self) -> Iterator[tuple[str, tf.Tensor, tf.Tensor]]:
        with pipeline.user_errors():
            for example in input_builder.build_eval(self.config):
                name = example[fields.FILENAME].numpy().decode('utf-8', 'replace')
                yield name, *self._fit(example[fields.IMAGE], example[fields.LABEL], name)

    def _score_image(self, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Class ids [1, H, W], and the cross entropy summed over the pixels that count, in nats."""
        logits = self._servable.predictions(image)[fields.LOGITS]
        counted = (label >= 0) & (label < self._model.num_classes) & (label != self.config.eval_config.ignore_label)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(counted, label, 0), logits)
        total = tf.reduce_sum(tf.where(counted, losses, 0.0))
        return tf.argmax(logits, -1, tf.int32), total


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fit:
    """`eval_config.eval_input_type`: sizes are (height, width); at most one is set."""

    padded_size: tuple[int, int] | None = None
    crop_size: tuple[int, int] | None = None

    @classmethod
    def from_config(cls, eval_config: Any) -> _Fit:
        input_type = eval_config.eval_input_type
        choice = input_type.WhichOneof('eval_input_type_oneof')
        if choice is None:
            return cls()
        size = (getattr(input_type, choice).height, getattr(input_type, choice).width)
        return cls(padded_size=size) if choice == 'padded_eval_input' else cls(crop_size=size)

    def __call__(self, image: tf.Tensor, label: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Checks image [H, W, 3] against the padded size, or cuts it and label [H, W] to the central crop."""
        height, width = image.shape[:2]
        if self.padded_size and (height > self.padded_size[0] or width > self.padded_size[1]):
            raise DataError(
                f'{name}: the image is {height} x {width} (height x width), larger than eval_config.eval_input_type.'
                f'padded_eval_input, {self.padded_size[0]} x {self.padded_size[1]}; set that to the largest image, '
                'or leave eval_input_type out to evaluate each image at its own size'
            )
        if not self.crop_size:
            return image, label
        top, left = (max(0, (n - wanted) // 2) for n, wanted in zip((height, width), self.crop_size, strict=True))
        rows, columns = slice(top, top + self.crop_size[0]), slice(left, left + self.crop_size[1])
        return image[rows, columns], label[rows, columns]

    def describe(self) -> str:
        """For `metrics.json`."""
        if self.padded_size:
            return f'padded to {self.padded_size[0]} x {self.padded_size[1]}'
        return f'central crop of {self.crop_size[0]} x {self.crop_size[1]}' if self.crop_size else 'own size'


def _line(name: str, counts: np.ndarray, total: np.ndarray) -> str:
    accuracy, mean_iou = segmentation.pixel_accuracy(counts), segmentation.mean_iou(total)
    return f'{name}: pixel accuracy {100 * accuracy:.2f} %, mean IoU so far {100 * mean_iou:.2f} %'


def _paths(config: Any) -> str:
    return ', '.join(config.eval_input_reader.tf_record_input_reader.input_path) or 'no file'
