"""`input_channels` against means, augmentations and what files can hold: refused at config check, in one line each."""

from __future__ import annotations

import pytest

from tests.builders.conftest import MODEL
from tests.builders.test_config_checks import problems

EXTRACTOR = 'model.icnet.feature_extractor'
STEPS = 'train_config.preprocessor_step'


@pytest.mark.parametrize(
    'overrides',
    [
        [f'{EXTRACTOR}.input_channels=1'],
        [f'{EXTRACTOR}.input_channels=4', f'{EXTRACTOR}.channel_mean=[1, 2, 3, 4]'],
        [f'{EXTRACTOR}.input_channels=4', f'{STEPS}[1].random_image_crop.images_channel_dim=4'],
    ],
)
@pytest.mark.parametrize('purpose', ['train', 'eval', 'export', 'predict'])
def test_accepted(config_text, overrides: list[str], purpose: str):
    assert problems(config_text, overrides, purpose) == []


@pytest.mark.parametrize(
    ('overrides', 'want'),
    [
        ([f'{EXTRACTOR}.input_channels=0'], f'{EXTRACTOR}.input_channels: got 0, choose 1 or more'),
        (
            [f'{EXTRACTOR}.input_channels=6'],
            f'{EXTRACTOR}.input_channels: got 6, but records and pictures hold 1, 3 or 4 channels; more need a tf.data '
            'pipeline of your own, and a config without the readers (docs/datasets.md)',
        ),
        (
            [f'{EXTRACTOR}.input_channels=4', f'{EXTRACTOR}.channel_mean=[1, 2, 3]'],
            f'{EXTRACTOR}.channel_mean: got 3 numbers for 4 input_channels; write one for each, red, green and blue '
            'first, or none',
        ),
        (
            [f'{EXTRACTOR}.input_channels=1', f'{STEPS}[0]={{random_hue {{}}}}'],
            f'{STEPS}[0].random_hue: needs red, green and blue, but {EXTRACTOR}.input_channels is 1; remove the step',
        ),
        (
            [f'{EXTRACTOR}.input_channels=4', f'{STEPS}[0]={{random_saturation {{}}}}'],
            f'{STEPS}[0].random_saturation: needs red, green and blue, but {EXTRACTOR}.input_channels is 4; '
            'remove the step',
        ),
        (
            [f'{EXTRACTOR}.input_channels=4', f'{STEPS}[1].random_image_crop.images_channel_dim=3'],
            f'{STEPS}[1].random_image_crop.images_channel_dim: got 3; images have 4 channels, remove the field',
        ),
    ],
)
def test_refused(config_text, overrides: list[str], want: str):
    assert problems(config_text, overrides, 'train') == [want]


def test_more_channels_are_for_models_without_readers():
    overrides = [f'{EXTRACTOR}.input_channels=6']
    assert problems(MODEL, overrides, None) == problems(MODEL, overrides, 'export') == []
    assert 'got 6, but records and pictures hold 1, 3 or 4' in problems(MODEL, overrides, 'predict')[0]
