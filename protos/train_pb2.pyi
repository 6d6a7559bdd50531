from protos import optimizer_pb2 as _optimizer_pb2
from protos import preprocessor_pb2 as _preprocessor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainConfig(_message.Message):
    __slots__ = ("batch_size", "preprocessor_step", "keep_checkpoint_every_n_hours", "optimizer", "fine_tune_checkpoint", "fine_tune_checkpoint_type", "freeze_fine_tune_backbone", "num_steps", "batch_queue_capacity", "num_batch_queue_threads", "prefetch_queue_capacity", "add_regularization_loss", "quantize_with_delay", "num_queue_threads", "random_seed", "log_every_n_steps", "save_checkpoint_every_n_steps", "mixed_precision", "fine_tune_checkpoint_strict", "summary_every_n_steps", "gradient_checkpointing", "eval_interval", "best_metric", "patience", "moving_average_decay", "gradient_accumulation_steps", "non_finite_policy", "max_skipped_steps", "max_rollbacks", "skip_damaged_records", "max_damaged_records", "deterministic", "distillation", "distribution", "loss_scale")
    class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FLOAT32: _ClassVar[TrainConfig.Precision]
        BFLOAT16: _ClassVar[TrainConfig.Precision]
        FLOAT16: _ClassVar[TrainConfig.Precision]
    FLOAT32: TrainConfig.Precision
    BFLOAT16: TrainConfig.Precision
    FLOAT16: TrainConfig.Precision
    class NonFinitePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STOP: _ClassVar[TrainConfig.NonFinitePolicy]
        SKIP: _ClassVar[TrainConfig.NonFinitePolicy]
        ROLLBACK: _ClassVar[TrainConfig.NonFinitePolicy]
    STOP: TrainConfig.NonFinitePolicy
    SKIP: TrainConfig.NonFinitePolicy
    ROLLBACK: TrainConfig.NonFinitePolicy
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSOR_STEP_FIELD_NUMBER: _ClassVar[int]
    KEEP_CHECKPOINT_EVERY_N_HOURS_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    FINE_TUNE_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FINE_TUNE_CHECKPOINT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FREEZE_FINE_TUNE_BACKBONE_FIELD_NUMBER: _ClassVar[int]
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    NUM_BATCH_QUEUE_THREADS_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    ADD_REGULARIZATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    QUANTIZE_WITH_DELAY_FIELD_NUMBER: _ClassVar[int]
    NUM_QUEUE_THREADS_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SEED_FIELD_NUMBER: _ClassVar[int]
    LOG_EVERY_N_STEPS_FIELD_NUMBER: _ClassVar[int]
    SAVE_CHECKPOINT_EVERY_N_STEPS_FIELD_NUMBER: _ClassVar[int]
    MIXED_PRECISION_FIELD_NUMBER: _ClassVar[int]
    FINE_TUNE_CHECKPOINT_STRICT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_EVERY_N_STEPS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    EVAL_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BEST_METRIC_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    MOVING_AVERAGE_DECAY_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_ACCUMULATION_STEPS_FIELD_NUMBER: _ClassVar[int]
    NON_FINITE_POLICY_FIELD_NUMBER: _ClassVar[int]
    MAX_SKIPPED_STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    SKIP_DAMAGED_RECORDS_FIELD_NUMBER: _ClassVar[int]
    MAX_DAMAGED_RECORDS_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    DISTILLATION_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    LOSS_SCALE_FIELD_NUMBER: _ClassVar[int]
    batch_size: int
    preprocessor_step: _containers.RepeatedCompositeFieldContainer[_preprocessor_pb2.PreprocessingStep]
    keep_checkpoint_every_n_hours: int
    optimizer: _optimizer_pb2.Optimizer
    fine_tune_checkpoint: str
    fine_tune_checkpoint_type: str
    freeze_fine_tune_backbone: bool
    num_steps: int
    batch_queue_capacity: int
    num_batch_queue_threads: int
    prefetch_queue_capacity: int
    add_regularization_loss: bool
    quantize_with_delay: int
    num_queue_threads: int
    random_seed: int
    log_every_n_steps: int
    save_checkpoint_every_n_steps: int
    mixed_precision: TrainConfig.Precision
    fine_tune_checkpoint_strict: bool
    summary_every_n_steps: int
    gradient_checkpointing: GradientCheckpointing
    eval_interval: int
    best_metric: str
    patience: int
    moving_average_decay: float
    gradient_accumulation_steps: int
    non_finite_policy: TrainConfig.NonFinitePolicy
    max_skipped_steps: int
    max_rollbacks: int
    skip_damaged_records: bool
    max_damaged_records: int
    deterministic: bool
    distillation: Distillation
    distribution: Distribution
    loss_scale: LossScale
    def __init__(self, batch_size: _Optional[int] = ..., preprocessor_step: _Optional[_Iterable[_Union[_preprocessor_pb2.PreprocessingStep, _Mapping]]] = ..., keep_checkpoint_every_n_hours: _Optional[int] = ..., optimizer: _Optional[_Union[_optimizer_pb2.Optimizer, _Mapping]] = ..., fine_tune_checkpoint: _Optional[str] = ..., fine_tune_checkpoint_type: _Optional[str] = ..., freeze_fine_tune_backbone: _Optional[bool] = ..., num_steps: _Optional[int] = ..., batch_queue_capacity: _Optional[int] = ..., num_batch_queue_threads: _Optional[int] = ..., prefetch_queue_capacity: _Optional[int] = ..., add_regularization_loss: _Optional[bool] = ..., quantize_with_delay: _Optional[int] = ..., num_queue_threads: _Optional[int] = ..., random_seed: _Optional[int] = ..., log_every_n_steps: _Optional[int] = ..., save_checkpoint_every_n_steps: _Optional[int] = ..., mixed_precision: _Optional[_Union[TrainConfig.Precision, str]] = ..., fine_tune_checkpoint_strict: _Optional[bool] = ..., summary_every_n_steps: _Optional[int] = ..., gradient_checkpointing: _Optional[_Union[GradientCheckpointing, _Mapping]] = ..., eval_interval: _Optional[int] = ..., best_metric: _Optional[str] = ..., patience: _Optional[int] = ..., moving_average_decay: _Optional[float] = ..., gradient_accumulation_steps: _Optional[int] = ..., non_finite_policy: _Optional[_Union[TrainConfig.NonFinitePolicy, str]] = ..., max_skipped_steps: _Optional[int] = ..., max_rollbacks: _Optional[int] = ..., skip_damaged_records: _Optional[bool] = ..., max_damaged_records: _Optional[int] = ..., deterministic: _Optional[bool] = ..., distillation: _Optional[_Union[Distillation, _Mapping]] = ..., distribution: _Optional[_Union[Distribution, _Mapping]] = ..., loss_scale: _Optional[_Union[LossScale, _Mapping]] = ...) -> None: ...

