"""The contract between the engine and every meta-architecture.

Flow of one step: images -> preprocess -> predict -> loss (training) or postprocess (inference). A model holds no mode
and no labels: both are arguments. What it remembers are its variables, in one store under slim's names.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from core import layer_widths, layers
from core.feature_extractor import FeatureExtractor
from core.fields import CLASS_IDS, LOGITS, PROBABILITIES
from third_party import slim

BACKBONE_SCOPE = 'SharedFeatureExtractor'

Predictions = Mapping[str, tf.Tensor]
PixelLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One weighted loss: `name` in logs, the `head` in predictions it scores, and its `weight` in the sum.

    With `upsample_factor` above 1 the head's logits [B, h, w, C] are enlarged, corners aligned, before they are scored.
    """

    name: str
    head: str
    weight: float
    upsample_factor: int = 1


class SegmentationModel(tf.Module, abc.ABC):
    """A network that labels every pixel of an image of any size.

    Args:
      num_classes: number of classes, 1 or more; the ignore label is not one.
      feature_extractor: the backbone.
      hyperparams: initialiser, regulariser and batch norm of the whole model, backbone included.
      pixel_loss: logits and labels -> scalar.
      input_scale: images are resized by this factor, corners aligned, before the network sees them, and logits come
        back at the image's own size. Above 1 it lets small images keep detail through a net of stride 32.
      freeze_backbone: run the backbone's batch norm in inference mode and list its variables as not trainable.
      widths: {full scope: number of filters} of layers that are not as wide as the architecture asks for.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        feature_extractor: FeatureExtractor,
        hyperparams: layers.Hyperparams,
        pixel_loss: PixelLoss,
        input_scale: float = 1.0,
        freeze_backbone: bool = False,
        widths: Mapping[str, int] | None = None,
    ):
        super().__init__(name='model')
        if num_classes < 1:
            raise ValueError(f'num_classes must be 1 or more, got {num_classes}')
        if input_scale <= 0:
            raise ValueError(f'input_scale must be above 0, got {input_scale}')
        self.num_classes = num_classes
        self.input_scale = input_scale
        self.feature_extractor = feature_extractor
        self.hyperparams = hyperparams
        self.freeze_backbone = freeze_backbone
        self._pixel_loss = pixel_loss
        self._store = slim.VariableStore(widths)
        self._is_built = False
        self._reorders = True

    @property
    def backbone_scope(self) -> str:
        """Prefix of the backbone's variable names."""
        return BACKBONE_SCOPE

    @property
    def input_channels(self) -> int:
        """Channels of an image."""
        return self.feature_extractor.input_channels

    @property
    @abc.abstractmethod
    def loss_terms(self) -> Sequence[LossTerm]:
        """The losses of a training step, the main one first."""

    @abc.abstractmethod
    def _predict(self, images: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        """Builds the network, called within the store and the layer scope: every head at its own stride."""

    def build(self) -> None:
        """Creates every variable, once, eagerly, in the current strategy's scope; runs nothing.

        Raises ConfigError if a layer of `widths` does not exist, or if widths do not go together.
        """
        if self._is_built:
            return
        graph = tf.__internal__.FuncGraph('build')
        with layer_widths.checked(self._store, graph), graph.as_default():
            # 97 leaves every stage at least 2 pixels; the size of the image does not reach any variable.
            self.predict(tf.zeros([1, 97, 97, self.input_channels]), is_training=True)
        self._is_built = True

    def synchronize(self, gather_replicas: Callable[[tf.Tensor], tf.Tensor]) -> None:
        """Batch norm in training takes the statistics of all replicas, which `gather_replicas` puts together.

        Args:
          gather_replicas: float [n...] of each replica -> [replicas, n...] in all of them, with a gradient.
        """
        self._store.gather_replicas = gather_replicas

    def note_averages(self, note: Callable[[tf.Variable, tf.Tensor, float], bool]) -> None:
        """Asks `note` before batch norm moves an average: (average, new value, decay) -> whether it is done later."""
        self._store.note_average = note

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The variable store's context. Entered again around `strategy.run`, whose replica threads start in it."""
        with self._store.scope():
            yield

    @contextlib.contextmanager
    def in_published_order(self) -> Iterator[None]:
        """For who reads the graph: training computes every layer where the paper has it, on the inputs it has there.

        Otherwise what gives the same but for rounding may take its place in training where it is faster.
        """
        before, self._reorders = self._reorders, False
        try:
            yield
        finally:
            self._reorders = before

    def _kernel_to_reorder(self, scope: str, features: tf.Tensor, *, is_training: bool) -> tf.Tensor | None:
        """The kernel of the layer `scope` of the current scope, where its convolution may be computed in another way.

        That is in a training on `features` of fixed size, not `in_published_order`, once the layer has been built.
        """
        kernel = self.variables_by_name().get(f'{tf.compat.v1.get_variable_scope().name}/{scope}/weights')
        fixed = features.shape[1:].is_fully_defined()
        if kernel is None or not (is_training and fixed and self._reorders):
            return None
        return tf.convert_to_tensor(kernel)

    def _normalize(
        self, features: tf.Tensor, scope: str, *, activation_fn: Callable[[tf.Tensor], tf.Tensor] | None
    ) -> tf.Tensor:
        """What the layer `scope` does behind its convolution: its norm, under slim's name, and the activation."""
        norm = 'BatchNorm' if self.hyperparams.group_norm is None else 'GroupNorm'
        with tf.compat.v1.variable_scope(scope):
            return layers.normalize(features, activation_fn=activation_fn, scope=norm)

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """uint8 or float [B, H, W, input_channels] in 0..255, RGB first -> float32 in the backbone's range."""
        return self.feature_extractor.preprocess(images)

    def predict(self, images: tf.Tensor, is_training: bool) -> dict[str, tf.Tensor]:
        """Preprocessed images [B, H, W, input_channels] -> {'logits': [B, h, w, C], auxiliary heads when training}.

        In inference h, w = H, W. In training they are the architecture's own stride, which is what the losses score.
        """
        predictions = self._heads(images, is_training=is_training)
        if is_training:
            return predictions
        return {LOGITS: layers.resize_bilinear(predictions[LOGITS], layers.spatial_size(images))}

    def strided_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Logits of inference [B, h, w, C] at the architecture's own stride, of preprocessed images [B, H, W, ...]."""
        return self._heads(images, is_training=False)[LOGITS]

    def _heads(self, images: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        with self.entered(), layers.layer_scope(self.hyperparams, is_training=is_training):
            return self._predict(layers.rescale(images, self.input_scale), is_training=is_training)

    def loss(self, predictions: Predictions, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """{name: weighted float32 scalar} for class ids int32 [B, H, W]; labels are resized to each head's size."""
        losses = {}
        for term in self.loss_terms:
            if term.head not in predictions:
                continue
            logits = predictions[term.head]
            if term.upsample_factor > 1:
                logits = layers.enlarge(logits, term.upsample_factor)
            scaled_labels = layers.resize_labels(labels, layers.spatial_size(logits))
            losses[term.name] = term.weight * self._pixel_loss(logits, scaled_labels)
        return losses

    def regularization_loss(self) -> tf.Tensor:
        """Sum of the regulariser over every trainable convolution kernel, backbone included; 0 without one."""
        regularizer = self.hyperparams.regularizer
        if regularizer is None:
            return tf.constant(0.0)
        kernels = [v for v in self.trainable_variables if _leaf(v) == 'weights']
        return tf.add_n([regularizer(kernel) for kernel in kernels])

    def postprocess(self, predictions: Predictions) -> dict[str, tf.Tensor]:
        """{'class_ids': int32 [B, H, W], 'probabilities': float32 [B, H, W, C]} from inference predictions."""
        logits = tf.cast(predictions[LOGITS], tf.float32)
        return {CLASS_IDS: tf.argmax(logits, axis=-1, output_type=tf.int32), PROBABILITIES: tf.nn.softmax(logits)}

    def variables_by_name(self) -> dict[str, tf.Variable]:
        """{slim name without ':0': variable}, every variable of the model."""
        return dict(self._store._vars)

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Variables that a step changes by their gradient; a frozen backbone has none."""
        prefix = f'{self.backbone_scope}/'
        return tuple(
            variable
            for name, variable in self.variables_by_name().items()
            if variable.trainable and not (self.freeze_backbone and name.startswith(prefix))
        )

    def classification_variables(self) -> dict[str, tf.Variable]:
        """{name in a slim ImageNet checkpoint: variable} of the backbone."""
        prefix = f'{self.backbone_scope}/'
        return {
            name.removeprefix(prefix): variable
            for name, variable in self.variables_by_name().items()
            if name.startswith(prefix)
        }

    def _extract_features(self, images: tf.Tensor, *, is_training: bool) -> Mapping[str, tf.Tensor]:
        """The backbone's features under `backbone_scope`, its batch norm frozen if the backbone is."""
        train_norm = is_training and self.hyperparams.batch_norm.train and not self.freeze_backbone
        with slim.arg_scope([slim.batch_norm], is_training=train_norm):
            with tf.compat.v1.variable_scope(self.backbone_scope):
                return self.feature_extractor(images)

    def _classifier(self, features: tf.Tensor, scope: str) -> tf.Tensor:
        """Logits of the model's classes."""
        return layers.class_scores(features, self.num_classes, scope=scope)


def _leaf(variable: tf.Variable) -> str:
    return variable.name.split(':')[0].rsplit('/', 1)[-1]
