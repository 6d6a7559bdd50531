"""What a user did wrong, said in one clear line.

A script run through `core.command_line.run` prints these without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPERATION = re.compile(r'\{\{\w+ [^}]*\}\} ?| ?\[Op:\w+\]')


class UserError(Exception):
    """A failure the user can repair: the message says what, where, and what to do. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong flag or field: nothing was started. Exit code 2."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more problems of a config, all reported at once.

    Args:
      problems: one line each, `path:line:column: ...` or `field.path: ...`.
    """

    def __init__(self, problems: Sequence[str] | str):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__('\n'.join(self.problems))


class DataError(UserError):
    """Records, images or labels that cannot be used. Exit code 1."""


class CheckpointError(UserError):
    """A checkpoint that is missing, broken or of another model. Exit code 1."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint of which bytes are missing or wrong. Exit code 1.

    Args:
      path: its prefix.
      what: what is wrong with it, in a few words.
    """

    def __init__(self, path: str, what: str):
        self.path, self.what = path, what
        super().__init__(f'{path}: {what}; use another, or copy it again')


def first_line(error: Exception) -> str:
    """The first line of an error's message without TensorFlow's names of operations, at most 400 characters."""
    message = _OPERATION.sub('', str(getattr(error, 'message', None) or error)).strip()
    return message.splitlines()[0][:400] if message else type(error).__name__
