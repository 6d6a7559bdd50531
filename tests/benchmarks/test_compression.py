"""Which pieces the compression benchmark has, what it takes as done, its table, and one whole run of small nets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compression, runner
from benchmarks.pruning import latency, recipe, table
from builders import config_loader
from core.errors import UsageError, UserError
from tests.conftest import ROOT
from tests.tiny_run import write_records

CONFIG = str(ROOT / compression.CONFIG)
RATE = 'train_config.optimizer.adamw_optimizer.learning_rate'


def make(folder: Path, **changes) -> recipe.Recipe:
    return recipe.Recipe(**{'config_path': CONFIG, 'output_dir': folder, **changes})


def test_pieces_come_after_what_they_are_made_from(tmp_path):
    names = [str(piece.folder.relative_to(tmp_path)) for piece in make(tmp_path).pieces()]
    assert names[:4] == ['base', 'cuts/taylor', 'cuts/taylor_refitted', 'taylor_refitted']
    assert len(names) == len(set(names)) == 18
    for cut in ('l1', 'l1_refitted', 'random_refitted', 'taylor_refitted', 'latency_refitted'):
        assert names.index(f'cuts/{cut}') < names.index(cut)
    assert names.index('cuts/latency') < names.index('cuts/latency_refitted')
    assert set(recipe.ROWS) <= set(names)


def test_a_training_of_the_same_config_is_the_same_piece_and_another_is_not(tmp_path):
    first, again = (make(tmp_path).pieces() for _ in range(2))
    assert [piece.fingerprint for piece in first] == [piece.fingerprint for piece in again]
    for changes in ({'num_steps': 900}, {'seed': 2}, {'overrides': ['train_config.batch_size=2']}):
        other = make(tmp_path, **changes).pieces()
        assert not {piece.fingerprint for piece in first} & {piece.fingerprint for piece in other}, changes
    longer = make(tmp_path, refit_batches=9).pieces()
    changed = [piece.name for piece, old in zip(longer, first, strict=True) if piece.fingerprint != old.fingerprint]
    assert 'base, seed 1' not in changed and 'l1_refitted, seed 1' in changed and 'cuts/l1, seed 1' not in changed


def test_schedules_end_with_the_training(tmp_path):
    overrides, config = make(tmp_path, num_steps=2000).config(2667, narrower=True)
    assert overrides == [
        *('model.icnet.filter_scale=0.25', 'train_config.num_steps=2667'),
        f'{RATE}.cosine_decay_learning_rate.decay_steps=2667',
    ]
    assert config.model.icnet.filter_scale == 0.25
    assert recipe.schedule(config, 667, shorter_warmup=True, rate_factor=2) == [
        *('train_config.num_steps=667', f'{RATE}.cosine_decay_learning_rate.decay_steps=667'),
        f'{RATE}.cosine_decay_learning_rate.initial_learning_rate=0.002',
        f'{RATE}.warmup.num_steps=66',
    ]


def test_the_refitted_nets_are_cut_and_trained_with_flags_of_their_own(tmp_path, monkeypatch):
    started: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(runner, 'run_script', lambda script, flags, name: started.append((script, list(flags))))
    monkeypatch.setattr(recipe, '_train', lambda name, folder, config, overrides: started.append((name, overrides)))
    pieces = {str(piece.folder.relative_to(tmp_path)): piece for piece in make(tmp_path).pieces()}
    metrics = {'step': 0, 'mean_iou': 0.5, 'class_iou': {}}
    for name in ('cuts/taylor', 'cuts/taylor_refitted', 'cuts/latency_refitted'):
        (tmp_path / name / 'eval').mkdir(parents=True)
        (tmp_path / name / 'eval' / 'metrics.json').write_text(json.dumps(metrics))
        config_loader.save(config_loader.load(CONFIG), str(tmp_path / name / 'pipeline.config'))
    (tmp_path / 'cuts' / 'latency').mkdir()
    (tmp_path / 'cuts' / 'latency' / 'compression.json').write_text('{"share": 0.4375, "options": {"divisor": 16}}')
    for name in ('cuts/taylor', 'cuts/taylor_refitted', 'cuts/latency_refitted'):
        pieces[name].work()
    given = [' '.join(flags) for script, flags in started if script == 'compress.py']
    assert ['--refit_batches 6' in flags for flags in given] == [False, True, True]
    assert '--refit_batches 0' in given[0] and all('--recalibrate_batches 0' in flags for flags in given)
    assert (
        '--scope global' in given[2]
        and '--compression_factor 0.4375 --divisor 16' in given[2]
        and '--target' not in given[2]
    )
    with pytest.raises(FileNotFoundError):  # training is replaced above: there is nothing to score
        pieces['taylor_refitted'].work()
    (name, overrides), (script, _) = started[-2:]
    assert (name, script) == ('taylor_refitted', 'eval.py')
    assert not any('distillation' in text for text in overrides)
    assert any(text.endswith('initial_learning_rate=0.002') for text in overrides)
    with pytest.raises(FileNotFoundError):
        pieces['distilled_refitted'].work()
    assert started[-2][1] == [
        *overrides,
        f'train_config.distillation.config_path={tmp_path}/base/pipeline.config',
        f'train_config.distillation.checkpoint={tmp_path}/base',
    ]


def test_a_training_of_another_config_is_not_gone_on_with(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(runner, 'run_script', lambda script, flags, name: started.append((script, flags)))
    base = make(tmp_path).pieces()[0]
    (tmp_path / 'base').mkdir()
    _, config = make(tmp_path).config(2000)
    config_loader.save(config, str(tmp_path / 'base' / 'pipeline.config'))
    (tmp_path / 'base' / 'eval').mkdir()
    metrics = {'step': 2000, 'mean_iou': 0.5, 'intervals': {'mean_iou': [0.4, 0.6]}, 'class_iou': {}}
    (tmp_path / 'base' / 'eval' / 'metrics.json').write_text(json.dumps(metrics))
    assert base.work()['mean_iou'] == 0.5 and [script for script, _ in started] == ['train.py', 'eval.py']
    config.train_config.batch_size = 5
    config_loader.save(config, str(tmp_path / 'base' / 'pipeline.config'))
    with pytest.raises(UserError, match='base: holds a training of another config'):
        base.work()
    config.train_config.batch_size = 6
    config_loader.save(config, str(tmp_path / 'base' / 'pipeline.config'))
    (tmp_path / 'base' / 'eval' / 'metrics.json').write_text(json.dumps({**metrics, 'step': 1500}))
    with pytest.raises(UserError, match='base: training ended at step 1500 of 2000'):
        base.work()


def test_a_net_alone_brings_what_it_is_made_from(tmp_path):
    def chosen(only: str) -> list[str]:
        wanted = compression._wanted(only)
        return [p.folder.name for p in make(tmp_path).pieces() if compression._needed(p, wanted)]

    assert chosen('l1') == ['base', 'l1', 'l1']
    assert chosen('scratch') == ['base', 'scratch']
    assert chosen('continued') == ['base', 'continued']
    assert chosen('taylor_refitted') == ['base', 'taylor', 'taylor_refitted', 'taylor_refitted']
    assert chosen('iterated') == ['base', 'iterated']
    assert chosen('distilled_refitted') == ['base', 'taylor', 'taylor_refitted', 'distilled_refitted']
    assert chosen('latency_refitted') == ['base', 'latency', 'latency_refitted', 'latency_refitted']
    with pytest.raises(UsageError, match=r'--only: got .l2., choose from'):
        chosen('l2')


def test_the_table_is_written_between_its_marks_and_nowhere_else(tmp_path):
    explained = make(tmp_path, config_path='configs/x.config')
    result = {'interval': [0.51, 0.53], 'class_iou': {}}
    found = {
        'base': {'mean_iou': 0.54, **result},
        'cuts/l1': {'mean_iou': 0.1, **result},
        'cuts/l1_refitted': {'mean_iou': 0.3, **result},
        'l1_refitted': {'mean_iou': 0.52, **result},
    }
    costs = {'l1_refitted': {'million_parameters': 1.69, 'gflops': 2.67, 'latency_ms': 30.04}}
    rows = table.summarise({1: found}, costs)
    assert [row['row'] for row in rows] == ['base', 'l1_refitted']
    text = table.section(rows, made_by='python x.py', explained=explained, cpus=2)
    assert '| uniform, L1; refitted | 54.0 | 10.0 | 30.0 | **52.0** (51.0..53.0) | 1 | 1.69 | 2.7 | 30.0 |' in text
    two = table.summarise({1: found, 2: {**found, 'l1_refitted': {'mean_iou': 0.54, **result}}}, costs)
    assert '**53.0** (52.0, 54.0) | 2 |' in table.section(two, made_by='', explained=explained, cpus=2)
    narrow = make(tmp_path, config_path='configs/x.config', overrides=['model.icnet.filter_scale=0.25'])
    assert '(../configs/x.config), with `model.icnet.filter_scale=0.25` from scratch' in table.section(
        rows, made_by='', explained=narrow, cpus=2
    )
    page = tmp_path / 'page.md'
    page.write_text(f'above\n{table.BEGIN}\nold\n{table.END}\nbelow\n')
    for _ in range(2):
        table.write(page, text)
    assert page.read_text() == f'above\n{table.BEGIN}\n{text}\n{table.END}\nbelow\n'
    page.write_text('no marks')
    with pytest.raises(UserError, match='has no lines'):
        table.write(page, text)


def test_latency_is_of_evaluation_images_in_turns(tmp_path):
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20)]
    labels = [np.zeros((4, 6), np.uint8)] * 2
    write_records(tmp_path / 'a.record', pictures, labels, ['0.png', '1.png'])
    config = config_loader.load(CONFIG)
    config.eval_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / 'a.record')]
    timed = latency.pictures_of(config, (8, 9), 3)
    assert [(image.shape, image.dtype, image[0, 0, 0]) for image in timed] == [
        ((8, 9, 3), np.uint8, v) for v in (10, 20, 10)
    ]

    order: list[str] = []
    slow, fast = (lambda picture: (order.append('slow'), time.sleep(0.02))), (lambda picture: order.append('fast'))
    milliseconds = latency.interleaved([slow, fast], timed)
    assert order == ['slow', 'fast'] * 3 and milliseconds[0] >= 20


@pytest.mark.slow
def test_everything_from_training_to_the_table_once(tmp_path):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(6)]
    labels = [rng.integers(0, 11, (120, 160)).astype(np.uint8) for _ in range(6)]
    write_records(tmp_path / 'a.record', pictures, labels, [f'{i}.png' for i in range(6)])
    reader = 'tf_record_input_reader.input_path=["{}"]'.format(tmp_path / 'a.record')
    fields = (
        *(f'train_input_reader.{reader}', f'eval_input_reader.{reader}', 'model.icnet.filter_scale=0.25'),
        *('train_config.batch_size=2', 'train_config.log_every_n_steps=1', 'model.icnet.input_scale=1'),
    )
    page = tmp_path / 'page.md'
    command = [sys.executable, '-m', 'benchmarks.compression', '--output_dir', str(tmp_path / 'runs'), '--steps', '6']
    command += ['--images', '3', '--output', str(page), *(word for field in fields for word in ('--set', field))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row['row']: row for row in report['nets']}
    assert set(rows) == set(recipe.ROWS)
    assert rows['l1_refitted']['million_parameters'] == rows['scratch']['million_parameters']
    assert rows['l1_refitted']['gflops'] < rows['base']['gflops'] and rows['base']['latency_ms'] > 0
    assert '| not compressed |' in page.read_text()

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert '18 of 18 runs are finished' in again.stderr and 'step ' not in again.stderr
    assert json.loads(again.stdout) == report
