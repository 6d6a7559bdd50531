"""Every config of `configs/` is valid, is named as it is built, and says what it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from builders import config_loader

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'configs').glob('*.config'))
SMOKE = sorted((ROOT / 'configs' / 'smoke').glob('*.config'))
EXTRACTORS = {'resnet50': 'dilated_resnet50', 'mobilenet': 'dilated_mobilenet', 'mobilenetv1': 'mobilenet_v1'}
NAME = re.compile(r'(?P<architecture>[a-z]+)_(?P<width>[\d.]+)_(?P<crop>\d+(x\d+)?)_(?P<extractor>[a-z0-9]+)_[a-z]+$')


def test_there_are_some():
    assert len(CONFIGS) >= 5


@pytest.mark.parametrize('path', CONFIGS + SMOKE, ids=lambda path: path.stem)
def test_loads_for_every_purpose(path):
    for purpose in ('train', 'eval', 'export', 'predict'):
        config_loader.load(str(path), purpose=purpose)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_name_says_what_it_is(path):
    name = NAME.match(path.stem)
    assert name, path.stem
    config = config_loader.load(str(path))
    model = getattr(config.model, name['architecture'])
    assert config.model.WhichOneof('model') == name['architecture']
    assert model.filter_scale == float(name['width'])
    assert model.feature_extractor.type == EXTRACTORS[name['extractor']]
    crops = [
        step.random_image_crop for step in config.train_config.preprocessor_step if step.HasField('random_image_crop')
    ]
    height, _, width = name['crop'].partition('x')
    assert [(crop.crop_height, crop.crop_width) for crop in crops] == [(int(height), int(width or height))]
    assert path.read_text().startswith('# ')


@pytest.mark.parametrize('path', CONFIGS + SMOKE, ids=lambda path: path.stem)
def test_label_map_has_as_many_classes(path):
    config = config_loader.load(str(path))
    model = getattr(config.model, config.model.WhichOneof('model') or '')
    for reader in (config.train_input_reader, config.eval_input_reader):
        label_map = ROOT / reader.label_map_path
        if reader.label_map_path.startswith('configs/'):
            assert len(json.loads(label_map.read_text())['classes']) == model.num_classes


@pytest.mark.parametrize('path', SMOKE, ids=lambda path: path.stem)
def test_smoke_configs_are_short_and_show_their_command(path):
    config = config_loader.load(str(path), purpose='train')
    assert config.train_config.num_steps == 20
    assert f'--config_path configs/smoke/{path.name}' in path.read_text()


def test_every_architecture_has_a_smoke_config():
    built = {config_loader.load(str(path)).model.WhichOneof('model') for path in SMOKE}
    assert built == {'fcn', 'icnet', 'pspnet'}
