"""Damaged checkpoints, full disks, and folders that are gone or may not be written: told, and nothing good is lost."""

from __future__ import annotations

import logging
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from core.errors import CheckpointError, DamagedCheckpointError, UserError
from engine import checkpoint_queue, checkpoints
from engine.train_lib import TrainOptions, train
from tests.tiny_training import build_dataset, build_model, config

KERNEL = np.arange(600, dtype=np.float32).reshape(20, 30)


def save_steps(directory, steps):
    return [
        checkpoints.save(directory, step, {'conv/weights': KERNEL + step, 'conv/biases': KERNEL[0]}) for step in steps
    ]


def content(path):
    reader = checkpoints.read(path)
    reader.verify()
    return {name: (reader.dtype(name), reader.shapes[name], reader.tensor(name).tobytes()) for name in reader.shapes}


def files_of(path):
    return [Path(f'{path}.index'), Path(f'{path}.data-00000-of-00001')]


@pytest.mark.parametrize('number', [0, 1], ids=['index', 'data'])
def test_no_flipped_bit_passes_for_a_sound_checkpoint(tmp_path, number):
    """Every byte of a checkpoint, one bit at a time: found, or of no consequence."""
    (path,) = save_steps(tmp_path, [4])
    whole, file = content(path), files_of(path)[number]
    good = file.read_bytes()
    rng, found = np.random.default_rng(number), 0
    places = range(len(good)) if len(good) < 400 else rng.choice(len(good), 200, replace=False)
    for place in places:
        file.write_bytes(good[:place] + bytes([good[place] ^ (1 << int(rng.integers(8)))]) + good[place + 1 :])
        try:
            assert content(path) == whole, place
        except DamagedCheckpointError as error:
            assert str(error).startswith(path) and '\n' not in str(error)
            found += 1
    assert found > 0.7 * len(places)


@pytest.mark.parametrize('number', [0, 1], ids=['index', 'data'])
def test_no_cut_checkpoint_passes_for_a_sound_one(tmp_path, number):
    (path,) = save_steps(tmp_path, [4])
    file = files_of(path)[number]
    good = file.read_bytes()
    for length in {0, 1, len(good) - 1, *np.random.default_rng(number).integers(1, len(good), 20).tolist()}:
        file.write_bytes(good[:length])
        with pytest.raises(DamagedCheckpointError, match=r'model.ckpt-4: the checkpoint is damaged or incomplete'):
            content(path)


def damage(path):
    data = files_of(path)[1]
    data.write_bytes(data.read_bytes()[:-7])


def test_a_folder_means_its_newest_sound_checkpoint(tmp_path, caplog):
    paths = save_steps(tmp_path, [1, 2, 3])
    damage(paths[2])
    files_of(paths[1])[1].unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.read(tmp_path).path == paths[0]
        assert checkpoint_queue.newest(str(tmp_path)) == paths[0]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4 and not any('\n' in line for line in said)
    assert said[0].startswith(f'{paths[2]}: the checkpoint is damaged or incomplete')
    assert said[1] == (
        f'{paths[1]}: the index is there but its data file model.ckpt-2.data-00000-of-00001 is missing; '
        'trying the one before'
    )
    damage(paths[0])
    with pytest.raises(CheckpointError, match='all 3 checkpoints are damaged'):
        checkpoints.read(tmp_path)


def test_one_that_is_removed_while_it_is_read_is_not_called_damaged(tmp_path, monkeypatch, caplog):
    paths = save_steps(tmp_path, [1, 2])
    verify = checkpoints.Reader.verify

    def removed_meanwhile(reader):
        if reader.path == paths[1]:
            checkpoints.remove(reader.path)
            raise DamagedCheckpointError(reader.path, 'gone')
        verify(reader)

    monkeypatch.setattr(checkpoints.Reader, 'verify', removed_meanwhile)
    assert checkpoints.newest_sound(tmp_path) == paths[0]
    assert not caplog.records


