"""Training with every optimiser, moving averages, accumulated gradients and learning rates of parts of the network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from builders import optimizer_builder
from core.errors import CheckpointError, ConfigError, UsageError
from core.losses import Focal, HardestPixels, SoftmaxCrossEntropy, WeightedSum
from core.region_losses import LovaszSoftmax, SoftDice
from core.servable import Servable
from engine import checkpoints, devices, eval_results, inference
from engine.eval_lib import Evaluator
from engine.train_lib import TrainOptions, make_state, train
from engine.train_step import make_train_step
from recompute.plan import Mode, Planner, Request
from tests import forked, tiny_run, tiny_training
from tests.tiny_training import build_dataset, build_model, config

AVERAGE = 'ExponentialMovingAverage'
HEAD = 'Predictions/Conv/weights'
BACKBONE = 'SharedFeatureExtractor/tiny/conv1/weights'
EVERY_STEP = 'train_config { save_checkpoint_every_n_steps: 1 }'
# Without batch statistics, which differ between parts of a batch and the whole.
FROZEN = 'train_config { freeze_fine_tune_backbone: true batch_size: 8 }'
RATE = 'learning_rate { constant_learning_rate { learning_rate: 0.01 } }'


def run(logdir, *overrides, **options):
    return train(
        config(*overrides),
        TrainOptions(logdir=str(logdir), **options),
        build_model=build_model,
        build_dataset=build_dataset,
    )


def tensors(path):
    reader = checkpoints.read(path)
    return {name: reader.tensor(name) for name in reader.shapes}


def assert_bit_equal(ours, theirs):
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def eval_reader(folder):
    """The config of one example to evaluate, whose records are written into `folder`."""
    image = np.random.default_rng(0).integers(0, 256, (tiny_training.HEIGHT, tiny_training.WIDTH, 3), np.uint8)
    tiny_run.write_records(folder / 'eval.tfrecord', [image], [image.argmax(-1).astype(np.uint8)], ['a.png'])
    return f'eval_input_reader {{ tf_record_input_reader {{ input_path: "{folder}/eval.tfrecord" }} }}'


def cross_entropy(logdir, step):
    """Of the evaluation in training."""
    path = eval_results.path_of_step(str(logdir / 'evaluation'), step)
    return json.loads(Path(path).read_text())['cross_entropy']


RESUMED = {
    'rmsprop': f'optimizer {{ rmsprop_optimizer {{ {RATE} centered: true momentum_optimizer_value: 0.9 }} }}',
    'adagrad, in parts': f'optimizer {{ adagrad_optimizer {{ {RATE} }} }} gradient_accumulation_steps: 2',
    'adadelta, averaged': f'optimizer {{ adadelta_optimizer {{ {RATE} }} }} moving_average_decay: 0.9',
    'adamax, clipped': f'optimizer {{ adamax_optimizer {{ {RATE} }} gradient_clipping_value: 0.1 }}',
    'nadam, one cycle': """optimizer { nadam_optimizer { learning_rate { one_cycle_learning_rate {
        max_learning_rate: 0.1 total_steps: 6 } } } learning_rate_multiplier { scope: "Predictions" factor: 3 } }""",
    'ftrl, restarts': """optimizer { ftrl_optimizer { learning_rate { cosine_restarts_learning_rate {
        initial_learning_rate: 0.1 first_period_steps: 2 } } } } moving_average_decay: 0.5
        gradient_accumulation_steps: 2""",
}


@pytest.mark.parametrize('name', RESUMED)
def test_a_resumed_run_ends_bit_equal(tmp_path, name):
    override = f'train_config {{ num_steps: 6 save_checkpoint_every_n_steps: 3 {RESUMED[name]} }}'
    run(tmp_path / 'straight', override)
    checkpoints.copy(str(tmp_path / 'straight' / 'model.ckpt-3'), str(tmp_path / 'model.ckpt-3'))
    run(tmp_path, override)
    straight, resumed = tensors(tmp_path / 'straight'), tensors(tmp_path)
    assert_bit_equal(resumed, straight)
    optimizer = optimizer_builder.build(
        config(override).train_config.optimizer, moving_average_decay=config(override).train_config.moving_average_decay
    )
    assert all(f'{HEAD}/{slot}' in straight for slot in optimizer.slot_names)
    assert (straight[HEAD] != checkpoints.read(tmp_path / 'straight' / 'model.ckpt-3').tensor(HEAD)).any()


@pytest.fixture(scope='module')
def whole_batches(tmp_path_factory):
    logdir = tmp_path_factory.mktemp('whole')
    run(logdir, FROZEN)
    return logdir


@pytest.mark.parametrize('parts', [2, 8])
def test_parts_of_a_batch_equal_the_whole(tmp_path, whole_batches, parts):
    run(tmp_path, FROZEN, f'train_config {{ gradient_accumulation_steps: {parts} }}')
    whole = tensors(whole_batches)
    for name, value in tensors(tmp_path).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert np.abs(tensors(tmp_path)[f'{HEAD}/Momentum']).max() > 1e-3


def test_parts_on_two_devices_equal_those_on_one(tmp_path):
    """Two batches of 4 go to the devices in turn: together they are one of 8. Averages are evaluated on the way."""
    options = 'gradient_accumulation_steps: 2 num_steps: 3 moving_average_decay: 0.9 eval_interval: 2'
    override = (
        f'{FROZEN} train_config {{ {options} }} eval_config {{ use_moving_averages: true }} {eval_reader(tmp_path)}'
    )
    run(tmp_path / '1', override)
    forked.run(tiny_training.main, str(tmp_path / '2'), override, '2')
    one, two = tensors(tmp_path / '1'), tensors(tmp_path / '2')
    assert set(one) == set(two)
    assert (one.pop('training/replicas'), two.pop('training/replicas')) == (1, 2)
    moved = {name for name in one if (one[name] != 0).any()}
    assert {HEAD, f'{HEAD}/Momentum', f'{HEAD}/{AVERAGE}'} <= moved
    for name, value in two.items():
        np.testing.assert_allclose(value, one[name], rtol=1e-4, atol=1e-6, err_msg=name)
    scores = [cross_entropy(tmp_path / clones, 3) for clones in ('1', '2')]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_parts_with_a_recompute_plan_are_bit_equal(tmp_path):
    parts = 'train_config { batch_size: 8 gradient_accumulation_steps: 2 num_steps: 3'
    run(tmp_path / 'plain', f'{parts} }}')
    run(
        tmp_path / 'planned',
        f'{parts} gradient_checkpointing {{ checkpoint_node: "SharedFeatureExtractor/tiny/conv1" }} }}',
    )
    assert (tmp_path / 'planned' / 'recompute_plan.json').exists()
    assert_bit_equal(tensors(tmp_path / 'planned'), tensors(tmp_path / 'plain'))


def test_a_plan_for_parts_is_that_of_the_smaller_batch():
    def plan(batch_size, num_parts):
        own = config()
        strategy = devices.make_strategy(num_clones=1, clone_on_cpu=False)
        optimizer = optimizer_builder.build(own.train_config.optimizer)
        model, state = make_state(own, strategy, optimizer, build_model)
        plans = []
        step = make_train_step(
            model=model,
            optimizer=optimizer,
            state=state,
            strategy=strategy,
            add_regularization_loss=True,
            num_parts=num_parts,
            planner=Planner(Request(mode=Mode.MEMORY)),
            on_plan=plans.append,
        )
        batch = {
            'image': tf.TensorSpec([batch_size, 99, 131, 3]),
            'label': tf.TensorSpec([batch_size, 99, 131], tf.int32),
        }
        step.get_concrete_function(batch)
        return plans[-1]

    parts, small = plan(8, 4), plan(2, 1)
    assert parts.batch_size == small.batch_size
    # Dividing the loss by the number of parts is one more map of the pixels.
    assert 0 <= parts.peak_bytes - small.peak_bytes <= 2 * 99 * 131 * 4


def test_losses_of_regions_and_hard_pixels_with_a_recompute_plan_are_bit_equal(tmp_path):
    terms = [
        (1.0, HardestPixels(cross_entropy=SoftmaxCrossEntropy(), share=0.25, threshold=0.3)),
        (1.0, LovaszSoftmax()),
        (0.5, SoftDice(per_image=True)),
        (0.5, Focal(cross_entropy=SoftmaxCrossEntropy(), gamma=2.0)),
    ]

    def build(config, **arguments):
        model = build_model(config, **arguments)
        model._pixel_loss = WeightedSum(terms=terms)
        return model

    for name, plan in (('plain', ''), ('planned', 'gradient_checkpointing { checkpoint_node: "Predictions" }')):
        options = TrainOptions(logdir=str(tmp_path / name))
        override = config(f'train_config {{ num_steps: 3 {plan} }}')
        train(override, options, build_model=build, build_dataset=build_dataset)
    assert (tmp_path / 'planned' / 'recompute_plan.json').exists()
    assert_bit_equal(tensors(tmp_path / 'planned'), tensors(tmp_path / 'plain'))


def test_a_batch_that_does_not_come_out_even_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r'choose a multiple of .* devices, 1 \* train_config.gradient_accumul'):
        run(tmp_path, 'train_config { batch_size: 6 gradient_accumulation_steps: 4 }')


def test_moving_averages_follow_the_weights(tmp_path):
    run(tmp_path, EVERY_STEP, 'train_config { moving_average_decay: 0.15 }')
    weights = [tensors(tmp_path / f'model.ckpt-{step}') for step in range(1, 7)]
    average = weights[0][f'{HEAD}/{AVERAGE}'].astype(np.float64)
    for step in range(1, 6):
        decay = min(0.15, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights[step][HEAD]
        np.testing.assert_allclose(weights[step][f'{HEAD}/{AVERAGE}'], average, rtol=1e-5, atol=1e-7)
    moving = 'SharedFeatureExtractor/tiny/conv1/BatchNorm/moving_mean'
    assert f'{moving}/{AVERAGE}' not in weights[0] and f'{BACKBONE}/{AVERAGE}' in weights[0]


def test_moving_averages_change_no_weight_and_can_be_added_later(tmp_path, caplog):
    run(tmp_path / 'plain', 'train_config { num_steps: 5 }')
    run(tmp_path / 'added', 'train_config { num_steps: 4 }')
    run(tmp_path / 'added', 'train_config { num_steps: 5 moving_average_decay: 0.9 }')
    assert 'they start anew' in caplog.text
    plain, before, after = (tensors(tmp_path / p) for p in ('plain', 'added/model.ckpt-4', 'added/model.ckpt-5'))
    assert_bit_equal({name: after[name] for name in plain}, plain)
    decay = 5 / 14  # (1 + 4) / (10 + 4)
    expected = decay * before[HEAD] + (1 - decay) * after[HEAD]
    np.testing.assert_allclose(after[f'{HEAD}/{AVERAGE}'], expected, rtol=1e-5, atol=1e-7)


def test_averages_of_a_fine_tuned_run_start_at_its_first_weights(tmp_path):
    run(tmp_path / 'first')
    start = f'fine_tune_checkpoint: "{tmp_path}/first" fine_tune_checkpoint_type: "segmentation"'
    run(tmp_path / 'second', f'train_config {{ num_steps: 1 moving_average_decay: 0.9 {start} }}')
    first, second = tensors(tmp_path / 'first'), tensors(tmp_path / 'second')
    expected = 0.1 * first[HEAD] + 0.9 * second[HEAD]  # the ramp: (1 + 0) / (10 + 0)
    np.testing.assert_allclose(second[f'{HEAD}/{AVERAGE}'], expected, rtol=1e-5, atol=1e-7)


def test_a_model_for_inference_takes_the_averages(tmp_path):
    run(tmp_path / 'averaged', 'train_config { moving_average_decay: 0.9 }')
    run(tmp_path / 'plain')
    model = build_model(config().model)
    model.build()
    concrete = Servable(model=model, num_classes=3).trace((1, tiny_training.HEIGHT, tiny_training.WIDTH))
    inference.restore(model, concrete, tmp_path / 'averaged', moving_averages=True)
    stored = tensors(tmp_path / 'averaged')
    for name, variable in model.variables_by_name().items():
        np.testing.assert_array_equal(variable.numpy(), stored.get(f'{name}/{AVERAGE}', stored[name]), err_msg=name)
    assert (stored[HEAD] != stored[f'{HEAD}/{AVERAGE}']).any()
    with pytest.raises(CheckpointError, match='holds no moving averages of weights: train with'):
        inference.restore(model, concrete, tmp_path / 'plain', moving_averages=True)


def test_evaluation_in_training_uses_the_averages_and_gives_the_weights_back(tmp_path):
    reader = eval_reader(tmp_path)
    averaged = 'train_config { moving_average_decay: 0.99 eval_interval: 3 } eval_config { use_moving_averages: true }'
    run(tmp_path / 'evaluated', averaged, reader)
    run(tmp_path / 'plain', 'train_config { moving_average_decay: 0.99 }')
    assert_bit_equal(tensors(tmp_path / 'evaluated'), tensors(tmp_path / 'plain'))

    own = config(averaged, reader)
    model = build_model(own.model)
    model.build()
    evaluator = Evaluator(own, model)
    score = evaluator.evaluate(str(tmp_path / 'evaluated' / 'model.ckpt-6')).metrics['cross_entropy']
    assert cross_entropy(tmp_path / 'evaluated', 6) == pytest.approx(score, rel=1e-6)
    own.eval_config.use_moving_averages = False
    other = Evaluator(own, model).evaluate(str(tmp_path / 'evaluated' / 'model.ckpt-6')).metrics['cross_entropy']
    assert other != pytest.approx(score, rel=1e-3)


def test_learning_rates_of_parts_of_the_network(tmp_path):
    def multiplied(scope, factor):
        return f'train_config {{ optimizer {{ learning_rate_multiplier {{ scope: "{scope}" factor: {factor} }} }} }}'

    one_step = 'train_config { num_steps: 1 }'
    run(tmp_path / 'plain', one_step)
    run(tmp_path / 'frozen', one_step, multiplied('SharedFeatureExtractor', 0))
    run(tmp_path / 'tripled', one_step, multiplied('Predictions/Conv', 3))
    before = build_model(config().model)
    tf.random.set_seed(3)
    before.build()
    plain, frozen, tripled = (tensors(tmp_path / name) for name in ('plain', 'frozen', 'tripled'))
    np.testing.assert_array_equal(frozen[HEAD], plain[HEAD])
    np.testing.assert_array_equal(tripled[BACKBONE], plain[BACKBONE])
    # The first accumulator is the gradient: the weights before the step follow.
    first = plain[HEAD] + 0.05 * plain[f'{HEAD}/Momentum']
    np.testing.assert_allclose(tripled[HEAD], first - 0.15 * plain[f'{HEAD}/Momentum'], rtol=1e-4, atol=1e-6)
    start = plain[BACKBONE] + 0.05 * plain[f'{BACKBONE}/Momentum']
    np.testing.assert_allclose(frozen[BACKBONE], start, rtol=1e-4, atol=1e-6)


def test_a_scope_that_is_not_there_is_refused(tmp_path):
    scope = 'learning_rate_multiplier { scope: "Prediction" factor: 2 }'
    with pytest.raises(ConfigError, match="no trained variable is in 'Prediction', did you mean 'Predictions'"):
        run(tmp_path, f'train_config {{ optimizer {{ {scope} }} }}')
