"""Evaluation: every example exactly once, scored at its label's own resolution."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from builders import input_builder
from core import fields
from core.errors import DataError
from core.model import SegmentationModel
from core.servable import Servable
from engine import class_scores, image_records, inference
from engine.counting import Counting
from engine.gallery import Gallery
from engine.saved_predictions import SavedPredictions
from engine.views import Views
from inputs import pipeline
from inputs.label_map import LabelMap
from metrics import segmentation
from metrics.accumulator import Accumulator
from metrics.scores import Classes
from reports.page.picture_files import PictureFiles, report_dir
from reports.pictures import Picture, as_rgb

NUM_PICTURES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of one checkpoint.

    Attributes:
      metrics: what `metrics.json` holds.
      pictures: the first `NUM_PICTURES` examples, if they were asked for.
      picture_files: those of `metrics['gallery']`, not published yet, if there will be a report.
    """

    metrics: dict[str, Any]
    pictures: list[Picture]
    picture_files: PictureFiles | None = None


def about_images(label_map: LabelMap, num_examples: int, records: str | None) -> dict[str, Any]:
    """What `metrics.json` says of the data.

    Args:
      records: file name of the images' records, beside `metrics.json`, if they are written.
    """
    colors = ('#{:02x}{:02x}{:02x}'.format(*color) for color in label_map.colors)
    return {
        'num_examples': num_examples,
        'class_colors': dict(zip(label_map.names, colors, strict=True)),
        'images': records,
    }


