"""What each field may hold, as tables by message name; imports no TensorFlow.

These are the ranges that the comments in `protos/*.proto` state. Relations between fields are in `config_checks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from builders.names import FEATURE_EXTRACTORS, FINE_TUNE_TYPES
from core.export_forms import COMPUTE_TYPES, EXTRA_OUTPUTS, FORMS, STORED_TYPES


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; None leaves that side open.

    Attributes:
      text: how the range is called in an error.
      above_low: `low` itself is outside.
      below_high: `high` itself is outside.
    """

    text: str
    low: float | None = None
    high: float | None = None
    above_low: bool = False
    below_high: bool = False

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.low is not None and (value < self.low or (self.above_low and value == self.low)):
            return False
        return self.high is None or not (value > self.high or (self.below_high and value == self.high))


@dataclass(frozen=True)
class Values:
    """A few numbers; `text` is how they are called in an error."""

    text: str
    values: tuple[float, ...]

    def __contains__(self, value: float) -> bool:
        return value in self.values


@dataclass(frozen=True)
class Either:
    """`value`, or a number of `range`; `text` is how both are called in an error."""

    text: str
    value: float
    range: Range

    def __contains__(self, value: float) -> bool:
        return value == self.value or value in self.range


FINITE = Range('a finite number')
COUNT = Range('1 or more', low=1)
NOT_NEGATIVE = Range('0 or more', low=0)
POSITIVE = Range('above 0', low=0, above_low=True)
FRACTION = Range('above 0, up to 1', low=0, high=1, above_low=True)
SHARE = Range('0..1', low=0, high=1)
BELOW_ONE = Range('from 0 to below 1', low=0, high=1, below_high=True)
CLASSES = Range('1..254', low=1, high=254)
STRIDE = Values('8, 16 or 32', (8, 16, 32))
CHANNELS_OF_FILES = Values('1, 3 or 4 channels', (1, 3, 4))
BYTE = Range('0..255', low=0, high=255)
RESAMPLES = Either('0 or 100..100000', value=0, range=Range('100..100000', low=100, high=100_000))

_SIZE = {'height': COUNT, 'width': COUNT}
_FACTORS = {'min_factor': POSITIVE, 'max_factor': POSITIVE}
SCALE = Range('above 0, up to 4', low=0, high=4, above_low=True)
_MODEL = {'num_classes': CLASSES, 'filter_scale': FRACTION, 'pooling_factors': COUNT, 'input_scale': SCALE}
_MOMENTS = {'beta_1': BELOW_ONE, 'beta_2': BELOW_ONE, 'epsilon': POSITIVE}

