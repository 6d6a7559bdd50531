"""Checkpoints: format, atomic writes, rotation, damage, and the report of a restore."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from core.errors import CheckpointError
from engine import checkpoints

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def save_steps(directory, steps):
    return [checkpoints.save(directory, step, {'conv/weights': KERNEL + step}) for step in steps]


def names(directory):
    return sorted(os.listdir(directory))


def damage(path, how):
    data = Path(f'{path}.data-00000-of-00001')
    if how == 'truncated':
        data.write_bytes(data.read_bytes()[:-3])
    elif how == 'flipped':
        data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    elif how == 'no data':
        data.unlink()
    else:
        Path(f'{path}.index').write_bytes(b'nonsense')


def test_tensorflow_reads_what_is_saved(tmp_path):
    path = checkpoints.save(tmp_path, 7, {'conv/weights': tf.Variable(KERNEL), 'conv/weights/Momentum': KERNEL * 2})
    assert path == str(tmp_path / 'model.ckpt-7')
    assert tf.train.latest_checkpoint(str(tmp_path)) == path
    reader = tf.train.load_checkpoint(path)
    np.testing.assert_array_equal(reader.get_tensor('conv/weights'), KERNEL)
    assert reader.get_tensor('global_step') == 7 and reader.get_variable_to_dtype_map()['global_step'] == tf.int64


def test_a_tensorflow_1_saver_reads_and_writes_the_same_format(tmp_path):
    path = checkpoints.save(tmp_path, 3, {'conv/weights': KERNEL})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable('conv/weights', shape=[2, 3])
        saver = tf.compat.v1.train.Saver()
        saver.restore(session, path)
        np.testing.assert_array_equal(session.run(variable), KERNEL)
        theirs = saver.save(session, str(tmp_path / 'other' / 'model.ckpt'), global_step=12)
    reader = checkpoints.read(theirs)
    np.testing.assert_array_equal(reader.tensor('conv/weights'), KERNEL)
    assert checkpoints.latest(tmp_path / 'other') == theirs


def test_read_takes_a_prefix_a_file_or_a_directory(tmp_path):
    save_steps(tmp_path, [5, 10])
    for path in (tmp_path, tmp_path / 'model.ckpt-10', tmp_path / 'model.ckpt-10.index'):
        reader = checkpoints.read(path)
        assert reader.path == str(tmp_path / 'model.ckpt-10')
        assert reader.shapes == {'conv/weights': [2, 3], 'global_step': []}
        assert reader.tensor('global_step') == 10


def test_listing_is_in_step_order(tmp_path):
    save_steps(tmp_path, [100, 20, 3])
    assert [checkpoints.step_of(path) for path in checkpoints.all_checkpoints(tmp_path)] == [3, 20, 100]
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'model.ckpt-100')
    assert checkpoints.latest(tmp_path / 'missing') is None
    assert checkpoints.all_checkpoints(tmp_path / 'missing') == []


def test_latest_follows_the_state_file_for_other_names(tmp_path):
    checkpoints.write(tmp_path / 'pruned.ckpt', {'conv/weights': KERNEL})
    tf.compat.v1.train.update_checkpoint_state(str(tmp_path), str(tmp_path / 'pruned.ckpt'))
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'pruned.ckpt')


def test_rotation_keeps_the_newest(tmp_path):
    save_steps(tmp_path, range(1, 6))
    removed = checkpoints.rotate(tmp_path, max_to_keep=2)
    assert [checkpoints.step_of(path) for path in removed] == [1, 2, 3]
    assert names(tmp_path) == [
        'checkpoint',
        *(f'model.ckpt-{step}.{part}' for step in (4, 5) for part in ('data-00000-of-00001', 'index')),
    ]
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert [os.path.basename(path) for path in state.all_model_checkpoint_paths] == ['model.ckpt-4', 'model.ckpt-5']


def test_rotation_of_0_keeps_all(tmp_path):
    save_steps(tmp_path, range(4))
    assert checkpoints.rotate(tmp_path, max_to_keep=0) == []
    assert len(checkpoints.all_checkpoints(tmp_path)) == 4


def test_rotation_keeps_one_for_good_every_n_hours(tmp_path):
    """Saved every half hour, three newest kept: one an hour stays for good."""
    start = 1_700_000_000
    first = None
    for number in range(8):
        (path,) = save_steps(tmp_path, [number])
        first = first or start
        saved = start + 1800 * number
        os.utime(f'{path}.index', (saved, saved))
        if number == 0:
            state = Path(tmp_path / 'checkpoint')
            state.write_text(f'{state.read_text().split("last_preserved")[0]}last_preserved_timestamp: {start}\n')
        checkpoints.rotate(tmp_path, max_to_keep=3, keep_every_n_hours=1)
    kept = [checkpoints.step_of(path) for path in checkpoints.all_checkpoints(tmp_path)]
    assert kept == [2, 4, 5, 6, 7]


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    save_steps(tmp_path, [1])
    before = names(tmp_path)

    def refuse(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(tf.io.gfile, 'rename', refuse)
    with pytest.raises(CheckpointError, match=r'model.ckpt-2: cannot write the checkpoint: No space left'):
        save_steps(tmp_path, [2])
    assert names(tmp_path) == before


def test_what_tensorflow_says_of_a_full_disk_is_told_without_its_operations():
    said = '{{function_node __wrapped__SaveV2_device_/job:localhost/task:0}} a/model.ckpt; No space left [Op:SaveV2]'
    error = tf.errors.ResourceExhaustedError(None, None, f'{said}\nmore')
    assert checkpoints.first_line(error) == 'a/model.ckpt; No space left'


def test_a_crash_before_the_last_rename_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    save_steps(tmp_path, [1])
    rename = tf.io.gfile.rename

    def crash_at_index(source, target, overwrite=False):
        if target.endswith('.index'):
            raise KeyboardInterrupt
        rename(source, target, overwrite=overwrite)

    monkeypatch.setattr(tf.io.gfile, 'rename', crash_at_index)
    with pytest.raises(KeyboardInterrupt):
        save_steps(tmp_path, [2])
    monkeypatch.undo()
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'model.ckpt-1')
    checkpoints.remove_unfinished(tmp_path)
    assert not [name for name in names(tmp_path) if name.startswith('unfinished')]
    save_steps(tmp_path, [2])
    assert checkpoints.read(tmp_path).tensor('global_step') == 2


def test_a_missing_checkpoint_is_one_line(tmp_path):
    save_steps(tmp_path, [4])
    with pytest.raises(CheckpointError, match=r'model.ckpt-5: no such checkpoint .*the newest there is .*model.ckpt-4'):
        checkpoints.read(tmp_path / 'model.ckpt-5')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(CheckpointError, match='empty: no checkpoint'):
        checkpoints.read(tmp_path / 'empty')


@pytest.mark.parametrize('how', ['truncated', 'flipped', 'no data', 'index'])
def test_damage_is_one_line(tmp_path, how):
    (path,) = save_steps(tmp_path, [4])
    damage(path, how)
    with pytest.raises(CheckpointError, match=r'damaged|missing') as caught:
        checkpoints.read(path).verify()
    assert path in str(caught.value) and '\n' not in str(caught.value)


def test_an_unknown_tensor_is_named(tmp_path):
    save_steps(tmp_path, [1])
    with pytest.raises(CheckpointError, match="holds no tensor 'nothing'"):
        checkpoints.read(tmp_path).tensor('nothing')


def variables():
    return {
        'conv/weights': tf.Variable(np.zeros((2, 3), np.float32)),
        'Predictions/Conv/weights': tf.Variable(np.zeros((1, 1, 3, 11), np.float32)),
        'new/bias': tf.Variable(5.0),
    }


@pytest.fixture
def cityscapes(tmp_path):
    stored = {
        'conv/weights': KERNEL,
        'conv/weights/Momentum': KERNEL,
        'Predictions/Conv/weights': np.ones((1, 1, 3, 19), np.float32),
        'old/bias': np.float32(1),
        'beta1_power': np.float32(0.9),
    }
    return checkpoints.save(tmp_path, 9, stored)


def test_another_class_count_is_listed_and_left_alone(cityscapes):
    model = variables()
    report = checkpoints.restore_variables(model, cityscapes, strict=False)
    assert report.matched == ['conv/weights']
    assert report.mismatched == [('Predictions/Conv/weights', [1, 1, 3, 19], [1, 1, 3, 11])]
    assert report.missing == ['new/bias']
    assert report.unused == ['old/bias']
    np.testing.assert_array_equal(model['conv/weights'], KERNEL)
    assert not model['Predictions/Conv/weights'].numpy().any() and float(model['new/bias']) == 5.0
    assert 'Predictions/Conv/weights: [1, 1, 3, 19] in the checkpoint, [1, 1, 3, 11] in the model' in report.table()
    assert '1 variables restored, 1 of another shape, 1 missing, 1 unused' in report.table()


def test_strict_assigns_nothing_unless_all_fits(cityscapes):
    model = variables()
    with pytest.raises(CheckpointError, match='does not fit the model') as caught:
        checkpoints.restore_variables(model, cityscapes, strict=True)
    assert '1 variables that fit, 1 of another shape' in str(caught.value) and 'initial' not in str(caught.value)
    assert not model['conv/weights'].numpy().any()


def test_nothing_in_common_is_an_error(cityscapes):
    with pytest.raises(CheckpointError, match=r'no variable of the model.*Is it of another architecture'):
        checkpoints.restore_variables({'a/b': tf.Variable(1.0)}, cityscapes, strict=False)


def test_nothing_in_common_is_shown_on_the_scope_that_holds_most(tmp_path):
    path = checkpoints.save(tmp_path, 1, dict.fromkeys(('AuxHead/w', 'net/conv2', 'net/conv1'), KERNEL))
    variables = {name: tf.Variable(KERNEL) for name in ('Auxiliary/w', 'own/a', 'own/b')}
    with pytest.raises(CheckpointError, match="the model has for example 'own/a', the checkpoint 'net/conv1'"):
        checkpoints.restore_variables(variables, path)


def test_long_lists_are_cut_in_the_table(tmp_path):
    path = checkpoints.save(tmp_path, 1, {'a': KERNEL, **{f'old{i}': KERNEL for i in range(30)}})
    report = checkpoints.restore_variables({'a': tf.Variable(KERNEL)}, path, strict=True)
    assert len(report.unused) == 30 and '... and 10 more' in report.table()


@pytest.mark.parametrize('channels', [1, 4, 7])
def test_a_kernel_for_rgb_is_inflated_so_that_equal_channels_answer_as_before(tmp_path, channels):
    rng = np.random.default_rng(4)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    path = checkpoints.save(tmp_path, 1, {'net/conv1/weights': kernel, 'net/conv2/weights': kernel})
    model = {
        'net/conv1/weights': tf.Variable(np.zeros((3, 3, channels, 5), np.float32)),
        'net/conv2/weights': tf.Variable(np.zeros((3, 3, 9, 5), np.float32)),
    }
    report = checkpoints.restore_variables(model, path, strict=False, input_channels=channels)
    assert report.inflated == report.matched == ['net/conv1/weights']
    assert report.mismatched == [('net/conv2/weights', [3, 3, 3, 5], [3, 3, 9, 5])]
    assert 'inflated' in report.table()
    plane = rng.normal(size=(1, 6, 7, 1)).astype(np.float32)
    want = tf.nn.conv2d(np.repeat(plane, 3, -1), kernel, 1, 'SAME')
    have = tf.nn.conv2d(np.repeat(plane, channels, -1), model['net/conv1/weights'], 1, 'SAME')
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def test_nothing_is_inflated_unless_the_model_s_images_are(tmp_path):
    path = checkpoints.save(tmp_path, 1, {'a/weights': np.ones((1, 1, 3, 2), np.float32), 'b': KERNEL})
    model = {'a/weights': tf.Variable(np.zeros((1, 1, 4, 2), np.float32)), 'b': tf.Variable(KERNEL)}
    report = checkpoints.restore_variables(model, path, strict=False)
    assert (report.inflated, [name for name, *_ in report.mismatched]) == ([], ['a/weights'])
