"""The page `docs/config_fields.md`, from the comments of the schema; `make protos` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TARGET = FOLDER.parent / 'docs' / 'config_fields.md'

# Order of reading: the root first, then what it is made of.
_FILES = (
    *('pipeline', 'model', 'pspnet', 'icnet', 'fcn', 'losses', 'hyperparams'),
    *('train', 'optimizer', 'preprocessor', 'input_reader', 'eval', 'export', 'compressor'),
)
_BLOCK = re.compile(r'\s*(message|enum|oneof) (\w+) \{(\})?')
_FIELD = re.compile(r'\s*(?:(optional|repeated) )?([A-Za-z]\w*) (\w+) = \d+(?: \[default = (.*)\])?;')
_VALUE = re.compile(r'\s*([A-Z]\w*) = \d+;')

_HEAD = """# Every field of a config

Made from the comments in `protos/*.proto` by `make protos`; change it there. How a config is put
together, overridden and checked is in [configs.md](configs.md).
"""


@dataclass
class Block:
    """A message or an enum: its comment, and its fields or values as rows of a table."""

    name: str
    comment: str
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)


def document() -> str:
    """The whole page."""
    blocks = [block for name in _FILES for block in read(FOLDER / f'{name}.proto')]
    return '\n'.join([_HEAD, *map(_section, blocks)])


def read(path: Path) -> Iterator[Block]:
    """The messages and enums of one .proto file, in the order of their names' first lines."""
    blocks: list[Block] = []
    open_blocks: list[Block | str] = []
    comment: list[str] = []
    for line in path.read_text(encoding='utf-8').splitlines():
        text = line.strip()
        if text.startswith('//'):
            comment.append(text[2:].strip())
            continue
        if match := _BLOCK.match(line):
            kind, name, closed = match.groups()
            if kind == 'oneof':
                open_blocks.append(name)
            else:
                blocks.append(Block(name, ' '.join(comment)))
                open_blocks += [] if closed else [blocks[-1]]
        elif text == '}':
            open_blocks.pop()
        elif match := _FIELD.match(line):
            label, kind, name, default = match.groups()
            oneof = open_blocks[-1] if isinstance(open_blocks[-1], str) else None
            shown = f'{kind}, repeated' if label == 'repeated' else f'{kind}, one of `{oneof}`' if oneof else kind
            _message(open_blocks).rows.append((name, shown, default or '', ' '.join(comment)))
        elif match := _VALUE.match(line):
            _message(open_blocks).rows.append((match[1], '', '', ' '.join(comment)))
        comment = []
    yield from blocks


def _message(open_blocks: list[Block | str]) -> Block:
    return next(block for block in reversed(open_blocks) if isinstance(block, Block))


def _section(block: Block) -> str:
    lines = [f'## {block.name}', '', block.comment, '']
    if block.rows and not block.rows[0][1]:
        lines += ['| value | meaning |', '|---|---|', *(f'| `{row[0]}` | {_cell(row[3])} |' for row in block.rows), '']
    elif block.rows:
        lines += ['| field | type | default | meaning |', '|---|---|---|---|']
        lines += [f'| `{n}` | {kind} | {_code(default)} | {_cell(text)} |' for n, kind, default, text in block.rows]
        lines.append('')
    return '\n'.join(lines)


def _code(text: str) -> str:
    return f'`{text}`' if text else ''


def _cell(text: str) -> str:
    return text.replace('|', '\\|')
