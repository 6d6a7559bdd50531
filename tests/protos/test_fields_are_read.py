"""No field is accepted and forgotten: a builder, the engine or a script reads it, or its comment says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protos import document

ROOT = Path(__file__).resolve().parents[2]
READERS = [
    *(ROOT / 'builders').glob('*_builder.py'),
    *(ROOT / 'engine').glob('*.py'),
    *ROOT.glob('*.py'),
]
SAID = re.compile(r'Without effect|Refused|informational')
# Chosen by WhichOneof, and told from its sibling alone.
READ_BY_EXCLUSION = {'EvalInputType.cropped_eval_input', 'Initializer.variance_scaling_initializer'}


def sources() -> list[Path]:
    """compressor.proto is for the compression script alone."""
    schema = sorted((ROOT / 'protos').glob('*.proto'))
    return [path for path in schema if path.stem != 'compressor' or (ROOT / 'compress.py').exists()]


@pytest.mark.parametrize('path', sources(), ids=lambda path: path.stem)
def test_every_field_is_read_or_says_why_not(path):
    code = '\n'.join(reader.read_text() for reader in READERS)
    unread = []
    for block in document.read(path):
        for name, kind, _, comment in block.rows:
            place = f'{block.name}.{name}'
            read = re.search(rf"""\.{name}\b|['"]{name}['"]""", code)
            if kind and not read and not SAID.search(comment) and place not in READ_BY_EXCLUSION:
                unread.append(place)
    assert unread == []