RANGES: dict[str, Mapping[str, Range | Values | Either]] = {
    'PSPNet': {**_MODEL, 'auxiliary_loss_weight': NOT_NEGATIVE},
    'ICNet': {
        **_MODEL,
        'main_branch_loss_weight': NOT_NEGATIVE,
        'second_branch_loss_weight': NOT_NEGATIVE,
        'first_branch_loss_weight': NOT_NEGATIVE,
    },
    'FCN': {
        'num_classes': CLASSES,
        'filter_scale': FRACTION,
        'stride': STRIDE,
        'dropout_keep_prob': FRACTION,
        'input_scale': SCALE,
    },
    'PSPNetICNetFeatureExtractor': {
        'output_stride': STRIDE,
        'channel_mean': FINITE,
        'channel_scale': POSITIVE,
        'input_channels': COUNT,
    },
    'LayerWidth': {'num_filters': Range('1..65536', low=1, high=65536)},
    'Loss': {'ignore_label': BYTE},
    'SoftmaxClassificationLoss': {'class_weight': NOT_NEGATIVE, 'label_smoothing': BELOW_ONE},
    'BootstrappedLoss': {'share': FRACTION},
    'HardExampleLoss': {'threshold': BELOW_ONE, 'min_share': FRACTION},
    'FocalLoss': {'gamma': NOT_NEGATIVE},
    'WeightedLoss': {'weight': NOT_NEGATIVE},
    'L1Regularizer': {'weight': NOT_NEGATIVE},
    'L2Regularizer': {'weight': NOT_NEGATIVE},
    'TruncatedNormalInitializer': {'mean': FINITE, 'stddev': POSITIVE},
    'VarianceScalingInitializer': {'factor': POSITIVE},
    'GroupNorm': {'groups': COUNT, 'epsilon': POSITIVE},
    'BatchNorm': {'decay': SHARE, 'epsilon': POSITIVE},
    'TrainConfig': {
        'batch_size': COUNT,
        'random_seed': Range('0..2147483647', low=0, high=2**31 - 1),
        'log_every_n_steps': COUNT,
        'summary_every_n_steps': COUNT,
        'moving_average_decay': BELOW_ONE,
        'gradient_accumulation_steps': COUNT,
    },
    'Distribution': {'peer_timeout_seconds': COUNT, 'start_timeout_seconds': COUNT},
    'LossScale': {'initial_scale': COUNT, 'dynamic_growth_steps': COUNT},
    'Distillation': {'temperature': POSITIVE, 'weight': POSITIVE},
    'Optimizer': {'gradient_clipping_norm': NOT_NEGATIVE, 'gradient_clipping_value': NOT_NEGATIVE},
    'LearningRateMultiplier': {'factor': NOT_NEGATIVE},
    'MomentumOptimizer': {'momentum_optimizer_value': BELOW_ONE},
    'AdamOptimizer': _MOMENTS,
    'AdamWOptimizer': {**_MOMENTS, 'weight_decay': NOT_NEGATIVE},
    'RMSPropOptimizer': {'decay': BELOW_ONE, 'momentum_optimizer_value': BELOW_ONE, 'epsilon': POSITIVE},
    'AdagradOptimizer': {'initial_accumulator_value': POSITIVE},
    'AdadeltaOptimizer': {'rho': BELOW_ONE, 'epsilon': POSITIVE},
    'AdamaxOptimizer': _MOMENTS,
    'NadamOptimizer': _MOMENTS,
    'FtrlOptimizer': {
        'learning_rate_power': Range('-1..0', low=-1, high=0),
        'initial_accumulator_value': POSITIVE,
        'l1_regularization_strength': NOT_NEGATIVE,
        'l2_regularization_strength': NOT_NEGATIVE,
    },
    'Warmup': {'initial_factor': SHARE},
    'ConstantLearningRate': {'learning_rate': POSITIVE},
    'ExponentialDecayLearningRate': {
        'initial_learning_rate': POSITIVE,
        'decay_steps': COUNT,
        'decay_factor': FRACTION,
    },
    'PolynomialDecayLearningRate': {
        'initial_learning_rate': POSITIVE,
        'decay_steps': COUNT,
        'power': POSITIVE,
        'end_learning_rate': NOT_NEGATIVE,
    },
    'CosineDecayLearningRate': {
        'initial_learning_rate': POSITIVE,
        'decay_steps': COUNT,
        'final_learning_rate': NOT_NEGATIVE,
    },
    'PiecewiseConstantLearningRate': {'boundary': COUNT, 'learning_rate': POSITIVE},
    'CyclicLearningRate': {
        'base_learning_rate': POSITIVE,
        'max_learning_rate': POSITIVE,
        'half_cycle_steps': COUNT,
        'height_factor': FRACTION,
    },
    'OneCycleLearningRate': {
        'max_learning_rate': POSITIVE,
        'total_steps': COUNT,
        'rising_share': Range('between 0 and 1', low=0, high=1, above_low=True, below_high=True),
        'initial_divisor': COUNT,
        'final_divisor': COUNT,
    },
    'CosineRestartsLearningRate': {
        'initial_learning_rate': POSITIVE,
        'first_period_steps': COUNT,
        'period_factor': COUNT,
        'height_factor': FRACTION,
        'final_learning_rate': NOT_NEGATIVE,
    },
    'SetFixedImageSize': {'fixed_height': COUNT, 'fixed_width': COUNT},
    'AspectRatioImageResize': {'min_dimension': COUNT, 'max_dimension': COUNT},
    'RandomImageScale': {'min_scale_ratio': POSITIVE, 'max_scale_ratio': POSITIVE},
    'RandomCropImage': {'crop_height': COUNT, 'crop_width': COUNT, 'max_class_share': FRACTION},
    'RandomBrightness': {'max_delta': BYTE},
    'RandomContrast': _FACTORS,
    'RandomSaturation': _FACTORS,
    'RandomHue': {'max_delta': Range('0..0.5', low=0, high=0.5)},
    'RandomGamma': {'min_gamma': POSITIVE, 'max_gamma': POSITIVE},
    'RandomRotation': {'max_angle': Range('0..180', low=0, high=180)},
    'ResizeImage': _SIZE,
    'InputReader': {'num_readers': COUNT, 'num_parallel_calls': COUNT, 'shuffle_buffer': COUNT},
    'EvalConfig': {
        'ignore_label': BYTE,
        'bootstrap_samples': RESAMPLES,
        'bootstrap_seed': Range('0..2147483647', low=0, high=2**31 - 1),
    },
    'Inference': {'scale': SCALE},
    'SlidingWindow': {**_SIZE, 'overlap': BELOW_ONE},
    'CroppedEvalInput': _SIZE,
    'PaddedEvalInput': _SIZE,
    'ExportConfig': {**_SIZE, 'batch': COUNT, 'verify_examples': COUNT, 'calibration_examples': COUNT},
    'PadToShape': _SIZE,
    'FilterPruner': {'compression_factor': FRACTION},
}