class Evaluator:
    """Scores checkpoints of one pipeline config; the model is built and traced once.

    Args:
      config: `PipelineConfig`, validated for evaluation.
      model: built from this config; its variables are used. By default one is built.
    """

    def __init__(self, config: Any, model: SegmentationModel | None = None):
        input_builder.check_reader(config, 'eval')
        self.config = config
        self._model = model or inference.build_model(config)
        self.label_map = input_builder.build_label_map(config.eval_input_reader, self._model.num_classes)
        self._fit = _Fit.from_config(config.eval_config)
        self._servable = Servable(
            model=self._model, num_classes=self._model.num_classes, pad_to_shape=self._fit.padded_size
        )
        self._views = Views.from_config(config.eval_config.inference)
        self._moving_averages = config.eval_config.use_moving_averages
        self._score_whole = tf.function(
            self._score_whole_image,
            input_signature=[
                tf.TensorSpec([1, None, None, self._model.input_channels]),
                tf.TensorSpec([1, None, None], tf.int32),
            ],
            autograph=False,
        ).get_concrete_function()
        self._num_examples: int | None = None

    @functools.cached_property
    def _class_scores(self) -> Callable[[np.ndarray], np.ndarray]:
        """Traced where an image is seen in parts, or several times."""
        return inference.trace_scores(self._servable)[1]

    @property
    def padded_size(self) -> tuple[int, int] | None:
        """(height, width) that images are padded to inside; None if they are not."""
        return self._fit.padded_size

    def evaluate(
        self,
        checkpoint: str | inference.Restored,
        *,
        max_examples: int | None = None,
        eval_dir: str | None = None,
        report: bool = False,
        predictions: SavedPredictions | None = None,
        keep_pictures: bool = False,
        verbose: bool = False,
    ) -> Evaluation:
        """Restores `checkpoint` (prefix, file or directory) and scores it on every example of the eval records.

        Args:
          checkpoint: or, as `Restored`, what the model's variables already hold.
          max_examples: only the first ones; None takes all.
          eval_dir: where images-<step>.jsonl is written; None writes none.
          report: also choose and write the pictures of the page in `eval_dir`.
          predictions: saves what is predicted.
          keep_pictures: return the first examples with their predictions.
          verbose: print each example's accuracy and the mean IoU so far.

        Raises:
          CheckpointError: it does not fit the config.
          DataError: no example, an image larger than the padded input, or a label outside the classes.
        """
        restored = checkpoint
        if not isinstance(restored, inference.Restored):
            restored = inference.restore(
                self._model, self._score_whole, restored, moving_averages=self._moving_averages
            )
        if predictions:
            predictions.begin(restored.step)
        scores = self._accumulator()
        gallery = self._gallery(eval_dir, restored.step) if report and eval_dir else None
        pictures, cross_entropy = [], 0.0
        with contextlib.ExitStack() as stack:
            bar = {'total': self._num_examples, 'unit': 'image', 'desc': f'step {restored.step}', 'leave': False}
            progress = stack.enter_context(tqdm(**bar, disable=None))
            records = stack.enter_context(image_records.ImageRecords(eval_dir, restored.step)) if eval_dir else None

            def finish(record: dict[str, Any]) -> None:
                if records:
                    records.write(record)
                if verbose:
                    tqdm.write(_line(record, scores.matrix.counts))
                progress.update()

            counting = stack.enter_context(Counting(scores, gallery=gallery, finish=finish))
            for example in itertools.islice(self._examples(), max_examples):
                prediction, loss, confidence = self._score_image(example.image, example.label)
                label = example.label.numpy().astype(np.uint8)
                picture = functools.partial(_picture, example.image, label, prediction)
                instance_ids = example.instance_ids
                counting.add(
                    example.name, label, prediction, confidence=confidence, instance_ids=instance_ids, picture=picture
                )
                cross_entropy += loss
                if predictions:
                    predictions.add(example.name, example.whole.numpy(), prediction, self._fit.corner(example.whole))
                if keep_pictures and len(pictures) < NUM_PICTURES:
                    pictures.append(picture())
            counting.wait()
            if not scores.num_images:
                raise DataError(f'eval_input_reader: no examples in {_paths(self.config)}')
        self._num_examples = self._num_examples if max_examples else scores.num_images
        metrics = self._summary(scores, restored, cross_entropy, has_records=eval_dir is not None)
        if gallery:
            metrics['gallery'] = gallery.finish()
        return Evaluation(metrics=metrics, pictures=pictures, picture_files=gallery.files if gallery else None)

    def _summary(
        self, scores: Accumulator, restored: inference.Restored, cross_entropy: float, *, has_records: bool
    ) -> dict[str, Any]:
        """What `metrics.json` holds, but for the gallery; `cross_entropy` is a sum over pixels in nats."""
        summary = scores.summary()
        records = image_records.file_name(restored.step) if has_records else None
        return {
            **summary,
            'cross_entropy': cross_entropy / summary['num_pixels'] if summary['num_pixels'] else None,
            'checkpoint': restored.path,
            'step': restored.step,
            'eval_input': self._fit.describe(),
            'views': self._views.describe(),
            **about_images(self.label_map, scores.num_images, records),
        }

    def _gallery(self, eval_dir: str, step: int) -> Gallery:
        files = PictureFiles(
            report_dir(eval_dir),
            step=step,
            colors=self.label_map.colors,
            ignore_label=self.config.eval_config.ignore_label,
        )
        return Gallery(files=files, class_names=self.label_map.names)

    def _accumulator(self) -> Accumulator:
        label_map, config = self.label_map, self.config.eval_config
        return Accumulator(
            classes=Classes(
                names=label_map.names, categories=label_map.categories, instance_sizes=label_map.instance_sizes
            ),
            ignore_label=config.ignore_label,
            label_ids=label_map.label_ids,
            detailed=config.detailed_metrics,
            num_samples=config.bootstrap_samples,
            seed=config.bootstrap_seed,
            group_pattern=config.group_pattern,
        )

    def _examples(self) -> Iterator[_Example]:
        with pipeline.user_errors(functools.partial(input_builder.first_eval_damage, self.config)):
            for example in input_builder.build_eval(self.config):
                name = example[fields.FILENAME].numpy().decode('utf-8', 'replace')
                image, label = self._fit(example[fields.IMAGE], example[fields.LABEL], name)
                instance_ids = example[fields.INSTANCES].numpy()
                yield _Example(
                    name=name,
                    whole=example[fields.IMAGE],
                    image=image,
                    label=label,
                    instance_ids=self._fit.cut(instance_ids) if instance_ids.size else None,
                )

    def _score_image(self, image: tf.Tensor, label: tf.Tensor) -> tuple[np.ndarray, float, np.ndarray]:
        """What the network says of image [H, W, 3].

        Returns:
          (class ids uint8 [H, W], cross entropy summed over the counted pixels of label [H, W] in nats, the largest
          probability of each pixel float32 [H, W]).
        """
        if self._views.shows_whole(*image.shape[:2]):
            class_ids, loss, confidence = self._score_whole(image[tf.newaxis], label[tf.newaxis])
            return class_ids.numpy()[0], float(loss), confidence.numpy()[0]
        labels, counted = label.numpy(), self._counted(label).numpy()
        class_ids, confidence, loss = np.empty(labels.shape, np.uint8), np.empty(labels.shape, np.float32), 0.0
        for patch in class_scores.patches(
            image.numpy(), self._views, self._class_scores, num_classes=self._model.num_classes
        ):
            place = patch.rows, patch.columns
            class_ids[place] = patch.probabilities.argmax(-1)
            confidence[place] = patch.probabilities.max(-1)
            right = patch.probabilities[counted[place], labels[place][counted[place]]]
            loss -= float(np.log(np.maximum(right, np.finfo(np.float32).tiny)).sum(dtype=np.float64))
        return class_ids, loss, confidence

    def _score_whole_image(self, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """`_score_image` of [1, H, W, 3] and [1, H, W], seen once."""
        logits = self._servable.predictions(image)[fields.LOGITS]
        counted = self._counted(label)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(counted, label, 0), logits)
        total = tf.reduce_sum(tf.where(counted, losses, 0.0))
        class_ids = tf.cast(tf.argmax(logits, -1, tf.int32), tf.uint8)
        # The largest softmax: exp(m) / sum(exp(logits)) with m the largest logit.
        above = logits - tf.reduce_max(logits, -1, keepdims=True)
        return class_ids, total, 1 / tf.reduce_sum(tf.exp(above), -1)

    def _counted(self, label: tf.Tensor) -> tf.Tensor:
        return (label >= 0) & (label < self._model.num_classes) & (label != self.config.eval_config.ignore_label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Example:
    """Image [H, W, 3] and label [H, W] as they are scored; instance ids integers [H, W], where the record has them.

    `whole` is the image before it was cut.
    """

    name: str
    whole: tf.Tensor
    image: tf.Tensor
    label: tf.Tensor
    instance_ids: np.ndarray | None


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
        return self.cut(image), self.cut(label)

    def cut(self, pixels: Any) -> Any:
        """The central crop of [H, W, ...]; everything if no crop was asked for."""
        if not self.crop_size:
            return pixels
        top, left = self.corner(pixels)
        return pixels[top : top + self.crop_size[0], left : left + self.crop_size[1]]

    def corner(self, pixels: Any) -> tuple[int, int]:
        """Top and left of what `cut` leaves of [H, W, ...]."""
        if not self.crop_size:
            return 0, 0
        top, left = (max(0, (n - wanted) // 2) for n, wanted in zip(pixels.shape[:2], self.crop_size, strict=True))
        return top, left

    def describe(self) -> str:
        """For `metrics.json`."""
        if self.padded_size:
            return f'padded to {self.padded_size[0]} x {self.padded_size[1]}'
        return f'central crop of {self.crop_size[0]} x {self.crop_size[1]}' if self.crop_size else 'own size'


def _picture(image: tf.Tensor, label: np.ndarray, prediction: np.ndarray) -> Picture:
    pixels = image.numpy().round().clip(0, 255).astype(np.uint8)
    return Picture(image=as_rgb(pixels), label=label, prediction=prediction)


def _line(record: dict[str, Any], total: np.ndarray) -> str:
    accuracy = record['pixel_accuracy']
    said = 'no pixel counts' if accuracy is None else f'pixel accuracy {100 * accuracy:.2f} %'
    return f'{record["filename"]}: {said}, mean IoU so far {100 * segmentation.mean_iou(total):.2f} %'


def _paths(config: Any) -> str:
    return ', '.join(config.eval_input_reader.tf_record_input_reader.input_path) or 'no file'
