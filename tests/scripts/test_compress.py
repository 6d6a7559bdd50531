"""compress.py as a user calls it, on a narrow PSPNet trained for two steps: what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

import compress
import export
import train
from builders import config_loader
from core.errors import CheckpointError, UsageError, UserError
from engine import checkpoints, inference
from protos.pipeline_pb2 import PipelineConfig
from tests import commands

_LAYER = 'SharedFeatureExtractor/resnet_v1_18/block1/unit_1/lite_bottleneck_v1/conv1'
_PYRAMID = 'PSPModule/Conv_1'  # 512 filters at any filter_scale


@pytest.fixture
def flags(folder: Path, tmp_path: Path) -> list[str]:
    return [
        *('--config_path', str(folder / 'train.config'), '--input_checkpoint', str(folder / 'train')),
        *('--output_dir', str(tmp_path / 'out'), '--latency_size', '33,49', '--latency_images', '0'),
        *('--recalibrate_batches', '0', '--refit_batches', '0'),
    ]


def shapes(folder: Path) -> dict[str, list[int]]:
    found = checkpoints.read(folder).shapes
    # A cut net counts its own skipped steps.
    return {name: shape for name, shape in found.items() if not name.startswith(checkpoints.TRAINING_PREFIX)}


def config_in(folder: Path) -> PipelineConfig:
    return config_loader.load(str(folder / 'pipeline.config'), (), 'train')


def test_half_of_it_trains_on_and_is_compressed_again(flags, folder, tmp_path, capsys):
    assert compress.main([*flags, '--latency_images', '1']) == 0

    out = tmp_path / 'out'
    names = sorted(path.name for path in out.iterdir())
    data = 'model.ckpt-2.data-00000-of-00001'
    assert names == ['checkpoint', 'compression.json', data, 'model.ckpt-2.index', 'pipeline.config']
    before, after = shapes(folder / 'train'), shapes(out)
    assert set(before) == set(after)
    assert (before[f'{_LAYER}/weights'], after[f'{_LAYER}/weights']) == ([3, 3, 16, 16], [3, 3, 8, 8])
    assert after[f'{_LAYER}/weights/Momentum'] == [3, 3, 8, 8]
    assert config_in(out).model.pspnet.filter_scale == 0.125
    built = {n: v.shape.as_list() for n, v in inference.build_model(config_in(out)).variables_by_name().items()}
    assert built == {name: after[name] for name in built}

    printed = capsys.readouterr().out
    report = json.loads((out / 'compression.json').read_text())
    widths = {layer['layer']: (layer['before'], layer['after']) for layer in report['layers']}
    assert widths[_LAYER] == (16, 8) and widths[_PYRAMID] == (512, 512)
    assert f'{_LAYER} ' in printed and f'{_PYRAMID} ' not in printed
    assert (report['step'], report['share'], report['options']['criterion']) == (2, 0.5, 'l1')
    assert report['before']['checkpoint_bytes'] == (folder / 'train' / data).stat().st_size
    assert report['after']['checkpoint_bytes'] == (out / data).stat().st_size
    assert report['after']['gflops'] < report['before']['gflops'] and report['after']['latency_ms'] > 0

    resumed = tmp_path / 'resumed'
    shutil.copytree(out, resumed)
    one_more = [f'--config_path={out}/pipeline.config', f'--logdir={resumed}', '--set=train_config.num_steps=3']
    assert train.main(one_more) == 0
    assert checkpoints.latest(resumed) == str(resumed / 'model.ckpt-3')

    again = ['--config_path', str(out / 'pipeline.config'), '--input_checkpoint', str(resumed)]
    assert compress.main([*flags, *again, '--output_dir', str(tmp_path / 'quarter'), '--compression_factor=0.75']) == 0
    assert shapes(tmp_path / 'quarter')[f'{_LAYER}/weights'] == [3, 3, 6, 6]


def test_ranked_over_all_layers_with_pictures_and_zeros(flags, folder, tmp_path):
    wanted = ['--scope=global', '--target_parameters=0.5', '--interactive', '--skip_layers', 'resnet_v1_18/block1']
    assert compress.main([*flags, *wanted]) == 0

    out = tmp_path / 'out'
    report = json.loads((out / 'compression.json').read_text())
    assert 0.4 < report['after']['parameters'] / report['before']['parameters'] <= 0.5
    widths = {layer.scope: layer.num_filters for layer in config_in(out).model.layer_width}
    assert _PYRAMID in widths and _LAYER not in widths
    assert all(width % 8 == 0 for width in widths.values())
    pictures = list((out / 'filter_scores').iterdir())
    assert len(pictures) == len({layer['group'] for layer in report['layers']} - {''})
    assert all(Image.open(picture).size == (900, 400) for picture in pictures)

    whole = shapes(folder / 'train')
    assert compress.main([*flags, *wanted, '--soft_apply']) == 0  # in place of the first
    assert shapes(out) == whole
    assert config_in(out) == text_format.Parse((folder / 'train.config').read_text(), PipelineConfig())
    kernel = checkpoints.read(out).tensor(f'{_PYRAMID}/weights')
    assert int((np.abs(kernel).sum((0, 1, 2)) > 0).sum()) == widths[_PYRAMID]


def test_refitted_from_its_training_records(flags, folder, tmp_path, capsys):
    """The layers of inference, then the heads of training; a checkpoint of what the network has become."""
    plain, out = tmp_path / 'plain', tmp_path / 'out'
    assert compress.main([*flags, '--output_dir', str(plain)]) == 0
    assert compress.main([*flags, '--refit_batches=1']) == 0

    report = json.loads((out / 'compression.json').read_text())
    rows = {row['layer']: row for row in report['refitted']}
    assert list(rows) == [layer['layer'] for layer in report['layers']]
    # The 3x3 layer behind the pyramid reads all of its levels.
    left = {name: row['left'] for name, row in rows.items() if row['left']}
    assert list(left.values()) == ['each output has more than 8192 inputs']
    solved = [row for row in rows.values() if not row['left']]
    assert all(row['error'] <= row['error_before'] for row in solved)
    assert (
        max(row['error_before'] for row in solved) > 0.1
        and rows[_PYRAMID]['error'] < 0.9 * rows[_PYRAMID]['error_before']
    )
    assert f'refitted {len(solved)} of {len(rows)} layers' in capsys.readouterr().out

    was, now = checkpoints.read(plain), checkpoints.read(out)
    assert was.shapes == now.shapes
    for leaf in ('weights', 'BatchNorm/gamma', 'BatchNorm/moving_mean'):
        assert not np.array_equal(was.tensor(f'{_PYRAMID}/{leaf}'), now.tensor(f'{_PYRAMID}/{leaf}'))
    slot = f'{_PYRAMID}/weights/Momentum'
    assert np.array_equal(was.tensor(slot), now.tensor(slot))


@pytest.mark.slow
def test_taylor_reads_the_training_data_and_leaves_the_averages(flags, folder, tmp_path):
    small = ['--num_batches=1', '--compression_factor=0.99', '--divisor=16']
    assert compress.main([*flags, '--criterion=taylor', *small]) == 0
    moving = f'{_LAYER}/BatchNorm/moving_mean'  # 16 filters stay: no layer is cut
    before, after = (checkpoints.read(path).tensor(moving) for path in (folder / 'train', tmp_path / 'out'))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ('more', 'error', 'said'),
    [
        (['--compression_factor=0'], UsageError, '--compression_factor: got 0, choose above 0, up to 1'),
        (['--compression_factor=1.5'], UsageError, '--compression_factor: got 1.5, choose above 0, up to 1'),
        (['--skip_layers=PSPModul/Conv_1'], UsageError, "'PSPModul/Conv_1' names no layer; .* PSPModule/Conv_1"),
        (
            ['--target_flops=2k'],
            UserError,
            r'--target_flops: 2k FLOPs cannot be reached; this network goes from .* to',
        ),
        (['--refit_batches=-1'], UsageError, '--refit_batches: got -1, choose 0 or more'),
        (['--refit_batches=1', '--soft_apply'], UsageError, '--soft_apply: its network has inputs that'),
        (['--divisor=0'], UsageError, '--divisor: got 0, choose 1 or more'),
        (['--target_latency_ms=-1'], UsageError, '--target_latency_ms: got -1, choose above 0'),
        (['--input_checkpoint=nothing'], CheckpointError, 'nothing: no such checkpoint'),
        (
            ['--set=model.pspnet.filter_scale=0.5'],
            CheckpointError,
            r'^\S+: the checkpoint does not fit the model: \d+ of its \d+ variables have another shape, such as '
            r'(\S+/weights: \[[\d, ]+\] in the checkpoint, \[[\d, ]+\] in the model; ){3}use the config it was trained '
            r'with, or another --input_checkpoint$',
        ),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(flags, tmp_path, more, error, said):
    with pytest.raises(error, match=said):
        compress.main([*flags, *more])
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('flag', 'said'),
    [
        ('--compression_factor=half', "--compression_factor: got 'half', choose a number above 0, up to 1, such as"),
        ('--target_latency_ms=fast', "--target_latency_ms: got 'fast', choose a number above 0, such as 40"),
    ],
)
def test_what_is_no_number_is_answered_with_the_range(flag, said, capsys):
    with pytest.raises(SystemExit) as ended:
        compress.main(['--config_path=a', '--input_checkpoint=b', '--output_dir=c', flag])
    assert ended.value.code == 2 and f'error: argument {said}' in capsys.readouterr().err


def test_a_latency_that_is_missed_in_the_end_is_said():
    assert (compress._latency_warning(None, 5.0), compress._latency_warning(4.0, None)) == (None, None)
    assert compress._latency_warning(5.0, 5.0) is None
    said = compress._latency_warning(80.0, 89.76)
    assert said and said.startswith('warning: --target_latency_ms: 89.8 ms in the end, above 80: times vary')


def test_a_training_is_not_overwritten(flags, folder, tmp_path):
    with pytest.raises(UsageError, match='holds the input checkpoint; choose another folder'):
        compress.main([*flags, '--output_dir', str(folder / 'train')])
    shutil.copytree(folder / 'train', tmp_path / 'other')
    with pytest.raises(UsageError, match=r'model\.ckpt-2 but no compression.json, so it is no earlier compression'):
        compress.main([*flags, '--output_dir', str(tmp_path / 'other')])


def test_a_full_disk_leaves_nothing(flags, tmp_path, capfd):
    with commands.full_disk(65536):
        code = commands.exit_code(compress.main, flags)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    said = f'--output_dir: cannot write the compressed network into {tmp_path}/out: File too large; nothing was written'
    assert code == 1 and line.startswith(f'error: {said}: make room there')
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_what_was_cut_by_widths_is_exported_and_cut_again(flags, tmp_path):
    assert compress.main([*flags, '--scope=global', '--compression_factor=0.5']) == 0
    out = tmp_path / 'out'
    again = ['--config_path', str(out / 'pipeline.config'), '--input_checkpoint', str(out)]
    assert compress.main([*flags, *again, '--output_dir', str(tmp_path / 'again'), '--compression_factor=0.75']) == 0

    first, second = shapes(out), shapes(tmp_path / 'again')
    kernel = f'{_PYRAMID}/weights'
    assert second[kernel][3] == first[kernel][3] * 3 // 4
    config = str(tmp_path / 'again' / 'pipeline.config')
    exported = ['--trained_checkpoint', str(tmp_path / 'again'), '--output_dir', str(tmp_path / 'export')]
    assert export.main(['--config_path', config, *exported]) == 0
