from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Optimizer(_message.Message):
    __slots__ = ("momentum_optimizer", "adam_optimizer", "adamw_optimizer", "rmsprop_optimizer", "adagrad_optimizer", "adadelta_optimizer", "adamax_optimizer", "nadam_optimizer", "ftrl_optimizer", "gradient_clipping_norm", "gradient_clipping_value", "learning_rate_multiplier")
    MOMENTUM_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    ADAM_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    ADAMW_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    RMSPROP_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    ADAGRAD_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    ADADELTA_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    ADAMAX_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    NADAM_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    FTRL_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CLIPPING_NORM_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CLIPPING_VALUE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    momentum_optimizer: MomentumOptimizer
    adam_optimizer: AdamOptimizer
    adamw_optimizer: AdamWOptimizer
    rmsprop_optimizer: RMSPropOptimizer
    adagrad_optimizer: AdagradOptimizer
    adadelta_optimizer: AdadeltaOptimizer
    adamax_optimizer: AdamaxOptimizer
    nadam_optimizer: NadamOptimizer
    ftrl_optimizer: FtrlOptimizer
    gradient_clipping_norm: float
    gradient_clipping_value: float
    learning_rate_multiplier: _containers.RepeatedCompositeFieldContainer[LearningRateMultiplier]
    def __init__(self, momentum_optimizer: _Optional[_Union[MomentumOptimizer, _Mapping]] = ..., adam_optimizer: _Optional[_Union[AdamOptimizer, _Mapping]] = ..., adamw_optimizer: _Optional[_Union[AdamWOptimizer, _Mapping]] = ..., rmsprop_optimizer: _Optional[_Union[RMSPropOptimizer, _Mapping]] = ..., adagrad_optimizer: _Optional[_Union[AdagradOptimizer, _Mapping]] = ..., adadelta_optimizer: _Optional[_Union[AdadeltaOptimizer, _Mapping]] = ..., adamax_optimizer: _Optional[_Union[AdamaxOptimizer, _Mapping]] = ..., nadam_optimizer: _Optional[_Union[NadamOptimizer, _Mapping]] = ..., ftrl_optimizer: _Optional[_Union[FtrlOptimizer, _Mapping]] = ..., gradient_clipping_norm: _Optional[float] = ..., gradient_clipping_value: _Optional[float] = ..., learning_rate_multiplier: _Optional[_Iterable[_Union[LearningRateMultiplier, _Mapping]]] = ...) -> None: ...

class LearningRateMultiplier(_message.Message):
    __slots__ = ("scope", "factor")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    scope: str
    factor: float
    def __init__(self, scope: _Optional[str] = ..., factor: _Optional[float] = ...) -> None: ...

class MomentumOptimizer(_message.Message):
    __slots__ = ("learning_rate", "momentum_optimizer_value", "use_nesterov")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_OPTIMIZER_VALUE_FIELD_NUMBER: _ClassVar[int]
    USE_NESTEROV_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    momentum_optimizer_value: float
    use_nesterov: bool
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., momentum_optimizer_value: _Optional[float] = ..., use_nesterov: _Optional[bool] = ...) -> None: ...

class AdamOptimizer(_message.Message):
    __slots__ = ("learning_rate", "beta_1", "beta_2", "epsilon")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BETA_1_FIELD_NUMBER: _ClassVar[int]
    BETA_2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    beta_1: float
    beta_2: float
    epsilon: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...

class AdamWOptimizer(_message.Message):
    __slots__ = ("learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    BETA_1_FIELD_NUMBER: _ClassVar[int]
    BETA_2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    weight_decay: float
    beta_1: float
    beta_2: float
    epsilon: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., weight_decay: _Optional[float] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...

class RMSPropOptimizer(_message.Message):
    __slots__ = ("learning_rate", "decay", "momentum_optimizer_value", "epsilon", "centered")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_OPTIMIZER_VALUE_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    CENTERED_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    decay: float
    momentum_optimizer_value: float
    epsilon: float
    centered: bool
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., decay: _Optional[float] = ..., momentum_optimizer_value: _Optional[float] = ..., epsilon: _Optional[float] = ..., centered: _Optional[bool] = ...) -> None: ...