# Fields without a default that must be written; for texts, with something in them.
REQUIRED: dict[str, tuple[str, ...]] = {
    'PSPNet': ('num_classes', 'feature_extractor', 'pooling_factors'),
    'ICNet': ('num_classes', 'feature_extractor', 'pooling_factors'),
    'FCN': ('num_classes', 'feature_extractor'),
    'PSPNetICNetFeatureExtractor': ('type',),
    'LayerWidth': ('scope', 'num_filters'),
    'TrainConfig': ('optimizer',),
    'Distillation': ('config_path', 'checkpoint'),
    'MomentumOptimizer': ('learning_rate',),
    'AdamOptimizer': ('learning_rate',),
    'AdamWOptimizer': ('learning_rate',),
    'RMSPropOptimizer': ('learning_rate',),
    'AdagradOptimizer': ('learning_rate',),
    'AdadeltaOptimizer': ('learning_rate',),
    'AdamaxOptimizer': ('learning_rate',),
    'NadamOptimizer': ('learning_rate',),
    'FtrlOptimizer': ('learning_rate',),
    'LearningRateMultiplier': ('scope',),
    'CosineDecayLearningRate': ('decay_steps',),
    'PiecewiseConstantLearningRate': ('boundary', 'learning_rate'),
    'CyclicLearningRate': ('half_cycle_steps',),
    'OneCycleLearningRate': ('total_steps',),
    'CosineRestartsLearningRate': ('first_period_steps',),
    'WeightedSumLoss': ('term',),
    'WeightedLoss': ('loss',),
    'SetFixedImageSize': ('fixed_height', 'fixed_width'),
    'RandomCropImage': ('crop_height', 'crop_width'),
    'ResizeImage': ('height', 'width'),
    'InputReader': ('tf_record_input_reader',),
    'TFRecordInputReader': ('input_path',),
    'SlidingWindow': ('height', 'width'),
    'CroppedEvalInput': ('height', 'width'),
    'PaddedEvalInput': ('height', 'width'),
    'PadToShape': ('height', 'width'),
    'CommpressionConfig': ('compression_strategy',),
    'FilterPruner': ('input', 'output'),
    'SingleNodePruningSpec': ('target',),
    'NodeName': ('name',),
}

CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    'PSPNetICNetFeatureExtractor': {'type': FEATURE_EXTRACTORS},
    'TrainConfig': {'fine_tune_checkpoint_type': FINE_TUNE_TYPES},
    'ExportConfig': {
        'format': tuple(FORMS),
        'output': EXTRA_OUTPUTS,
        'compute': COMPUTE_TYPES,
        'weights': STORED_TYPES,
    },
}

# Pairs whose first may not exceed the second.
ORDERED: dict[str, tuple[str, str]] = {
    'AspectRatioImageResize': ('min_dimension', 'max_dimension'),
    'RandomImageScale': ('min_scale_ratio', 'max_scale_ratio'),
    'RandomContrast': ('min_factor', 'max_factor'),
    'RandomSaturation': ('min_factor', 'max_factor'),
    'RandomGamma': ('min_gamma', 'max_gamma'),
    'PolynomialDecayLearningRate': ('end_learning_rate', 'initial_learning_rate'),
    'CosineDecayLearningRate': ('final_learning_rate', 'initial_learning_rate'),
    'CosineRestartsLearningRate': ('final_learning_rate', 'initial_learning_rate'),
    'CyclicLearningRate': ('base_learning_rate', 'max_learning_rate'),
}

# Fields that hold one value only, and why.
FIXED: dict[str, dict[str, tuple[int, str]]] = {
    'RandomCropImage': {'labels_channel_dim': (1, 'labels have 1 channel')},
    'SetFixedImageSize': {'labels_channel_dim': (1, 'labels have 1 channel')},
    'TrainConfig': {'quantize_with_delay': (0, 'training with simulated quantisation is not offered')},
}
