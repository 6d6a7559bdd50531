"""What a pipeline raises about its records, as one line for the user."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import tensorflow as tf

from core.errors import DataError

# A message that quotes bytes of a record, which are no text, comes as the second.
PIPELINE_ERRORS = (tf.errors.OpError, UnicodeDecodeError)


@contextlib.contextmanager
def user_errors(culprit: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turns what a pipeline raises while it is iterated, about the data, into a one-line DataError.

    To be put around `next(batches)`, or around a loop over a dataset. Assertions of this package and records or
    pictures that are damaged are translated; anything else passes unchanged.

    Args:
      culprit: called after such an error; the line that names the damaged record, or None if it finds none.
    """
    try:
        yield
    except PIPELINE_ERRORS as error:
        reason = what_is_wrong(error)
        if reason is None:
            raise
        found = culprit()
        if found:
            raise DataError(found) from error
        if isinstance(error, tf.errors.DataLossError):
            reason = (
                f'a record file is damaged ({reason}): convert the data again; '
                '`python -m builders.check_config CONFIG` names the file'
            )
        raise DataError(reason) from error


_ABOUT_THE_GRAPH = re.compile(r'Graph execution error|Detected at node|\[\[|\d+ root error|File "|<stack traces')
# What an assertion with one text says, run in a graph and run eagerly.
_ASSERTION = re.compile(r"assertion failed: \[(?P<graph>.+?)\]\s*(?:\[\[|\n|$)|Summarized data: b'(?P<eager>.+)'")


def what_is_wrong(error: tf.errors.OpError | UnicodeDecodeError) -> str | None:
    """What an error says about the data it met; None if it is about something else."""
    if isinstance(error, UnicodeDecodeError):
        return 'the record is no tf.train.Example, or the name in it no text'
    # What follows there is the record itself: noise, some of which is text.
    if 'Could not parse example input' in str(error):
        return 'the record is no tf.train.Example'
    if isinstance(error, tf.errors.DataLossError):
        return _first_line(error)
    if not isinstance(error, tf.errors.InvalidArgumentError):
        return None
    said = _ASSERTION.search(error.message)
    if said:
        return said['graph'] or said['eager']
    if re.search(r'Decode|decod|Parse|parse|JPEG|PNG|GIF|BMP|Dataset was empty', error.message):
        return f'a record cannot be decoded: {_first_line(error)}'
    return None


def _first_line(error: tf.errors.OpError) -> str:
    """The first line of what TensorFlow says about the matter, without where in its graph it happened."""
    said = re.sub(r'\{\{.*?\}\}|\[Op:.*', '', error.message)
    said = re.sub(r'Error in user-defined function passed to .*? transformation with iterator: \S+: ', '', said)
    lines = [line.strip() for line in said.splitlines()]
    lines = [re.sub(r'^\(\d+\) [A-Z_]+: ', '', line) for line in lines if line and not _ABOUT_THE_GRAPH.match(line)]
    return lines[0] if lines else 'no reason given'
