"""Pictures on disk: which ones are meant, read as pixels, written whole."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import DataError, UsageError, UserError

EXTENSIONS = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.ppm')
SUFFIXES = {'ids': '_ids.png', 'color': '_color.png', 'overlay': '_overlay.png'}
_RGB_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX')
_MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}
_GLOB = '*?['

# Beyond this a picture is more likely a mistake, or made to fill memory: Pillow's own limit.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
# What a user who asks for sliding windows may mean.
MAX_PIXELS_IN_WINDOWS = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputImage:
    """A file and the name of its outputs: the path below the given folder, else the file name, without extension."""

    path: str
    name: str


def find(inputs: Sequence[str], *, output_dir: str) -> list[InputImage]:
    """The pictures that files, folders (searched whole) and glob patterns name, sorted within each.

    Earlier results in `output_dir` are no inputs. A file is taken whatever its extension.

    Raises:
      UsageError: nothing there, or two pictures would be written to the same name; each problem on a line.
    """
    found: dict[str, InputImage] = {}
    problems = []
    for text in inputs:
        images = [image for image in _expand(text) if not _is_result(image.path, output_dir)]
        if not images:
            problems.append(_nothing(text))
        found |= {image.path: image for image in images}
    by_name: dict[str, str] = {}
    for image in found.values():
        other = by_name.setdefault(image.name, image.path)
        if other != image.path:
            problems.append(f'--input_path: {other} and {image.path} would both be written as {image.name}*.png')
    if problems:
        raise UsageError('\n'.join(problems))
    return list(found.values())


def read(path: str, channels: int = 3, *, max_pixels: int = MAX_PIXELS, has_windows: bool = True) -> np.ndarray:
    """A picture as uint8 [H, W, channels], upright (EXIF orientation applied).

    Palettes are resolved, 16 bits a channel of RGB are cut to 8.

    Args:
      channels: 1: colours become grey. 3: grey is repeated, transparency is dropped. 4: the picture must be RGBA.
      max_pixels: a larger one is refused.
      has_windows: whether who asks has a flag --window, which is then advised.

    Raises:
      DataError: missing, no picture, damaged, animated, CMYK, 16-bit or float grey, without the channels, or too large
        to be meant.
    """
    if channels not in _MODES:
        raise UsageError(f'{path}: the model needs {channels} channels, pictures hold 1, 3 or 4')
    try:
        with tf.io.gfile.GFile(path, 'rb') as f:
            content = f.read()
        with _limit(max_pixels):
            with Image.open(io.BytesIO(content)) as image:
                _check_mode(image, path, channels)
                pixels = np.asarray(ImageOps.exif_transpose(image).convert(_MODES[channels]))
                return pixels.reshape(*pixels.shape[:2], channels)
    except tf.errors.OpError as error:
        raise DataError(f'{path}: cannot be read ({_first_line(error)})') from None
    except UnidentifiedImageError:
        raise DataError(f'{path}: not a picture, or of an unknown format') from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        advise = has_windows and max_pixels <= MAX_PIXELS
        hint = 'show it to the network through windows (--window), or ' if advise else ''
        found = re.search(r'\((\d+) pixels\)', str(error))
        size = f'{int(found[1]):,} pixels, ' if found else ''
        raise DataError(f'{path}: {size}more than {max_pixels:,} pixels; {hint}cut it into parts') from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise on damaged bytes
        raise DataError(f'{path}: damaged ({_first_line(error)})') from None


def write_png(pixels: np.ndarray, path: str) -> None:
    """Writes uint8 [H, W] or [H, W, 3], or ids above 255 as 16-bit grey, beside and renames it into place.

    Raises UserError, and leaves nothing, if the file system refuses: no space, no permission, a name too long.
    """
    wide = pixels.dtype != np.uint8
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16) if wide else pixels).save(buffer, 'PNG')
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        tf.io.gfile.makedirs(os.path.dirname(path) or '.')
        with tf.io.gfile.GFile(temporary, 'wb') as f:
            f.write(buffer.getvalue())
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError as error:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(temporary)
        raise UserError(f'{path}: cannot be written ({_first_line(error)})') from None


@contextlib.contextmanager
def _limit(max_pixels: int) -> Iterator[None]:
    """Lets Pillow refuse larger pictures; its limit is one for the whole process."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _expand(text: str) -> list[InputImage]:
    if tf.io.gfile.isdir(text):
        paths = [os.path.join(folder, file) for folder, _, files in tf.io.gfile.walk(text) for file in files]
        pictures = [path for path in sorted(paths) if path.lower().endswith(EXTENSIONS)]
        return [InputImage(path=path, name=os.path.splitext(os.path.relpath(path, text))[0]) for path in pictures]
    if tf.io.gfile.exists(text):
        paths = [text]
    else:
        paths = [path for path in sorted(_glob(text)) if path.lower().endswith(EXTENSIONS)]
    return [InputImage(path=path, name=os.path.splitext(os.path.basename(path))[0]) for path in paths]


def _glob(text: str) -> list[str]:
    return tf.io.gfile.glob(text) if any(character in text for character in _GLOB) else []


def _is_result(path: str, output_dir: str) -> bool:
    folder = os.path.join(os.path.abspath(output_dir), '')
    return os.path.abspath(path).startswith(folder) and path.endswith(tuple(SUFFIXES.values()))


def _nothing(text: str) -> str:
    extensions = ', '.join(EXTENSIONS)
    if tf.io.gfile.isdir(text):
        return f'--input_path: no picture ({extensions}) in the folder {text}'
    kind = 'no picture matches' if any(character in text for character in _GLOB) else 'no such file or folder:'
    return f'--input_path: {kind} {text}'


def _check_mode(image: Image.Image, path: str, channels: int) -> None:
    num_frames = getattr(image, 'n_frames', 1)
    if num_frames > 1:
        raise DataError(f'{path}: {num_frames} frames (animated or multi-page); save the one that is meant')
    if image.mode not in _RGB_MODES:
        kind = '16-bit or float grey' if image.mode[0] in 'IF' else image.mode
        raise DataError(f'{path}: {kind} (mode {image.mode}) is not supported; convert it to 8-bit RGB or grey')
    if channels == 4 and image.mode != 'RGBA':
        raise DataError(f'{path}: the model needs 4 channels (RGBA), this picture is {image.mode}')


def _first_line(error: Exception) -> str:
    text = str(getattr(error, 'message', None) or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