class LossScale(_message.Message):
    __slots__ = ("initial_scale", "dynamic_growth_steps")
    INITIAL_SCALE_FIELD_NUMBER: _ClassVar[int]
    DYNAMIC_GROWTH_STEPS_FIELD_NUMBER: _ClassVar[int]
    initial_scale: float
    dynamic_growth_steps: int
    def __init__(self, initial_scale: _Optional[float] = ..., dynamic_growth_steps: _Optional[int] = ...) -> None: ...

class Distribution(_message.Message):
    __slots__ = ("strategy", "communication", "peer_timeout_seconds", "start_timeout_seconds")
    class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FROM_ENVIRONMENT: _ClassVar[Distribution.Strategy]
        ONE_DEVICE: _ClassVar[Distribution.Strategy]
        MIRRORED: _ClassVar[Distribution.Strategy]
        MULTI_WORKER_MIRRORED: _ClassVar[Distribution.Strategy]
    FROM_ENVIRONMENT: Distribution.Strategy
    ONE_DEVICE: Distribution.Strategy
    MIRRORED: Distribution.Strategy
    MULTI_WORKER_MIRRORED: Distribution.Strategy
    class Communication(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        AUTO: _ClassVar[Distribution.Communication]
        RING: _ClassVar[Distribution.Communication]
        NCCL: _ClassVar[Distribution.Communication]
    AUTO: Distribution.Communication
    RING: Distribution.Communication
    NCCL: Distribution.Communication
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    COMMUNICATION_FIELD_NUMBER: _ClassVar[int]
    PEER_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    START_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    strategy: Distribution.Strategy
    communication: Distribution.Communication
    peer_timeout_seconds: int
    start_timeout_seconds: int
    def __init__(self, strategy: _Optional[_Union[Distribution.Strategy, str]] = ..., communication: _Optional[_Union[Distribution.Communication, str]] = ..., peer_timeout_seconds: _Optional[int] = ..., start_timeout_seconds: _Optional[int] = ...) -> None: ...

class Distillation(_message.Message):
    __slots__ = ("config_path", "checkpoint", "temperature", "weight")
    CONFIG_PATH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    config_path: str
    checkpoint: str
    temperature: float
    weight: float
    def __init__(self, config_path: _Optional[str] = ..., checkpoint: _Optional[str] = ..., temperature: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class GradientCheckpointing(_message.Message):
    __slots__ = ("mode", "memory_budget", "checkpoint_node")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[GradientCheckpointing.Mode]
        AUTO: _ClassVar[GradientCheckpointing.Mode]
        SPEED: _ClassVar[GradientCheckpointing.Mode]
        MEMORY: _ClassVar[GradientCheckpointing.Mode]
    NONE: GradientCheckpointing.Mode
    AUTO: GradientCheckpointing.Mode
    SPEED: GradientCheckpointing.Mode
    MEMORY: GradientCheckpointing.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_NODE_FIELD_NUMBER: _ClassVar[int]
    mode: GradientCheckpointing.Mode
    memory_budget: str
    checkpoint_node: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, mode: _Optional[_Union[GradientCheckpointing.Mode, str]] = ..., memory_budget: _Optional[str] = ..., checkpoint_node: _Optional[_Iterable[str]] = ...) -> None: ...
