"""Overrides of the good config of `conftest.config_text`, and the one problem that each makes."""

from __future__ import annotations

from builders.names import FEATURE_EXTRACTORS

STEPS = 'train_config.preprocessor_step'
LOSS = 'model.icnet.loss'
RATE = 'train_config.optimizer.momentum_optimizer.learning_rate'

# What is tested -> (overrides, problem); a case stands in the table of the block that the problem names.
Cases = dict[str, tuple[list[str], str]]

MODEL: Cases = {
    'a layer without filters': (
        ["model.layer_width=[{scope: 'Conv' num_filters: 0}]"],
        'model.layer_width[0].num_filters: got 0, choose 1..65536',
    ),
    'a width of no layer': (
        ['model.layer_width=[{num_filters: 8}]'],
        'model.layer_width[0].scope: not set; must be written',
    ),
    'a layer named twice': (
        ["model.layer_width=[{scope: 'Conv' num_filters: 8}, {scope: 'Conv' num_filters: 9}]"],
        "model.layer_width[1].scope: 'Conv' was named before; keep one",
    ),
    'no architecture': (['model={}'], 'model: not set; choose pspnet, icnet or fcn'),
    'extractor': (
        ['model.icnet.feature_extractor.type=dialted_mobilenet'],
        "model.icnet.feature_extractor.type: got 'dialted_mobilenet', did you mean 'dilated_mobilenet'? "
        f'choose from {list(FEATURE_EXTRACTORS)}',
    ),
    'no extractor': (
        ['model.icnet.feature_extractor.type='],
        f'model.icnet.feature_extractor.type: not set; choose from {list(FEATURE_EXTRACTORS)}',
    ),
    'no classes': (['model.icnet.num_classes=0'], 'model.icnet.num_classes: got 0, choose 1..254'),
    'too many classes': (['model.icnet.num_classes=255'], 'model.icnet.num_classes: got 255, choose 1..254'),
    'filter scale 0': (['model.icnet.filter_scale=0'], 'model.icnet.filter_scale: got 0, choose above 0, up to 1'),
    'filter scale 2': (['model.icnet.filter_scale=2'], 'model.icnet.filter_scale: got 2, choose above 0, up to 1'),
    'filter scale nan': (
        ['model.icnet.filter_scale=nan'],
        'model.icnet.filter_scale: got nan, choose above 0, up to 1',
    ),
    'no pyramid': (
        ['model.icnet.pooling_factors=[]'],
        'model.icnet.pooling_factors: not set; choose one or more values, each 1 or more',
    ),
    'pyramid': (['model.icnet.pooling_factors=[1, 0.5]'], 'model.icnet.pooling_factors[1]: got 0.5, choose 1 or more'),
    'regularizer empty': (
        ['model.icnet.hyperparams.regularizer={}'],
        'model.icnet.hyperparams.regularizer: not set; choose l1_regularizer or l2_regularizer',
    ),
    'regularizer negative': (
        ['model.icnet.hyperparams.regularizer.l2_regularizer.weight=-0.1'],
        'model.icnet.hyperparams.regularizer.l2_regularizer.weight: got -0.1, choose 0 or more',
    ),
    'branch weight': (
        ['model.icnet.first_branch_loss_weight=-1'],
        'model.icnet.first_branch_loss_weight: got -1, choose 0 or more',
    ),
    'ignore label is a class': (
        [f'{LOSS}.ignore_label=2', 'eval_config.ignore_label=2'],
        f'{LOSS}.ignore_label: got 2, which is one of the classes 0..2; choose 3..255',
    ),
    'class weights': (
        [f'{LOSS}.classification_loss.softmax.class_weight=[1, 2]'],
        f'{LOSS}.classification_loss.softmax.class_weight: got 2 weights for 3 classes; write one per class or none',
    ),
    'class weights 0': (
        [f'{LOSS}.classification_loss.softmax.class_weight=[0, 0, 0]'],
        f'{LOSS}.classification_loss.softmax.class_weight: every weight is 0, so nothing would be learned; '
        'one at least must be above 0',
    ),
    'class weights of a sum': (
        [
            f'{LOSS}.classification_loss.weighted_sum={{term {{loss {{dice {{}}}}}} '
            'term {loss {focal {cross_entropy {class_weight: [1, 2]}}}}}'
        ],
        f'{LOSS}.classification_loss.weighted_sum.term[1].loss.focal.cross_entropy.class_weight: got 2 weights for 3 '
        'classes; write one per class or none',
    ),
    'class weights given and counted': (
        [f'{LOSS}.classification_loss.softmax={{class_weight: [1, 2, 3] class_weighting: ENET}}'],
        f'{LOSS}.classification_loss.softmax.class_weight: set together with class_weighting, which counts them; '
        'keep one',
    ),
    'sum of nothing': (
        [f'{LOSS}.classification_loss.weighted_sum={{}}'],
        f'{LOSS}.classification_loss.weighted_sum.term: not set; write term {{ ... }}',
    ),
    'sum without a loss': (
        [f'{LOSS}.classification_loss.weighted_sum={{term {{weight: 2}}}}'],
        f'{LOSS}.classification_loss.weighted_sum.term[0].loss: not set; choose softmax, bootstrapped, ohem, focal, '
        'dice, lovasz or weighted_sum',
    ),
    'weights of a sum 0': (
        [f'{LOSS}.classification_loss.weighted_sum={{term {{weight: 0 loss {{dice {{}}}}}}}}'],
        f'{LOSS}.classification_loss.weighted_sum.term: every weight is 0, so nothing would be learned; one at least '
        'must be above 0',
    ),
    'share 0': (
        [f'{LOSS}.classification_loss.bootstrapped={{share: 0}}'],
        f'{LOSS}.classification_loss.bootstrapped.share: got 0, choose above 0, up to 1',
    ),
    'threshold 1': (
        [f'{LOSS}.classification_loss.ohem={{threshold: 1}}'],
        f'{LOSS}.classification_loss.ohem.threshold: got 1, choose from 0 to below 1',
    ),
    'gamma': (
        [f'{LOSS}.classification_loss.focal={{gamma: -1}}'],
        f'{LOSS}.classification_loss.focal.gamma: got -1, choose 0 or more',
    ),
    'label smoothing': (
        [f'{LOSS}.classification_loss.softmax.label_smoothing=1'],
        f'{LOSS}.classification_loss.softmax.label_smoothing: got 1, choose from 0 to below 1',
    ),
}