class AdagradOptimizer(_message.Message):
    __slots__ = ("learning_rate", "initial_accumulator_value")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    INITIAL_ACCUMULATOR_VALUE_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    initial_accumulator_value: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., initial_accumulator_value: _Optional[float] = ...) -> None: ...

class AdadeltaOptimizer(_message.Message):
    __slots__ = ("learning_rate", "rho", "epsilon")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    RHO_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    rho: float
    epsilon: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., rho: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...

class AdamaxOptimizer(_message.Message):
    __slots__ = ("learning_rate", "beta_1", "beta_2", "epsilon")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BETA_1_FIELD_NUMBER: _ClassVar[int]
    BETA_2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    beta_1: float
    beta_2: float
    epsilon: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...

class NadamOptimizer(_message.Message):
    __slots__ = ("learning_rate", "beta_1", "beta_2", "epsilon")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BETA_1_FIELD_NUMBER: _ClassVar[int]
    BETA_2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    beta_1: float
    beta_2: float
    epsilon: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ...) -> None: ...

class FtrlOptimizer(_message.Message):
    __slots__ = ("learning_rate", "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength", "l2_regularization_strength")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_POWER_FIELD_NUMBER: _ClassVar[int]
    INITIAL_ACCUMULATOR_VALUE_FIELD_NUMBER: _ClassVar[int]
    L1_REGULARIZATION_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    L2_REGULARIZATION_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    learning_rate: LearningRate
    learning_rate_power: float
    initial_accumulator_value: float
    l1_regularization_strength: float
    l2_regularization_strength: float
    def __init__(self, learning_rate: _Optional[_Union[LearningRate, _Mapping]] = ..., learning_rate_power: _Optional[float] = ..., initial_accumulator_value: _Optional[float] = ..., l1_regularization_strength: _Optional[float] = ..., l2_regularization_strength: _Optional[float] = ...) -> None: ...

class LearningRate(_message.Message):
    __slots__ = ("constant_learning_rate", "exponential_decay_learning_rate", "polynomial_decay_learning_rate", "cosine_decay_learning_rate", "piecewise_constant_learning_rate", "cyclic_learning_rate", "one_cycle_learning_rate", "cosine_restarts_learning_rate", "warmup")
    CONSTANT_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    EXPONENTIAL_DECAY_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    POLYNOMIAL_DECAY_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    COSINE_DECAY_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    PIECEWISE_CONSTANT_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    CYCLIC_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    ONE_CYCLE_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    COSINE_RESTARTS_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    constant_learning_rate: ConstantLearningRate
    exponential_decay_learning_rate: ExponentialDecayLearningRate
    polynomial_decay_learning_rate: PolynomialDecayLearningRate
    cosine_decay_learning_rate: CosineDecayLearningRate
    piecewise_constant_learning_rate: PiecewiseConstantLearningRate
    cyclic_learning_rate: CyclicLearningRate
    one_cycle_learning_rate: OneCycleLearningRate
    cosine_restarts_learning_rate: CosineRestartsLearningRate
    warmup: Warmup
    def __init__(self, constant_learning_rate: _Optional[_Union[ConstantLearningRate, _Mapping]] = ..., exponential_decay_learning_rate: _Optional[_Union[ExponentialDecayLearningRate, _Mapping]] = ..., polynomial_decay_learning_rate: _Optional[_Union[PolynomialDecayLearningRate, _Mapping]] = ..., cosine_decay_learning_rate: _Optional[_Union[CosineDecayLearningRate, _Mapping]] = ..., piecewise_constant_learning_rate: _Optional[_Union[PiecewiseConstantLearningRate, _Mapping]] = ..., cyclic_learning_rate: _Optional[_Union[CyclicLearningRate, _Mapping]] = ..., one_cycle_learning_rate: _Optional[_Union[OneCycleLearningRate, _Mapping]] = ..., cosine_restarts_learning_rate: _Optional[_Union[CosineRestartsLearningRate, _Mapping]] = ..., warmup: _Optional[_Union[Warmup, _Mapping]] = ...) -> None: ...

class Warmup(_message.Message):
    __slots__ = ("num_steps", "initial_factor")
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FACTOR_FIELD_NUMBER: _ClassVar[int]
    num_steps: int
    initial_factor: float
    def __init__(self, num_steps: _Optional[int] = ..., initial_factor: _Optional[float] = ...) -> None: ...