def run(logdir, *overrides, dataset=build_dataset):
    return train(
        config('train_config { save_checkpoint_every_n_steps: 2 }', *overrides),
        TrainOptions(logdir=str(logdir)),
        build_model=build_model,
        build_dataset=dataset,
    )


def before_step(step, happens, after):
    """`build_dataset`, but `happens()` before the batch of `step` is given out, once the checkpoint `after` is there.

    Batches are made some steps before they are needed.
    """

    def dataset(config, *, batch_size, seed, first_step=0):
        import tensorflow as tf

        def tell(number):
            if number == step:
                deadline = time.monotonic() + 60
                while not Path(f'{after}.index').exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
                happens()
            return number

        batches = build_dataset(config, batch_size=batch_size, seed=seed, first_step=first_step)
        numbered = batches.enumerate(start=first_step + 1)
        return numbered.map(
            lambda number, batch: {
                **batch,
                'image': batch['image'] + 0 * tf.cast(tf.numpy_function(tell, [number], tf.int64), tf.float32),
            }
        )

    return dataset


@pytest.fixture
def small_disk():
    """What a full disk does to this process: a file that grows beyond some bytes is refused."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda num_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limit[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, previous)


@pytest.mark.parametrize('num_bytes', [0, 300, 700])
def test_a_full_disk_keeps_the_last_good_checkpoint_and_the_run_goes_on_from_there(tmp_path, small_disk, num_bytes):
    run(tmp_path / 'whole')
    with pytest.raises(CheckpointError) as caught:
        run(
            tmp_path / 'full', dataset=before_step(4, lambda: small_disk(num_bytes), tmp_path / 'full' / 'model.ckpt-2')
        )
    kept = f'last good checkpoint: {tmp_path}/full/model.ckpt-2; make room'
    assert kept in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(UserError, match=f'{kept}|pipeline.config: cannot write the config: File too large'):
        run(tmp_path / 'full')  # The disk is full from the start.
    small_disk(resource.RLIM_INFINITY)
    assert [checkpoints.step_of(path) for path in checkpoints.all_checkpoints(tmp_path / 'full')] == [2]
    assert not [name for name in os.listdir(tmp_path / 'full') if name.startswith('unfinished')]
    assert run(tmp_path / 'full') == 6
    assert content(tmp_path / 'full') == content(tmp_path / 'whole')


def test_a_checkpoint_is_the_last_good_one_where_only_the_list_beside_it_was_refused(tmp_path, monkeypatch):
    def refused(*_):
        import tensorflow as tf

        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(checkpoints, '_write_state', refused)
    with pytest.raises(CheckpointError, match=f'No space left.*; last good checkpoint: {tmp_path}/model.ckpt-2; make'):
        run(tmp_path)


def test_a_log_directory_that_is_removed_ends_the_run_and_is_not_made_again(tmp_path):
    logdir = tmp_path / 'run'
    with pytest.raises(CheckpointError, match=r'run: the log directory is gone, removed while training; ended after'):
        run(logdir, dataset=before_step(5, lambda: logdir.rename(tmp_path / 'elsewhere'), logdir / 'model.ckpt-2'))
    assert not checkpoints.all_checkpoints(logdir)


def refuse_writes(monkeypatch, folder):
    """Makes TensorFlow refuse what a read-only file system would: root may write into any folder otherwise."""
    import tensorflow as tf

    def refused(*args, **kwargs):
        raise tf.errors.FailedPreconditionError(None, None, f'{folder}/x; Read-only file system')

    monkeypatch.setattr(tf.raw_ops, 'SaveV2', refused)


def test_a_read_only_file_system_is_said_with_the_last_good_checkpoint(tmp_path, monkeypatch):
    dataset = before_step(4, lambda: refuse_writes(monkeypatch, tmp_path), tmp_path / 'model.ckpt-2')
    with pytest.raises(
        CheckpointError, match=r'Read-only file system; last good checkpoint: .*model.ckpt-2; make room'
    ):
        run(tmp_path, dataset=dataset)
    assert content(tmp_path / 'model.ckpt-2')
