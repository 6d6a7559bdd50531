"""The three scripts on a narrow ICNet, as a user calls them; then each wrong flag and its line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval as eval_script
import export as export_script
import predict as predict_script
from core.errors import CheckpointError, UsageError, UserError
from tests import tiny_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return tiny_run.make(tmp_path_factory.mktemp('run'), num_examples=2)


@pytest.fixture(scope='module')
def model(run):
    """The network with seeded weights, saved as `train/model.ckpt-5`."""
    from builders import config_loader
    from engine import checkpoints, inference

    model = inference.build_model(config_loader.load(run.config_path, (), 'eval'))
    rng = np.random.default_rng(0)
    for name, variable in model.variables_by_name().items():
        if name.endswith('weights'):
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape))
    logits = model.predict(model.preprocess(run.images[0][np.newaxis]), is_training=False)['logits']
    biases = model.variables_by_name()['Predictions/Conv/biases']
    biases.assign_sub(logits.numpy().mean((0, 1, 2)))  # so that every class is predicted somewhere
    checkpoints.save(run.folder / 'train', 5, model.variables_by_name())
    return model


def _class_ids(model, image):
    logits = model.predict(model.preprocess(image[np.newaxis]), is_training=False)['logits']
    return logits.numpy()[0].argmax(-1)


def _flags(run, *more):
    return ['--config_path', run.config_path, *map(str, more)]


def test_eval_scores_the_newest_checkpoint(run, model, tmp_path, capsys):
    assert eval_script.main(_flags(run, '--train_dir', run.folder / 'train', '--eval_dir', tmp_path)) == 0
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    counts = np.zeros((3, 3), int)
    for image, label in zip(run.images, run.labels, strict=True):
        counted = label != 255
        np.add.at(counts, (label[counted], _class_ids(model, image)[counted]), 1)
    assert (counts.sum(0) > 0).all()
    # An image traced at a free size may round another way than the same image run eagerly: few pixels, never many.
    assert np.abs(np.array(metrics['confusion_matrix']) - counts).sum() <= 0.002 * counts.sum()
    assert (metrics['num_examples'], metrics['step'], metrics['config']) == (4, 5, run.config_path)
    printed = capsys.readouterr().out
    assert 'pixel accuracy' in printed
    assert 'note: eval_config.num_examples is 2; all 4 records were scored' in printed
    assert (tmp_path / 'pipeline.config').exists()


def test_eval_of_a_padded_input_by_override(run, model, tmp_path):
    padded = 'eval_config.eval_input_type.padded_eval_input'
    overrides = ['--set', f'{padded}.height=70', '--set', f'{padded}.width=99']
    checkpoint = run.folder / 'train' / 'model.ckpt-5'
    eval_script.main(_flags(run, '--checkpoint', checkpoint, '--eval_dir', tmp_path, '--image_summaries', *overrides))
    metrics = json.loads((tmp_path / 'metrics-5.json').read_text())
    assert metrics['eval_input'] == 'padded to 70 x 99'
    assert metrics['num_pixels'] == sum((label != 255).sum() for label in run.labels)


def test_eval_saves_what_predict_writes(run, model, tmp_path, capsys):
    """The pictures of an evaluation are byte for byte those of predict.py on the same image."""
    Image.fromarray(run.images[0]).save(tmp_path / 'street_0.png')
    flags = ['--checkpoint', run.folder / 'train' / 'model.ckpt-5', '--eval_dir', tmp_path / 'eval']
    assert eval_script.main(_flags(run, *flags, '--save_predictions', 'ids,label_ids,color,overlay')) == 0
    folder = tmp_path / 'eval' / 'predictions-5'
    assert f'predictions of 4 images in {folder}' in capsys.readouterr().out
    assert len(list(folder.iterdir())) == 16
    for more, suffixes in (([], ('ids', 'color', 'overlay')), (['--label_ids', '--outputs', 'ids'], ('labelIds',))):
        source = ['--trained_checkpoint', run.folder / 'train', '--input_path', tmp_path / 'street_0.png']
        assert predict_script.main(_flags(run, *source, '--output_dir', tmp_path / 'out', *more)) == 0
        for suffix in suffixes:
            written = tmp_path / 'out' / f'street_0_{suffix.replace("labelIds", "ids")}.png'
            assert (folder / f'street_0_{suffix}.png').read_bytes() == written.read_bytes()
    with pytest.raises(UserError, match=r'street_0\.png: the server wants names'):
        eval_script.main(_flags(run, *flags, '--save_predictions', 'cityscapes'))


def test_eval_leaves_intervals_and_a_line_for_each_image(run, model, tmp_path, capsys):
    overrides = ['--set', 'eval_config.group_pattern=street_([0-9])', '--set', 'eval_config.bootstrap_samples=100']
    eval_script.main(_flags(run, '--train_dir', run.folder / 'train', '--eval_dir', tmp_path, *overrides))
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    records = [json.loads(line) for line in (tmp_path / metrics['images']).read_text().splitlines()]
    assert [record['group'] for record in records] == ['0', '1', '2', '3']
    low, high = metrics['intervals']['mean_iou']
    assert low <= metrics['mean_iou'] <= high
    assert (metrics['intervals']['unit'], metrics['intervals']['num_samples']) == ('group', 100)
    printed = capsys.readouterr().out
    assert '95 % interval' in printed and '100 resamples of 4 groups' in printed


def test_compare_of_folders_checkpoints_and_configs(run, model, tmp_path, capsys):
    checkpoint = run.folder / 'train' / 'model.ckpt-5'
    few = ['--set', 'eval_config.bootstrap_samples=100']
    eval_script.main(_flags(run, '--checkpoint', checkpoint, '--eval_dir', tmp_path / 'one', *few))
    places = [str(tmp_path / 'one'), str(checkpoint)]
    flags = ['--compare', *places, '--eval_dir', str(tmp_path / 'out')]
    assert eval_script.main([*flags, '--config_path', run.config_path, *few]) == 0
    comparison = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    assert comparison['b']['metrics'] == str(tmp_path / 'out' / 'b' / 'metrics.json')
    assert comparison['mean_iou']['difference'] == 0 and comparison['sign_test']['equal'] == 4
    assert 'sign test over images: B better on 0, A on 0, equal on 4; p = 1' in capsys.readouterr().out
    # Both are there now: neither config nor network is needed.
    finished = ['--compare', str(tmp_path / 'one' / 'metrics-5.json'), str(tmp_path / 'out' / 'b')]
    assert eval_script.main([*finished, '--eval_dir', str(tmp_path / 'again')]) == 0
    plain = tmp_path / 'plain.config'
    plain.write_text(
        Path(run.config_path).read_text().replace('eval_config {', 'eval_config { detailed_metrics: false')
    )
    both = ['--compare', str(tmp_path / 'one'), str(plain), '--checkpoint', str(checkpoint)]
    assert eval_script.main([*both, '--eval_dir', str(tmp_path / 'third'), *few]) == 0
    third = json.loads((tmp_path / 'third' / 'comparison.json').read_text())
    assert third['b']['config'] == str(plain) and 'boundary_iou' not in third


def test_export_then_predict_from_both(run, model, tmp_path, capsys):
    Image.fromarray(run.images[0]).save(tmp_path / 'street.png')
    exported, train = tmp_path / 'export', run.folder / 'train'
    assert export_script.main(_flags(run, '--trained_checkpoint', train, '--output_dir', exported)) == 0
    assert 'frozen_graph: 100.000 % of the class ids equal' in capsys.readouterr().out
    expected = _class_ids(model, run.images[0])
    for source in (['--exported', str(exported)], _flags(run, '--trained_checkpoint', train)):
        output_dir = tmp_path / 'out'
        flags = ['--input_path', str(tmp_path / 'street.png'), '--output_dir', str(output_dir)]
        assert predict_script.main([*source, *flags]) == 0
        assert sorted(path.name for path in output_dir.iterdir()) == [
            'street_color.png',
            'street_ids.png',
            'street_overlay.png',
        ]
        assert (np.asarray(Image.open(output_dir / 'street_ids.png')) == expected).mean() >= 0.999
    # The exported checkpoint has no auxiliary heads, and evaluates all the same.
    eval_flags = ['--checkpoint', exported / 'model.ckpt', '--eval_dir', tmp_path / 'eval']
    assert eval_script.main(_flags(run, *eval_flags)) == 0
    assert json.loads((tmp_path / 'eval' / 'metrics.json').read_text())['step'] == 5


def test_predict_through_windows_by_flags_and_by_the_config(run, model, tmp_path):
    Image.fromarray(run.images[0]).save(tmp_path / 'street.png')
    more = ['--input_path', tmp_path / 'street.png', '--outputs', 'ids', '--trained_checkpoint', run.folder / 'train']
    flags = ['--window', '40,64', '--scales', '1,1.5', '--flip']
    inference = '--set=eval_config.inference={sliding_window { height: 40 width: 64 } scale: [1, 1.5] flip: true}'
    written = []
    for name, views in (('flags', flags), ('config', [inference]), ('off', [inference, '--noflip', '--scales', '1'])):
        assert predict_script.main(_flags(run, *more, '--output_dir', tmp_path / name, *views)) == 0
        written.append(np.asarray(Image.open(tmp_path / name / 'street_ids.png')))
    np.testing.assert_array_equal(written[0], written[1])
    assert (written[1] != written[2]).any()


@pytest.mark.slow
def test_export_with_probabilities(run, model, tmp_path):
    flags = ['--trained_checkpoint', run.folder / 'train', '--output_dir', tmp_path / 'export']
    assert export_script.main(_flags(run, *flags, '--output_probabilities')) == 0
    Image.fromarray(run.images[0]).save(tmp_path / 'street.png')
    for name, source in (('graph', ['--exported', tmp_path / 'export']), ('live', _flags(run, *flags[:2]))):
        more = ['--input_path', tmp_path / 'street.png', '--outputs', 'ids', '--output_dir', tmp_path / name]
        assert predict_script.main([*map(str, [*source, *more]), '--flip', '--window', '48,64']) == 0
    graph, live = (np.asarray(Image.open(tmp_path / name / 'street_ids.png')) for name in ('graph', 'live'))
    assert (graph == live).mean() >= 0.999


def test_a_checkpoint_of_another_width_is_one_line_with_the_first_mismatch(run, model, tmp_path):
    flags = ['--trained_checkpoint', run.folder / 'train', '--output_dir', tmp_path / 'export']
    with pytest.raises(CheckpointError) as caught:
        export_script.main(_flags(run, *flags, '--set', 'model.icnet.filter_scale=0.5'))
    said = str(caught.value)
    assert re.search(
        r'the checkpoint does not fit the model: \d+ of its \d+ variables have another shape, such as '
        r'([\w/]+/weights: \[[\d, ]+\] in the checkpoint, \[[\d, ]+\] in the model; ){3}use the config it was trained '
        r'with, or',
        said,
    )
    assert '\n' not in said
    assert not (tmp_path / 'export').exists()


@pytest.mark.parametrize('script', [export_script, predict_script])
def test_an_input_shape_too_small_for_the_network_is_a_usage_error(run, model, tmp_path, script):
    Image.fromarray(run.images[0]).save(tmp_path / 'street.png')
    more = ['--input_path', tmp_path / 'street.png'] if script is predict_script else []
    flags = ['--trained_checkpoint', run.folder / 'train', '--output_dir', tmp_path / 'out', *more]
    with pytest.raises(UsageError, match=r'--input_shape: its height, 3, is too small for this network') as caught:
        script.main(_flags(run, *flags, '--input_shape', '3,224,3'))
    assert caught.value.exit_code == 2 and '\n' not in str(caught.value)
    assert not list(tmp_path.glob('out/*'))


@pytest.mark.parametrize('script', [eval_script, export_script, predict_script])
def test_help_teaches_by_examples(script, capsys):
    with pytest.raises(SystemExit) as caught:
        script.main(['--help'])
    assert caught.value.code == 0
    assert 'examples:' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--eval_dir', 'e'], '--train_dir is missing'),
        (['--eval_dir', 'e', '--compare', 'a', 'b', '--save_predictions', 'ids'], '--compare: saves no predictions'),
        (['--eval_dir', 'e', '--train_dir', 't', '--follow_poll_secs', '0'], 'got 0, choose a number above 0'),
        (['--eval_dir', 'e', '--checkpoint', 'c', '--follow'], '--follow needs a --train_dir to follow'),
        (
            ['--eval_dir', 'e', '--train_dir', 't', '--follow_timeout_secs', '-1'],
            'got -1, choose 0 or more',
        ),
        (['--eval_dir', 'e', '--train_dir', 't', '--follow_timeout_secs', 'nan'], 'got nan, choose 0 or more'),
        (['--eval_dir', 'e', '--compare', 'a', 'b', '--follow'], '--compare: of two evaluations; remove --follow'),
        (
            ['--eval_dir', 'e', '--compare', 'a', 'b.config'],
            r'b\.config needs the checkpoint to evaluate: --c',
        ),
    ],
)
def test_wrong_flags_of_eval(run, flags, message):
    with pytest.raises(UsageError, match=message):
        eval_script.main(_flags(run, *flags))


def test_eval_without_a_config_says_so(tmp_path):
    with pytest.raises(UsageError, match='--config_path is missing'):
        eval_script.main(['--train_dir', str(tmp_path), '--eval_dir', str(tmp_path)])
    with pytest.raises(UsageError, match=r'--compare: /nowhere: no metrics\.json there; give an eval_dir'):
        eval_script.main(['--compare', '/nowhere', '/nowhere', '--eval_dir', str(tmp_path)])


def test_a_train_dir_without_checkpoints_is_named(run, tmp_path):
    with pytest.raises(CheckpointError, match=r'no checkpoint \(model\.ckpt-<step>\).*check --train_dir'):
        eval_script.main(_flags(run, '--train_dir', tmp_path, '--eval_dir', tmp_path / 'eval'))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'give either --trained_checkpoint with its --config_path, or --exported'),
        (['--exported', 'x', '--trained_checkpoint', 'y'], 'give either --trained_checkpoint'),
        (['--trained_checkpoint', 'y'], '--trained_checkpoint needs the --config_path'),
        (['--exported', 'x', '--pad_to_shape', '5,5'], 'fixed in an export; give them to export.py'),
        (['--exported', 'x', '--set', 'a=b'], '--set changes a config'),
        (
            ['--exported', 'x', '--overlap', '0.5'],
            '--overlap and --blend are about windows: give their',
        ),
    ],
)
def test_wrong_flags_of_predict(flags, message):
    with pytest.raises(UsageError, match=message):
        predict_script.main(['--input_path', 'x.png', *flags])


@pytest.mark.parametrize(
    ('script', 'flags', 'message'),
    [
        (
            eval_script,
            ['--eval_dir', 'e', '--save_predictions', 'ids,masks'],
            "got 'masks', choose from ids",
        ),
        (export_script, ['--input_shape', '1024x2048'], 'expected height,width,3 or batch,height,width,3'),
        (export_script, ['--input_shape', '1024,2048'], "got '1024,2048', expected height,width,3 or batch,height,wid"),
        (export_script, ['--input_shape', '1,2,3,4,5'], 'expected height,width,3 or batch,height,width,3'),
        (export_script, ['--input_shape', '1024,2048,None'], 'expected height,width,3 or batch,height,width,3'),
        (export_script, ['--input_shape', '0,2048,3'], "got '0,2048,3': '0' is not a whole number of 1 or more"),
        (export_script, ['--input_shape', 'high,wide,3'], "'high' is not a whole number of 1 or more"),
        (predict_script, ['--input_path', 'x', '--input_shape=-5,8,3'], "'-5' is not a whole number of 1 or more"),
        (export_script, ['--pad_to_shape', '1025'], 'expected height,width, for example 1025,2049'),
        (predict_script, ['--input_path', 'x', '--window', '512'], 'expected height,width, for example'),
        (predict_script, ['--input_path', 'x', '--overlap', '1'], "got '1', choose from 0 to below 1"),
        (predict_script, ['--input_path', 'x', '--blend', 'cubic'], "invalid choice: 'cubic'"),
        (predict_script, ['--input_path', 'x', '--scales', '1,0'], "got '1,0', choose numbers above 0, up to 4"),
        (predict_script, ['--input_path', 'x', '--scales', 'big'], "got 'big', expected a number"),
        (predict_script, ['--input_path', 'x', '--outputs', 'ids,colour'], "'colour', choose from ids, color, overlay"),
    ],
)
def test_wrong_values_are_usage_errors(script, flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        common = [] if script is eval_script else ['--trained_checkpoint', 'x', '--output_dir', 'x']
        script.main(['--config_path', 'x', *common, *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_failed_picture_gives_exit_code_1(run, model, tmp_path):
    (tmp_path / 'bad.png').write_text('no picture')
    Image.fromarray(run.images[0]).save(tmp_path / 'good.png')
    flags = ['--trained_checkpoint', run.folder / 'train', '--input_path', tmp_path, '--output_dir', tmp_path / 'out']
    assert predict_script.main(_flags(run, *flags)) == 1
    assert (tmp_path / 'out' / 'good_ids.png').exists()


@pytest.mark.parametrize('script', ['eval', 'export', 'predict'])
def test_a_missing_config_is_answered_before_tensorflow_is_loaded(script):
    flags = {
        'eval': ['--train_dir', 'x', '--eval_dir', 'x'],
        'export': ['--trained_checkpoint', 'x', '--output_dir', 'x'],
        'predict': ['--trained_checkpoint', 'x', '--input_path', 'x'],
    }[script]
    program = (
        'import importlib, sys\n'
        'from core.errors import ConfigError\n'
        f'script = importlib.import_module({script!r})\n'
        'try:\n'
        f'    script.main(["--config_path", "missing.config", *{flags!r}])\n'
        'except ConfigError as error:\n'
        '    assert "missing.config" in str(error)\n'
        '    assert "tensorflow" not in sys.modules\n'
        '    sys.exit(42)\n'
    )
    assert subprocess.run([sys.executable, '-c', program], cwd=ROOT, check=False).returncode == 42


def test_the_command_prints_one_line_and_exits_with_2():
    command = [sys.executable, 'eval.py', '--config_path', 'missing.config', '--train_dir', 'x', '--eval_dir', 'x']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: missing.config') and 'Traceback' not in done.stderr