TRAINING: Cases = {
    'patience without evaluation': (
        ['train_config.patience=3'],
        'train_config.patience: has no effect without train_config.eval_interval; set that too',
    ),
    'no best metric': (
        ['train_config.eval_interval=10', 'train_config.best_metric='],
        'train_config.best_metric: is empty, name a number of metrics.json, for example mean_iou',
    ),
    'no optimizer': (
        ['train_config.optimizer={}'],
        'train_config.optimizer: not set; choose momentum_optimizer, adam_optimizer, adamw_optimizer, '
        'rmsprop_optimizer, adagrad_optimizer, adadelta_optimizer, adamax_optimizer, nadam_optimizer or ftrl_optimizer',
    ),
    'no learning rate': (
        ['train_config.optimizer.adam_optimizer={}'],
        'train_config.optimizer.adam_optimizer.learning_rate: not set; choose constant_learning_rate, '
        'exponential_decay_learning_rate, polynomial_decay_learning_rate, cosine_decay_learning_rate, '
        'piecewise_constant_learning_rate, cyclic_learning_rate, one_cycle_learning_rate or '
        'cosine_restarts_learning_rate',
    ),
    'learning rate 0': (
        [f'{RATE}.constant_learning_rate.learning_rate=0'],
        f'{RATE}.constant_learning_rate.learning_rate: got 0, choose above 0',
    ),
    'learning rate rises': (
        [f'{RATE}.polynomial_decay_learning_rate={{initial_learning_rate: 0.1 end_learning_rate: 0.2}}'],
        f'{RATE}.polynomial_decay_learning_rate: end_learning_rate is above initial_learning_rate (0.2 > 0.1)',
    ),
    'no decay steps': (
        [f'{RATE}.cosine_decay_learning_rate={{}}'],
        f'{RATE}.cosine_decay_learning_rate.decay_steps: not set; choose 1 or more',
    ),
    'decay steps 0': (
        [f'{RATE}.exponential_decay_learning_rate.decay_steps=0'],
        f'{RATE}.exponential_decay_learning_rate.decay_steps: got 0, choose 1 or more',
    ),
    'batch size': (['train_config.batch_size=0'], 'train_config.batch_size: got 0, choose 1 or more'),
    'random seed': (
        ['train_config.random_seed=2147483648'],
        'train_config.random_seed: got 2147483648, choose 0..2147483647',
    ),
    'quantisation': (
        ['train_config.quantize_with_delay=5'],
        'train_config.quantize_with_delay: got 5; training with simulated quantisation is not offered, '
        'remove the field',
    ),
    'checkpoint type': (
        ['train_config.fine_tune_checkpoint_type=segmentaton'],
        "train_config.fine_tune_checkpoint_type: got 'segmentaton', did you mean 'segmentation'? "
        "choose from ['classification', 'segmentation', 'segmentation-finetune']",
    ),
    'no checkpoint type': (
        ['train_config.fine_tune_checkpoint=a.ckpt'],
        'train_config.fine_tune_checkpoint_type: not set, needed with fine_tune_checkpoint; '
        'choose classification, segmentation or segmentation-finetune',
    ),
    'empty step': (
        [f'{STEPS}[0]={{}}'],
        f'{STEPS}[0]: not set; choose set_fixed_image_size, aspect_ratio_image_resize, random_image_scale, '
        'random_image_crop, random_horizontal_flip, random_brightness, random_contrast, random_saturation, '
        'random_hue, random_gamma, random_rotation, random_vertical_flip or resize_image',
    ),
    'crop': (
        [f'{STEPS}[1].random_image_crop={{crop_height: 5}}'],
        f'{STEPS}[1].random_image_crop.crop_width: not set; choose 1 or more',
    ),
    'crop 0': (
        [f'{STEPS}[1].random_image_crop.crop_height=0'],
        f'{STEPS}[1].random_image_crop.crop_height: got 0, choose 1 or more',
    ),
    'channels': (
        [f'{STEPS}[1].random_image_crop.images_channel_dim=4'],
        f'{STEPS}[1].random_image_crop.images_channel_dim: got 4; images have 3 channels, remove the field',
    ),
    'scale ratios': (
        [f'{STEPS}[0].random_image_scale.max_scale_ratio=0.25'],
        f'{STEPS}[0].random_image_scale: min_scale_ratio is above max_scale_ratio (0.5 > 0.25)',
    ),
    'scale ratio 0': (
        [f'{STEPS}[0].random_image_scale.min_scale_ratio=0'],
        f'{STEPS}[0].random_image_scale.min_scale_ratio: got 0, choose above 0',
    ),
    'no size': (
        [f'{STEPS}=[]'],
        f'{STEPS}: leaves images at their own sizes; end it with random_image_crop, resize_image or '
        'set_fixed_image_size',
    ),
    'scaled behind the crop': (
        [f'{STEPS}+={{random_image_scale {{}}}}'],
        f'{STEPS}[2].random_image_scale: gives images of different sizes, which do not fit into one batch; '
        'add random_image_crop behind it',
    ),
    'memory budget': (
        ['train_config.gradient_checkpointing.memory_budget=120%'],
        "train_config.gradient_checkpointing.memory_budget: got '120%', choose bytes such as 6GB or 800MiB, or a share "
        'of the activations that plain training keeps, such as 25%',
    ),
    'parts of a batch': (
        ['train_config.batch_size=6', 'train_config.gradient_accumulation_steps=4'],
        'train_config.gradient_accumulation_steps: got 4, which does not divide train_config.batch_size 6',
    ),
    'moving average 1': (
        ['train_config.moving_average_decay=1'],
        'train_config.moving_average_decay: got 1, choose from 0 to below 1',
    ),
    'clipped twice': (
        ['train_config.optimizer.gradient_clipping_norm=1', 'train_config.optimizer.gradient_clipping_value=1'],
        'train_config.optimizer.gradient_clipping_value: set together with gradient_clipping_norm; keep one',
    ),
    'multiplier without a scope': (
        ['train_config.optimizer.learning_rate_multiplier=[{factor: 2}]'],
        'train_config.optimizer.learning_rate_multiplier[0].scope: not set; must be written',
    ),
    'two multipliers of a scope': (
        ['train_config.optimizer.learning_rate_multiplier=[{scope: "a"}, {scope: "a" factor: 2}]'],
        "train_config.optimizer.learning_rate_multiplier[1].scope: got 'a' a second time; keep one",
    ),
    'boundaries': (
        [f'{RATE}.piecewise_constant_learning_rate={{boundary: [9, 5] learning_rate: [1, 2, 3]}}'],
        f'{RATE}.piecewise_constant_learning_rate.boundary: got [9, 5], choose ascending steps',
    ),
    'rates of boundaries': (
        [f'{RATE}.piecewise_constant_learning_rate={{boundary: [5, 9] learning_rate: [1, 2]}}'],
        f'{RATE}.piecewise_constant_learning_rate.learning_rate: got 2 for 2 boundaries; write one more than '
        'boundaries',
    ),
    'cycle upside down': (
        [f'{RATE}.cyclic_learning_rate={{base_learning_rate: 2 max_learning_rate: 1 half_cycle_steps: 5}}'],
        f'{RATE}.cyclic_learning_rate: base_learning_rate is above max_learning_rate (2 > 1)',
    ),
    'cycle that only rises': (
        [f'{RATE}.one_cycle_learning_rate={{total_steps: 5 rising_share: 1}}'],
        f'{RATE}.one_cycle_learning_rate.rising_share: got 1, choose between 0 and 1',
    ),
    'clipping': (
        ['train_config.optimizer.gradient_clipping_norm=-1'],
        'train_config.optimizer.gradient_clipping_norm: got -1, choose 0 or more',
    ),
}

