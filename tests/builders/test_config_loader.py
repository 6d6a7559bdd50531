"""Reading and writing config files, without TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import config_loader
from core.errors import ConfigError, UserError
from protos.pipeline_pb2 import PipelineConfig

ROOT = Path(__file__).resolve().parents[2]


def test_loads(config_path):
    config = config_loader.load(str(config_path), purpose='train')
    assert config.model.icnet.num_classes == 3
    assert config.train_config.optimizer.momentum_optimizer.momentum_optimizer_value == pytest.approx(0.9)


def test_overrides_come_before_the_checks(config_path):
    config = config_loader.load(str(config_path), ['train_config.batch_size=7'], 'train')
    assert config.train_config.batch_size == 7
    with pytest.raises(ConfigError, match=r'^train_config.batch_size: got 0, choose 1 or more$'):
        config_loader.load(str(config_path), ['train_config.batch_size=0'], 'train')


def test_syntax_error_names_file_line_and_column(config_path):
    config_path.write_text('model {\n  icnet { num_clases: 3 }\n}')
    with pytest.raises(ConfigError) as error:
        config_loader.load(str(config_path))
    assert str(error.value).startswith(
        f"{config_path}:2:11: ICNet has no field 'num_clases', did you mean 'num_classes'?"
    )


def test_missing_file(config_path, tmp_path):
    with pytest.raises(ConfigError) as error:
        config_loader.load(str(tmp_path / 'b.confg'))
    assert str(error.value) == (
        f"{tmp_path}/b.confg: cannot read the config: No such file or directory, did you mean '{config_path}'?"
    )
    with pytest.raises(ConfigError) as error:
        config_loader.load(str(tmp_path / 'no' / 'a.config'))
    assert str(error.value) == f'{tmp_path}/no/a.config: cannot read the config: No such file or directory'


def test_folder_and_binary_file(config_path, tmp_path):
    with pytest.raises(ConfigError) as error:
        config_loader.load(str(tmp_path))
    assert str(error.value) == f'{tmp_path}: cannot read the config: Is a directory'
    config_path.write_bytes(b'model\xff')
    with pytest.raises(ConfigError) as error:
        config_loader.load(str(config_path))
    assert str(error.value) == f'{config_path}: not a text file (byte 5 is not UTF-8)'
    config_path.write_bytes('model'.encode('utf-16-le'))
    with pytest.raises(ConfigError, match=r'not a text file \(byte 1 is 0\)$'):
        config_loader.load(str(config_path))


def test_a_path_left_empty():
    with pytest.raises(ConfigError, match=r'^--config_path: is empty, give a file$'):
        config_loader.load('')


def test_windows_files_are_read(config_path):
    expected = config_loader.load(str(config_path))
    config_path.write_bytes(b'\xef\xbb\xbf' + config_path.read_bytes().replace(b'\n', b'\r\n'))
    assert config_loader.load(str(config_path)) == expected


def test_empty_file(config_path):
    config_path.write_text('')
    with pytest.raises(ConfigError, match=r'^model: not set; choose pspnet, icnet or fcn$'):
        config_loader.load(str(config_path))


def test_unknown_purpose_is_a_programming_error():
    with pytest.raises(ValueError, match='purpose'):
        config_loader.validate(PipelineConfig(), 'training')


def test_saved_config_loads_as_it_was(config_path, tmp_path):
    config = config_loader.load(str(config_path))
    target = tmp_path / 'runs' / 'pipeline.config'
    config_loader.save(config, str(target))
    assert config_loader.load(str(target)) == config
    assert os.listdir(target.parent) == ['pipeline.config']


def test_save_replaces_whole_files_and_names_what_cannot_be_written(config_path, tmp_path):
    config = config_loader.load(str(config_path))
    config_loader.save(config, str(config_path))
    assert config_loader.load(str(config_path)) == config
    with pytest.raises(UserError, match='cannot write the config'):
        config_loader.save(config, str(config_path / 'below_a_file.config'))


def test_compression_config(tmp_path):
    path = tmp_path / 'a.prune_config'
    path.write_text('compression_strategy { filter_pruner { input { name: "a" } output { name: "b" } } }')
    config = config_loader.load_compression(str(path), ['compression_strategy.filter_pruner.compression_factor=0.75'])
    assert config.compression_strategy.filter_pruner.compression_factor == 0.75
    path.write_text('')
    with pytest.raises(ConfigError, match=r'^compression_strategy: not set; choose filter_pruner$'):
        config_loader.load_compression(str(path))


def test_a_broken_config_is_answered_without_tensorflow(config_path):
    config_path.write_text('model { icnet {} }')
    code = f"""
import sys
from builders import check_config, config_loader
from core.errors import ConfigError
try:
    config_loader.load({str(config_path)!r}, purpose='train')
except ConfigError as error:
    print(len(error.problems))
assert check_config.main([{str(config_path)!r}]) == 2
print('tensorflow' in sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ['5', 'False'], done.stderr
