"""`Loss` message -> a pixel loss: logits and labels -> scalar."""

from __future__ import annotations

from core import losses
from core.errors import ConfigError
from core.model import PixelLoss
from protos import losses_pb2

_LOSSES = {
    'softmax': lambda config, ignore_label: losses.SoftmaxCrossEntropy(
        ignore_label=ignore_label,
        class_weight=tuple(config.class_weight),
        label_smoothing=config.label_smoothing,
    ),
}


def build(config: losses_pb2.Loss) -> PixelLoss:
    """The chosen classification loss; softmax cross-entropy where none is chosen."""
    choice = config.classification_loss.WhichOneof('loss_type') or 'softmax'
    if choice not in _LOSSES:
        raise ConfigError(f'loss.classification_loss: got {choice!r}, choose from {sorted(_LOSSES)}')
    return _LOSSES[choice](getattr(config.classification_loss, choice), config.ignore_label)
