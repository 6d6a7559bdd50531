"""Raw pixels and tiles: every window is that of the picture, and what does not fit is said in one line."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from core.errors import DataError
from inputs import pipeline, tf_example, tiles

RNG = np.random.default_rng(4)
SIZE = (97, 120)  # two tiles by two, neither filled
LABEL = RNG.integers(0, 4, SIZE, np.uint8)


def picture(channels: int) -> np.ndarray:
    return RNG.integers(0, 256, (*SIZE, channels), np.uint8)


def pixels(image: np.ndarray, *, in_tiles: bool, **changes) -> bytes:
    arguments = {'image': image, 'label': LABEL, 'in_tiles': in_tiles, 'filename': 'a.png'}
    return tf_example.encode_pixels(**{**arguments, **changes}).SerializeToString()


def png(image: np.ndarray) -> bytes:
    def encoded(array):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, 'PNG')
        return buffer.getvalue()

    return tf_example.encode(
        image_bytes=encoded(image[..., 0] if image.shape[-1] == 1 else image),
        image_format='png',
        label_bytes=encoded(LABEL),
        filename='a.png',
        height=SIZE[0],
        width=SIZE[1],
    ).SerializeToString()


@pytest.mark.parametrize('in_tiles', [False, True])
@pytest.mark.parametrize('stored', [1, 2, 3, 4])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_pixels_come_as_from_a_png(in_tiles, stored, channels):
    image = picture(stored)
    if channels == 4 and stored != 4:
        with pytest.raises(DataError, match=rf'^a.png: the image has {stored} channels, 4 are needed'):
            with pipeline.user_errors():
                tf_example.decode(tf.constant(pixels(image, in_tiles=in_tiles)), channels)
        return
    found = tf_example.decode(tf.constant(pixels(image, in_tiles=in_tiles)), channels)
    expected = tf_example.decode(tf.constant(png(image)), channels)
    np.testing.assert_array_equal(found['image'], expected['image'])
    np.testing.assert_array_equal(found['label'], LABEL)


@pytest.mark.parametrize('kind', ['png', 'raw', 'tiles'])
def test_windows_are_those_of_the_picture(kind):
    image = picture(3)
    serialized = tf.constant(png(image) if kind == 'png' else pixels(image, in_tiles=kind == 'tiles'))

    @tf.function(autograph=False)
    def windows(offset, size):
        example = tf_example.parse(serialized)
        return example.image.window(offset, size), example.label.window(offset, size), example.size

    for number in range(60):
        size = [1, 1] if number < 5 else [int(RNG.integers(1, side + 1)) for side in SIZE]
        top, left = (int(RNG.integers(0, side - part + 1)) for side, part in zip(SIZE, size, strict=True))
        if number == 6:
            top, left, size = 0, 0, list(SIZE)
        image_window, label_window, whole = windows(tf.constant([top, left]), tf.constant(size))
        region = (slice(top, top + size[0]), slice(left, left + size[1]))
        np.testing.assert_array_equal(image_window, image[region])
        np.testing.assert_array_equal(label_window[..., 0], LABEL[region])
        assert whole.numpy().tolist() == list(SIZE)


def test_only_tiles_under_the_window_are_decompressed():
    parts = tiles.encode(picture(3))
    parts[3] = b'no zlib'
    arguments = {'shape': tf.constant([*SIZE, 3]), 'tile_size': tf.constant(tiles.TILE_SIZE), 'name': tf.constant('a')}

    def window(offset, size):
        return tiles.decode_window(tf.constant(parts), offset=tf.constant(offset), size=tf.constant(size), **arguments)

    assert window([0, 0], [97, 64]).shape == (97, 64, 3)
    with pytest.raises(tf.errors.OpError):
        window([0, 0], [65, 65])


def test_noise_is_kept_as_it_is_and_what_compresses_is_not():
    """Two tiles of noise, one of a single colour, and one of noise of five bits: above three quarters or not."""
    flat, five_bits = np.full((64, 64, 1), 7, np.uint8), RNG.integers(0, 32, (64, 64, 1), np.uint8)
    noise = RNG.integers(0, 256, (2, 64, 64, 1), np.uint8)
    parts = np.block([[[flat], [noise[0]]], [[five_bits], [noise[1]]]])
    lengths = [len(tile) for tile in tiles.encode(parts)]
    assert lengths[0] < 64 and 4096 < lengths[1] == lengths[3] < 4096 + 32 and 2000 < lengths[2] < 3072
    offset, size = tf.constant([10, 20]), tf.constant([90, 80])
    arguments = {'shape': tf.constant(parts.shape), 'tile_size': tf.constant(64), 'name': tf.constant('a')}
    found = tiles.decode_window(tf.constant(tiles.encode(parts)), offset=offset, size=size, **arguments)
    np.testing.assert_array_equal(found, parts[10:100, 20:100])


def changed(**features: list) -> bytes:
    """An example in tiles with these features instead, `__` standing for `/`."""
    example = tf.train.Example.FromString(pixels(picture(3), in_tiles=True))
    for name, values in features.items():
        feature = example.features.feature[name.replace('__', '/')]
        if values and isinstance(values[0], int):
            feature.int64_list.value[:] = values
        else:
            feature.bytes_list.value[:] = values
    return example.SerializeToString()


TILES = tiles.encode(picture(3))


@pytest.mark.parametrize(
    ('serialized', 'said'),
    [
        (changed(image__tiles=TILES[:3]), r'a.png: 3 tiles are there, a picture of \[97 120 3\] needs \[2 2\]'),
        (changed(image__tiles=[*TILES[:3], zlib.compress(b'0' * 9)]), 'a.png: a tile has not the 12288 bytes'),
        (changed(image__tiles=[*TILES[:3], RNG.bytes(60_000)]), 'a.png: a tile is longer than its pixels'),
        (changed(image__shape=[137, 150]), r'a.png: a record of pixels says that its shape is \[137 150\]'),
        (changed(image__shape=[137, 150, 7]), r'a.png: a record of pixels says that its shape is \[137 150 7\]'),
        (changed(image__shape=[1 << 40, 1 << 40, 3]), 'bytes: not decoded'),
        (changed(image__tile_size=[0]), 'its tiles 0 wide'),
        (changed(image__tile_size=[1 << 40]), 'not decoded'),
        (changed(image__raw=[b'123']), 'and has 3 bytes: not decoded'),
        (changed(image__segmentation__class__tiles=[b'']), '1 tiles are there'),
        (changed(image__segmentation__class__tiles=[]), 'the record has no image/segmentation/class/encoded'),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_file(serialized, said):
    decode = tf.function(tf_example.decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    with pytest.raises(DataError, match=said) as caught, pipeline.user_errors():
        decode(tf.constant(serialized))
    assert '\n' not in str(caught.value)


def test_bytes_that_zlib_did_not_make_are_a_line():
    _refused(changed(image__tiles=[RNG.bytes(900), *TILES[1:]]))


def test_a_changed_pixel_of_a_tile_that_is_kept_as_it_is_is_a_line():
    tile = bytearray(TILES[0])
    assert len(tile) > 64 * 64 * 3
    tile[5000] ^= 1
    _refused(changed(image__tiles=[bytes(tile), *TILES[1:]]))


def _refused(serialized: bytes) -> None:
    with pytest.raises(DataError), pipeline.user_errors():
        for _ in tf.data.Dataset.from_tensors(serialized).map(tf_example.decode):
            pass


def test_pixels_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r'a.png: image must be uint8 \[H, W, 1..4\]'):
        pixels(picture(3).astype(np.float32), in_tiles=False)
    with pytest.raises(ValueError, match=r'label must be uint8 \[97, 120\]'):
        pixels(picture(3), in_tiles=False, label=LABEL[:5])
    with pytest.raises(ValueError, match=r'pixels must be uint8 \[H, W, C\]'):
        tiles.encode(LABEL)
