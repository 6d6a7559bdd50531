"""Is an exported form, loaded again, the model? Measured on images before the export may appear."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from core import fields
from core.errors import UserError
from core.export_forms import EQUAL_PIXELS, FORMS
from core.servable import PREDICTIONS, Servable
from engine.export_samples import Sample
from exporters.loaded import LoadedGraph
from metrics.confusion import ConfusionMatrix
from metrics.segmentation import mean_iou

ALLOWED_MIOU_LOSS = 0.005


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How one form answers beside the live model.

    Attributes:
      images: how many were looked at.
      equal_pixels: share of pixels with the live model's class id, 0..1.
      largest_logit_difference: over all pixels and classes; None if the form does not answer logits, and see
        `engine.export_logits`.
      largest_margin_lost: by how much the live model preferred its own class where the form says another, in logits;
        0 if every pixel is equal. At least half of it is how far some logit is off.
      mean_iou, mean_iou_of_model: 0..1 over these images; None without labels.
    """

    images: int
    equal_pixels: float
    largest_logit_difference: float | None
    largest_margin_lost: float
    mean_iou: float | None
    mean_iou_of_model: float | None

    @property
    def mean_iou_difference(self) -> float | None:
        """The form's mean IoU less the model's."""
        if self.mean_iou is None or self.mean_iou_of_model is None:
            return None
        return self.mean_iou - self.mean_iou_of_model

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {**dataclasses.asdict(self), 'mean_iou_difference': self.mean_iou_difference}


class Reference:
    """The live model's logits for uint8 images, traced once; what every form is compared with.

    Args:
      servable: restored.
      ignore_label: of the samples' labels.
    """

    def __init__(self, servable: Servable, *, ignore_label: int):
        self._num_classes, self._ignore_label = servable.num_classes, ignore_label
        self._logits = tf.function(
            lambda images: servable.predictions(images)[fields.LOGITS],
            input_signature=[tf.TensorSpec([None, None, None, servable.model.input_channels], tf.uint8)],
            autograph=False,
        )

    def compare(self, form: LoadedGraph, samples: Iterable[Sample]) -> Agreement:
        """Runs both on every sample."""
        equal, pixels, images, margin, logit_difference = 0, 0, 0, 0.0, None
        own, theirs = self._confusion(), self._confusion()
        for sample in samples:
            logits = self._logits(tf.constant(sample.images)).numpy()
            answers = form(sample.images)
            ids, expected = answers[PREDICTIONS][..., 0], logits.argmax(-1)
            equal, pixels, images = equal + int((ids == expected).sum()), pixels + ids.size, images + len(ids)
            margin = max(margin, _margin_lost(logits, ids, expected))
            if fields.LOGITS in answers:
                logit_difference = max(logit_difference or 0.0, float(np.abs(answers[fields.LOGITS] - logits).max()))
            if sample.labels is not None:
                own.update(sample.labels, expected)
                theirs.update(sample.labels, ids)
        return Agreement(
            images=images,
            equal_pixels=equal / pixels,
            largest_logit_difference=logit_difference,
            largest_margin_lost=margin,
            mean_iou=mean_iou(theirs.counts) if own.counts.any() else None,
            mean_iou_of_model=mean_iou(own.counts) if own.counts.any() else None,
        )

    def _confusion(self) -> ConfusionMatrix:
        return ConfusionMatrix(num_classes=self._num_classes, ignore_label=self._ignore_label)


def require(name: str, agreement: Agreement, *, coarse: bool, hint: str = '') -> None:
    """Raises UserError if the form called `name` may not be handed out; `hint` says what else to try.

    Forms of float32 numbers: `EQUAL_PIXELS` of the pixels. Coarse ones: at most `ALLOWED_MIOU_LOSS` of mean IoU,
    for their rounding moves the borders of objects by a pixel here and there, which is no worse than the label.
    """
    entry, advice = FORMS[name].entry, f'; {hint}' if hint else ''
    if not coarse:
        if agreement.equal_pixels < EQUAL_PIXELS:
            raise UserError(
                f"{entry}: after reloading, {100 * agreement.equal_pixels:.2f} % of the class ids equal the model's, "
                f'at least {100 * EQUAL_PIXELS} % are required; nothing was exported{advice}'
            )
        return
    difference = agreement.mean_iou_difference
    if difference is None:
        raise UserError(f'{entry}: is judged by its mean IoU, and there are no labels to measure it on')
    if difference < -ALLOWED_MIOU_LOSS:
        raise UserError(
            f"{entry}: after reloading, its mean IoU is {-100 * difference:.2f} points below the model's on "
            f'{agreement.images} images, at most {100 * ALLOWED_MIOU_LOSS} are allowed; nothing was exported{advice}'
        )


def _margin_lost(logits: np.ndarray, ids: np.ndarray, expected: np.ndarray) -> float:
    different = ids != expected
    if not different.any():
        return 0.0
    values = logits[different]
    rows = np.arange(len(values))
    return float((values[rows, expected[different]] - values[rows, ids[different]]).max())
