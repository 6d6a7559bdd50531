"""Prediction of videos and cameras: decoding, network, painting and encoding at the same time."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from tqdm import tqdm

from core.errors import UserError
from engine import painting
from engine.interruption import Interruption
from engine.overlapped import Stopwatch, overlapped
from engine.predict_lib import Predictor
from engine.video_files import InputVideo, Reader, Writer


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoReport:
    """What was written for one video; rates in frames per second, None below two frames.

    Attributes:
      num_frames: written.
      network_rate, painting_rate: each stage by itself, while the others run beside it; without its first frame.
      rate: of the whole, first frame and all.
      interrupted: the signal that ended it, if one did.
    """

    num_frames: int
    network_rate: float | None
    painting_rate: float | None
    rate: float
    interrupted: str | None

    def __str__(self) -> str:
        apart = [('network', self.network_rate), ('painting', self.painting_rate)]
        rates = ''.join(f', {name} {rate:.3g}' for name, rate in apart if rate is not None)
        end = f'; stopped by {self.interrupted}' if self.interrupted else ''
        return f'{self.num_frames} frames; frames per second: {self.rate:.3g} in all{rates}{end}'


def run(predictor: Predictor, videos: Sequence[InputVideo]) -> tuple[list[str], str | None]:
    """Writes the overlay of each video, and prints a line about it; one that cannot be used does not stop the rest.

    SIGINT and SIGTERM end it with what is done: the video begun is finished with the frames so far.

    Returns:
      One line for each video that failed, and the signal that ended it, or None.
    """
    failures = []
    for video in videos:
        try:
            report = predict(predictor, video)
        except UserError as error:
            line = str(error) if str(error).startswith((str(video), video.target, '--')) else f'{video}: {error}'
            kept = f'; those before it are in {video.target}' if os.path.exists(video.target) else ''
            failures.append(line + kept)
            print(f'error: {failures[-1]}', file=sys.stderr)
            continue
        print(f'{video.target}: {report}')
        if report.interrupted:
            return failures, report.interrupted
    return failures, None


def predict(predictor: Predictor, video: InputVideo) -> VideoReport:
    """Writes the overlay of one video.

    Of a camera, a frame is written as often as keeps the video in time with the clock, so that it plays at the speed of
    life however slow the network is; `num_frames` counts it once.

    Raises UserError; DataError where the source ends in the middle, and what was read is written.
    """
    is_camera = isinstance(video.source, int)
    network, painter = Stopwatch(), Stopwatch()
    started = time.perf_counter()
    num_frames, interrupted = 0, None
    with (
        Interruption() as interruption,
        Reader(video, channels=predictor.input_channels, max_pixels=predictor.max_pixels) as reader,
        Writer(video.target, frames_per_second=reader.frames_per_second) as writer,
        tqdm(total=reader.num_frames, unit='frame', disable=None) as progress,
    ):
        class_ids = network.timed(predictor.predict)
        paint = painter.timed(functools.partial(painting.paint, 'overlay', label_map=predictor.label_map))
        decoded = overlapped(_with_times(reader.frames()))
        predicted = overlapped((second, frame, class_ids(frame)) for second, frame in decoded)
        painted = overlapped((second, paint(frame, ids)) for second, frame, ids in predicted)
        with closing(decoded), closing(predicted), closing(painted):  # left from the last stage to the first
            for second, picture in painted:
                for _ in range(copies(second, writer.num_frames, reader.frames_per_second) if is_camera else 1):
                    writer.write(picture)
                num_frames += 1
                progress.update()
                interrupted = interruption.requested
                if interrupted:
                    break
    return VideoReport(
        num_frames=num_frames,
        network_rate=network.per_second,
        painting_rate=painter.per_second,
        rate=num_frames / (time.perf_counter() - started),
        interrupted=interrupted,
    )


def copies(second: float, num_written: int, frames_per_second: float) -> int:
    """How often a frame taken `second` seconds after the first is written, to keep in time: 0 if it comes too soon."""
    return max(0, int(second * frames_per_second) + 1 - num_written)


def _with_times(frames: Iterator[np.ndarray]) -> Iterator[tuple[float, np.ndarray]]:
    """Each frame after the seconds since the first."""
    first = None
    for frame in frames:
        now = time.perf_counter()
        first = now if first is None else first
        yield now - first, frame
