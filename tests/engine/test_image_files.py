"""Every kind of picture is read or refused in one line; inputs are found once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, UsageError
from engine import image_files

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
GREY = RGB[..., 0]


def _save(path, pixels, mode=None, **kwargs):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **kwargs)
    return str(path)


def test_rgb_is_read_as_it_is(tmp_path):
    np.testing.assert_array_equal(image_files.read(_save(tmp_path / 'a.png', RGB)), RGB)


def test_grey_is_repeated(tmp_path):
    pixels = image_files.read(_save(tmp_path / 'a.png', GREY))
    np.testing.assert_array_equal(pixels, np.stack([GREY] * 3, -1))


def test_transparency_is_dropped(tmp_path):
    rgba = np.concatenate([RGB, np.zeros((4, 6, 1), np.uint8)], -1)
    np.testing.assert_array_equal(image_files.read(_save(tmp_path / 'a.png', rgba)), RGB)


def test_a_palette_is_resolved(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), 'L').convert('P')
    image.putpalette([10, 20, 30, 40, 50, 60])
    pixels = image_files.read(_save(tmp_path / 'a.png', image))
    assert pixels[0, 0].tolist() == [10, 20, 30] and pixels[0, 1].tolist() == [40, 50, 60]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    pixels = image_files.read(_save(tmp_path / 'a.png', RGB, exif=exif))
    np.testing.assert_array_equal(pixels, np.rot90(RGB, -1))


def test_16_bit_grey_is_refused(tmp_path):
    path = _save(tmp_path / 'deep.png', GREY.astype(np.uint16) * 257)
    with pytest.raises(DataError, match=r'deep\.png: 16-bit or float grey \(mode I.*convert it to 8-bit RGB or grey'):
        image_files.read(path)


def test_cmyk_is_refused(tmp_path):
    with pytest.raises(DataError, match=r'print\.jpg: CMYK \(mode CMYK\) is not supported'):
        image_files.read(_save(tmp_path / 'print.jpg', RGB, 'CMYK'))


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(frame) for frame in (RGB, 255 - RGB)]
    path = _save(tmp_path / 'moving.webp', frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r'moving\.webp: 2 frames'):
        image_files.read(path)


def test_gifs_of_a_folder_are_not_passed_over(tmp_path):
    still, moving = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    _save(tmp_path / 'still.gif', still)
    _save(tmp_path / 'moving.gif', still, save_all=True, append_images=[moving])
    found = {image.name: image.path for image in image_files.find([str(tmp_path)], output_dir=str(tmp_path / 'out'))}
    assert sorted(found) == ['moving', 'still']
    assert image_files.read(found['still']).shape == RGB.shape
    with pytest.raises(DataError, match=r'moving\.gif: 2 frames'):
        image_files.read(found['moving'])


def test_damaged_files_are_named(tmp_path):
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(DataError, match=r'text\.png: not a picture'):
        image_files.read(str(tmp_path / 'text.png'))
    whole = tmp_path / 'whole.png'
    _save(whole, np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8))
    (tmp_path / 'cut.png').write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(DataError, match=r'cut\.png: damaged'):
        image_files.read(str(tmp_path / 'cut.png'))
    with pytest.raises(DataError, match=r'missing\.png: cannot be read'):
        image_files.read(str(tmp_path / 'missing.png'))


def test_a_decompression_bomb_is_refused(tmp_path):
    path = _save(tmp_path / 'a.png', RGB)
    before, size = Image.MAX_IMAGE_PIXELS, RGB.shape[0] * RGB.shape[1]
    for limit in (20, size - 1):
        with pytest.raises(DataError, match=rf'a\.png: {size} pixels, more than {limit} pixels; .* \(--window'):
            image_files.read(path, max_pixels=limit)
    with pytest.raises(DataError, match=rf'a\.png: {size} pixels, more than 20 pixels; cut it into parts'):
        image_files.read(path, max_pixels=20, has_windows=False)
    assert Image.MAX_IMAGE_PIXELS == before == image_files.MAX_PIXELS
    image_files.read(path, max_pixels=RGB.shape[0] * RGB.shape[1])


@pytest.mark.parametrize('pixels', [GREY, RGB, GREY.astype(np.int32) + 300])
def test_png_is_written_exactly_and_leaves_no_temporary(tmp_path, pixels):
    path = tmp_path / 'sub' / 'a.png'
    image_files.write_png(pixels, str(path))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)
    assert [p.name for p in path.parent.iterdir()] == ['a.png']


def test_files_folders_and_patterns_are_found_once(tmp_path):
    folder = tmp_path / 'in'
    (folder / 'sub').mkdir(parents=True)
    for name in ('b.png', 'a.jpg', 'sub/c.JPG', 'odd.dat'):
        _save(folder / name, RGB, format='PNG')
    (folder / 'notes.txt').write_text('no picture')
    found = image_files.find([str(folder)], output_dir=str(tmp_path / 'out'))
    assert [image.name for image in found] == ['a', 'b', 'sub/c']
    inputs = [str(folder / '*.png'), str(folder / 'odd.dat'), str(folder / 'b.png')]
    found = image_files.find(inputs, output_dir=str(tmp_path / 'out'))
    assert [image.name for image in found] == ['b', 'odd']


def test_results_are_not_taken_for_inputs(tmp_path):
    for name in ('a.png', 'a_ids.png', 'a_color.png', 'a_overlay.png'):
        _save(tmp_path / name, RGB)
    assert [image.name for image in image_files.find([str(tmp_path)], output_dir=str(tmp_path))] == ['a']
    assert len(image_files.find([str(tmp_path)], output_dir=str(tmp_path / 'out'))) == 4


def test_nothing_found_is_said_for_each_input(tmp_path):
    with pytest.raises(UsageError) as caught:
        image_files.find([str(tmp_path), str(tmp_path / 'x.png'), str(tmp_path / '*.png')], output_dir='out')
    lines = str(caught.value).splitlines()
    assert 'no picture (.png, .jpg' in lines[0]
    assert lines[1] == f'--input_path: no such file or folder: {tmp_path / "x.png"}'
    assert lines[2] == f'--input_path: no picture matches {tmp_path / "*.png"}'


def test_two_pictures_of_one_name_are_refused(tmp_path):
    for name in ('a.png', 'a.jpg'):
        _save(tmp_path / name, RGB)
    with pytest.raises(UsageError, match=r'a\.jpg and .*a\.png would both be written as a\*\.png'):
        image_files.find([str(tmp_path)], output_dir='out')
