"""predict.py as a command, over a folder in which all but one picture is bad."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predict
from core.servable import Servable
from exporters import frozen_graph
from tests import commands, fake_model

RGB = fake_model.images(60, 80)


def _bomb(path: Path, side: int = 20000) -> None:
    """A whole black PNG of 400 million pixels, one bit each, in 50 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    content = chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + content)


@pytest.fixture
def folder(tmp_path):
    """`in` with the pictures, `graph.pb` beside it."""
    pictures = tmp_path / 'in'
    pictures.mkdir()
    image, negative = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    image.save(pictures / 'whole.png')
    (pictures / 'cut.png').write_bytes((pictures / 'whole.png').read_bytes()[:5000])
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 257).save(pictures / 'deep.png')
    image.convert('CMYK').save(pictures / 'print.jpg')
    image.save(pictures / 'moving.gif', save_all=True, append_images=[negative])
    image.save(pictures / 'animated.png', save_all=True, append_images=[negative])
    (pictures / 'text.png').write_text('no picture')
    (pictures / 'nothing.png').write_bytes(b'')
    _bomb(pictures / 'bomb.png')
    assert (pictures / 'bomb.png').stat().st_size < 100_000
    frozen_graph.write(Servable(model=fake_model.FakeModel(), num_classes=3).trace(), str(tmp_path / 'graph.pb'))
    return tmp_path


def test_each_bad_picture_is_one_line_and_the_whole_one_is_predicted(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    flags = ['--input_path', 'in', '--outputs', 'ids', '--output_dir', 'out']
    code = commands.exit_code(predict.main, ['--exported', 'graph.pb', *flags])
    printed = capfd.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith('error: ')]
    expected = {
        'animated.png': '2 frames (animated or multi-page)',
        'bomb.png': 'more than 89,478,485 pixels',
        'cut.png': 'damaged (',
        'deep.png': '16-bit or float grey (mode I;16) is not supported',
        'moving.gif': '2 frames (animated or multi-page)',
        'nothing.png': 'not a picture',
        'print.jpg': 'CMYK (mode CMYK) is not supported',
        'text.png': 'not a picture',
    }
    said = {line.split(': ')[1].removeprefix('in/'): line for line in lines}
    assert sorted(said) == sorted(expected) and len(lines) == len(expected), printed.err
    for name, words in expected.items():
        assert words in said[name]
    assert 'Traceback' not in printed.err and code == 1
    assert '1 of 9 images written to out' in printed.out
    assert [path.name for path in (folder / 'out').iterdir()] == ['whole_ids.png']
    ids = np.asarray(Image.open(folder / 'out' / 'whole_ids.png'))
    np.testing.assert_array_equal(ids, fake_model.class_ids(fake_model.FakeModel(), RGB[np.newaxis])[0])
