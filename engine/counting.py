"""Counting beside the network: the scores of one image are taken while the network looks at the next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np

from engine.gallery import Gallery
from metrics.accumulator import Accumulator
from reports.pictures import Picture


class Counting:
    """Adds images to the scores in a thread, one at a time, so that their order is kept; a context manager.

    Args:
      scores: what they are added to; to be read only after `wait`.
      gallery: is offered each picture.
      finish: called in the caller's thread with each image's record, in order.
    """

    def __init__(self, scores: Accumulator, *, gallery: Gallery | None, finish: Callable[[dict[str, Any]], None]):
        self._scores, self._gallery, self._finish = scores, gallery, finish
        self._worker = ThreadPoolExecutor(1)
        self._pending: Future[dict[str, Any]] | None = None

    def __enter__(self) -> Counting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.shutdown()

    def add(
        self,
        name: str,
        label: np.ndarray,
        prediction: np.ndarray,
        *,
        confidence: np.ndarray,
        instance_ids: np.ndarray | None,
        picture: Callable[[], Picture],
    ) -> None:
        """Waits for the image before, then starts on this one; the arguments are those of `Accumulator.add`.

        Args:
          picture: makes the image's picture, if the gallery wants it.
        """
        self.wait()

        def count() -> dict[str, Any]:
            record = self._scores.add(name, label, prediction, confidence=confidence, instance_ids=instance_ids)
            if self._gallery:
                self._gallery.offer(name, self._scores.image_counts, picture, group=record['group'])
            return record

        self._pending = self._worker.submit(count)

    def wait(self) -> None:
        """Returns when every image is counted and finished; raises what went wrong with the last."""
        if self._pending:
            record, self._pending = self._pending.result(), None
            self._finish(record)