DATA_AND_EVALUATION: Cases = {
    'evaluation in training without records': (
        ['train_config.eval_interval=10', 'eval_input_reader={}'],
        'eval_input_reader.tf_record_input_reader: not set; write tf_record_input_reader { ... }',
    ),
    'group_pattern is no regular expression': (
        ['eval_config.group_pattern=([a-z'],
        "eval_config.group_pattern: got '([a-z', not a regular expression: unterminated character set at position 1",
    ),
    'too few resamples': (
        ['eval_config.bootstrap_samples=5'],
        'eval_config.bootstrap_samples: got 5, choose 0 or 100..100000',
    ),
    'window without a width': (
        ['eval_config.inference.sliding_window={height: 65}'],
        'eval_config.inference.sliding_window.width: not set; choose 1 or more',
    ),
    'windows overlap wholly': (
        ['eval_config.inference.sliding_window={height: 65 width: 65 overlap: 1}'],
        'eval_config.inference.sliding_window.overlap: got 1, choose from 0 to below 1',
    ),
    'scale 0': (
        ['eval_config.inference.scale=[1, 0]'],
        'eval_config.inference.scale[1]: got 0, choose above 0, up to 4',
    ),
    'windows of padded images': (
        [
            'eval_config.inference.sliding_window={height: 65 width: 65}',
            'eval_config.eval_input_type.padded_eval_input={height: 97 width: 97}',
        ],
        'eval_config.inference.sliding_window: set together with eval_input_type.padded_eval_input, which would pad '
        'every window; keep one',
    ),
    'ignore labels differ': (
        ['eval_config.ignore_label=3'],
        f'eval_config.ignore_label: got 3, but {LOSS}.ignore_label is 255; make them equal',
    ),
    'no records': (
        ['train_input_reader.tf_record_input_reader.input_path=[]'],
        'train_input_reader.tf_record_input_reader.input_path: not set; must be written',
    ),
    'no reader': (
        ['eval_input_reader={}'],
        'eval_input_reader.tf_record_input_reader: not set; write tf_record_input_reader { ... }',
    ),
    'placeholder': (
        ['eval_input_reader.tf_record_input_reader.input_path=MODIFY_THIS_FIELD_WITH_YOUR_VALUE/a.record'],
        'eval_input_reader.tf_record_input_reader.input_path[0]: got '
        "'MODIFY_THIS_FIELD_WITH_YOUR_VALUE/a.record', a placeholder; write your own value",
    ),
    'eval size': (
        ['eval_config.eval_input_type.padded_eval_input.height=5'],
        'eval_config.eval_input_type.padded_eval_input.width: not set; choose 1 or more',
    ),
    'eval type': (
        ['eval_config.eval_input_type={}'],
        'eval_config.eval_input_type: not set; choose cropped_eval_input or padded_eval_input',
    ),
    'averages that are not kept': (
        ['train_config.eval_interval=10', 'eval_config.use_moving_averages=true'],
        'eval_config.use_moving_averages: the training keeps none; set train_config.moving_average_decay, for example '
        '0.999, or train_config.eval_interval: 0',
    ),
}