class ConstantLearningRate(_message.Message):
    __slots__ = ("learning_rate",)
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    learning_rate: float
    def __init__(self, learning_rate: _Optional[float] = ...) -> None: ...

class ExponentialDecayLearningRate(_message.Message):
    __slots__ = ("initial_learning_rate", "decay_steps", "decay_factor", "staircase")
    INITIAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    DECAY_STEPS_FIELD_NUMBER: _ClassVar[int]
    DECAY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    STAIRCASE_FIELD_NUMBER: _ClassVar[int]
    initial_learning_rate: float
    decay_steps: int
    decay_factor: float
    staircase: bool
    def __init__(self, initial_learning_rate: _Optional[float] = ..., decay_steps: _Optional[int] = ..., decay_factor: _Optional[float] = ..., staircase: _Optional[bool] = ...) -> None: ...

class PolynomialDecayLearningRate(_message.Message):
    __slots__ = ("initial_learning_rate", "decay_steps", "power", "end_learning_rate")
    INITIAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    DECAY_STEPS_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    END_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    initial_learning_rate: float
    decay_steps: int
    power: float
    end_learning_rate: float
    def __init__(self, initial_learning_rate: _Optional[float] = ..., decay_steps: _Optional[int] = ..., power: _Optional[float] = ..., end_learning_rate: _Optional[float] = ...) -> None: ...

class CosineDecayLearningRate(_message.Message):
    __slots__ = ("initial_learning_rate", "decay_steps", "final_learning_rate")
    INITIAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    DECAY_STEPS_FIELD_NUMBER: _ClassVar[int]
    FINAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    initial_learning_rate: float
    decay_steps: int
    final_learning_rate: float
    def __init__(self, initial_learning_rate: _Optional[float] = ..., decay_steps: _Optional[int] = ..., final_learning_rate: _Optional[float] = ...) -> None: ...

class PiecewiseConstantLearningRate(_message.Message):
    __slots__ = ("boundary", "learning_rate")
    BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    boundary: _containers.RepeatedScalarFieldContainer[int]
    learning_rate: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, boundary: _Optional[_Iterable[int]] = ..., learning_rate: _Optional[_Iterable[float]] = ...) -> None: ...

class CyclicLearningRate(_message.Message):
    __slots__ = ("base_learning_rate", "max_learning_rate", "half_cycle_steps", "height_factor")
    BASE_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MAX_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    HALF_CYCLE_STEPS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FACTOR_FIELD_NUMBER: _ClassVar[int]
    base_learning_rate: float
    max_learning_rate: float
    half_cycle_steps: int
    height_factor: float
    def __init__(self, base_learning_rate: _Optional[float] = ..., max_learning_rate: _Optional[float] = ..., half_cycle_steps: _Optional[int] = ..., height_factor: _Optional[float] = ...) -> None: ...

class OneCycleLearningRate(_message.Message):
    __slots__ = ("max_learning_rate", "total_steps", "rising_share", "initial_divisor", "final_divisor")
    MAX_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    RISING_SHARE_FIELD_NUMBER: _ClassVar[int]
    INITIAL_DIVISOR_FIELD_NUMBER: _ClassVar[int]
    FINAL_DIVISOR_FIELD_NUMBER: _ClassVar[int]
    max_learning_rate: float
    total_steps: int
    rising_share: float
    initial_divisor: float
    final_divisor: float
    def __init__(self, max_learning_rate: _Optional[float] = ..., total_steps: _Optional[int] = ..., rising_share: _Optional[float] = ..., initial_divisor: _Optional[float] = ..., final_divisor: _Optional[float] = ...) -> None: ...

class CosineRestartsLearningRate(_message.Message):
    __slots__ = ("initial_learning_rate", "first_period_steps", "period_factor", "height_factor", "final_learning_rate")
    INITIAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    FIRST_PERIOD_STEPS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FACTOR_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FACTOR_FIELD_NUMBER: _ClassVar[int]
    FINAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    initial_learning_rate: float
    first_period_steps: int
    period_factor: float
    height_factor: float
    final_learning_rate: float
    def __init__(self, initial_learning_rate: _Optional[float] = ..., first_period_steps: _Optional[int] = ..., period_factor: _Optional[float] = ..., height_factor: _Optional[float] = ..., final_learning_rate: _Optional[float] = ...) -> None: ...
