"""Which steps of a demo are done, so that a second start goes on where the first one ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from demo.steps import Step


class Journal:
    """A JSON file {step name: fingerprint of its command and input files}.

    Args:
      path: the file; it need not exist.
      root: what the steps' paths are relative to.
      steps: all steps in order; running one makes the later ones undone.
    """

    def __init__(self, path: Path, root: Path, steps: Sequence[Step]):
        self._path = path
        self._root = root
        self._names = [step.name for step in steps]
        self._done: dict[str, str] = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}

    def is_done(self, step: Step) -> bool:
        """True if the same command finished before, on the same inputs, and its output is still there."""
        return self._done.get(step.name) == self._fingerprint(step) and (self._root / step.output).exists()

    def record(self, step: Step) -> None:
        """Notes that a step finished."""
        self._done[step.name] = self._fingerprint(step)
        self._write()

    def forget_from(self, step: Step) -> None:
        """Notes that a step and all later ones must run again."""
        for name in self._names[self._names.index(step.name) :]:
            self._done.pop(name, None)
        self._write()

    def _fingerprint(self, step: Step) -> str:
        digest = hashlib.sha256('\0'.join(step.arguments).encode())
        for path in step.inputs:
            digest.update((self._root / path).read_bytes())
        return digest.hexdigest()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix('.tmp')
        temporary.write_text(json.dumps(self._done, indent=2) + '\n', encoding='utf-8')
        temporary.replace(self._path)
