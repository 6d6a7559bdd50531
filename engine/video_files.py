"""Videos on disk and cameras through OpenCV: which ones are meant, read as frames, written whole.

Imports neither TensorFlow nor OpenCV at once, so that mistakes are answered quickly and pictures need no OpenCV. OpenCV
reads files of this machine alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import importlib.util
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from core.errors import DataError, UsageError, UserError

EXTENSIONS = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm')
SUFFIX = '_overlay.mp4'
_CODEC = 'mp4v'  # MPEG-4 part 2: the one that OpenCV's wheels can write into mp4 everywhere
_FRAMES_PER_SECOND = 25.0  # of a source that does not tell
_TOLD_AT_MOST = 1000.0  # what a damaged header or a camera's driver may claim beyond is not believed


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputVideo:
    """A file, or the index of a camera, and the path of the overlay."""

    source: str | int
    target: str

    def __str__(self) -> str:
        return f'camera {self.source}' if isinstance(self.source, int) else self.source


def split(inputs: Sequence[str]) -> tuple[list[str], list[str]]:
    """What names videos by its extension, and the rest."""
    videos = [text for text in inputs if text.lower().endswith(EXTENSIONS)]
    return videos, [text for text in inputs if text not in videos]


def find(inputs: Sequence[str], camera: int | None, *, output_dir: str) -> list[InputVideo]:
    """The videos that files and glob patterns name, and the camera.

    Raises:
      UsageError: nothing there, a result that exists already, or two videos of one name; each problem on a line. Also
        if OpenCV is not installed.
    """
    sources: dict[str | int, str] = {} if camera is None else {camera: f'camera_{camera}'}
    problems = []
    for text in inputs:
        paths = [text] if os.path.exists(text) else sorted(glob.glob(text))
        paths = [path for path in paths if not _is_result(path, output_dir)]
        if not paths:
            problems.append(f'--input_path: no such video: {text}')
        sources |= {path: os.path.splitext(os.path.basename(path))[0] for path in paths}
    found: dict[str, InputVideo] = {}
    for source, name in sources.items():
        video = InputVideo(source=source, target=os.path.join(output_dir, name + SUFFIX))
        other = found.setdefault(video.target, video)
        if other is not video:
            problems.append(f'--input_path: {other} and {video} would both be written as {video.target}')
        elif os.path.exists(video.target):
            problems.append(f'--output_dir: {video.target} is there already; remove it or choose another folder')
    if problems:
        raise UsageError('\n'.join(problems))
    if found and importlib.util.find_spec('cv2') is None:
        raise UsageError('videos need opencv-python-headless; run: pip install opencv-python-headless')
    return list(found.values())


class Reader:
    """A context manager whose `frames` are those of a video, or of a camera until it is closed.

    Attributes:
      num_frames: as the file says; None if it does not, or of a camera.
      frames_per_second: as the file or the driver says, else 25.

    Raises DataError if it cannot be opened, or has frames of more than `max_pixels`.
    """

    def __init__(self, video: InputVideo, *, channels: int, max_pixels: int):
        cv2 = _opencv()
        conversions = {1: cv2.COLOR_BGR2GRAY, 3: cv2.COLOR_BGR2RGB}
        if channels not in conversions:
            raise UsageError(f'{video}: the model needs {channels} channels, videos hold 3')
        self._cv2, self._video, self._conversion = cv2, video, conversions[channels]
        self._capture = cv2.VideoCapture(video.source)
        if not self._capture.isOpened():
            if isinstance(video.source, int):
                raise DataError(f'--camera: there is no camera {video.source}, or it is in use')
            raise DataError(f'{video}: not a video, damaged, or of an unknown format')
        height, width = self._told(cv2.CAP_PROP_FRAME_HEIGHT), self._told(cv2.CAP_PROP_FRAME_WIDTH)
        if height * width > max_pixels:
            raise DataError(f'{video}: frames of more than {max_pixels:,} pixels; scale it down')
        num_frames = self._told(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames = int(num_frames) if num_frames >= 1 and not isinstance(video.source, int) else None
        rate = self._told(cv2.CAP_PROP_FPS)
        self.frames_per_second = rate if 0 < rate <= _TOLD_AT_MOST else _FRAMES_PER_SECOND

    def frames(self) -> Iterator[np.ndarray]:
        """uint8 [H, W, channels], RGB or grey, all of one size.

        Raises DataError, after what could be read, if there is none, or the file ends more than a frame too early, or
        the size changes.
        """
        count, shape = 0, None
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            shape = shape or frame.shape
            if frame.shape != shape:
                raise DataError(f'{self._video}: frame {count} has another size than those before')
            count += 1
            pixels = self._cv2.cvtColor(frame, self._conversion)
            yield pixels.reshape(*pixels.shape[:2], -1)
        if not count:
            raise DataError(f'{self._video}: no frame can be read')
        if isinstance(self._video.source, int):
            raise DataError(f'{self._video}: gives no more frames')
        if self.num_frames is not None and count < self.num_frames - 1:
            raise DataError(f'{self._video}: damaged, of {self.num_frames} frames the first {count} can be read')

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception) -> None:
        self._capture.release()

    def _told(self, what: int) -> float:
        value = self._capture.get(what)
        return value if math.isfinite(value) else 0.0


class Writer:
    """A context manager that writes frames of one size into an mp4 file, beside `path`, and renames it into place.

    mp4 has even sides: of an odd one the last row or column is cut. A file without frames is not left. On leaving, what
    was written is read for its number of frames: OpenCV does not tell of a full disk.

    Raises UserError if that cannot be done.
    """

    def __init__(self, path: str, *, frames_per_second: float):
        self._path, self._rate = path, frames_per_second
        self._temporary = f'{path}.{os.getpid()}.tmp.mp4'  # the extension tells OpenCV the container
        self._cv2, self._writer, self.num_frames = _opencv(), None, 0

    def write(self, frame: np.ndarray) -> None:
        """One more frame, uint8 [H, W, 3], RGB."""
        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        self._writer.write(self._cv2.cvtColor(frame, self._cv2.COLOR_RGB2BGR))
        self.num_frames += 1

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind, *exception) -> None:
        """Of an error that is not the source's (`DataError`), nothing is left."""
        try:
            if self._writer is None:
                return
            self._writer.release()
            if kind is None or issubclass(kind, DataError):
                self._check()
                os.replace(self._temporary, self._path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._temporary)

    def _open(self, width: int, height: int) -> Any:
        if min(width, height) < 2:
            raise UserError(f'{self._path}: frames of {height} x {width} are too small for mp4')
        with open(self._temporary, 'wb'):  # where that is refused, the reason is told
            pass
        writer = self._cv2.VideoWriter(
            self._temporary, self._cv2.VideoWriter.fourcc(*_CODEC), self._rate, (width, height)
        )
        if not writer.isOpened():
            raise UserError(
                f'{self._path}: this OpenCV cannot write mp4 with the codec {_CODEC}; '
                'run: pip install --force-reinstall opencv-python-headless'
            )
        return writer

    def _check(self) -> None:
        written = self._cv2.VideoCapture(self._temporary)
        count = written.get(self._cv2.CAP_PROP_FRAME_COUNT) if written.isOpened() else 0
        written.release()
        if count != self.num_frames:
            raise UserError(f'{self._path}: {self.num_frames} frames could not be written; is the disk full?')


def _opencv() -> Any:
    """The module, told to keep its own messages, and FFmpeg's, to itself."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _is_result(path: str, output_dir: str) -> bool:
    folder = os.path.join(os.path.abspath(output_dir), '')
    return os.path.abspath(path).startswith(folder) and path.endswith(SUFFIX)
