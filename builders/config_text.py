"""Protobuf text -> message, with errors that say where and what to write instead; imports no TensorFlow."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from builders.names import suggestion
from core.errors import ConfigError

MessageT = TypeVar('MessageT', bound=Message)

# Descriptors come from protobuf's Python or from its C implementation, which share no base class.
AnyDescriptor = Any
AnyField = Any

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(.*)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value (?:named|with number) (\S+?)\.?$')
_REPEATED_FIELD = re.compile(r'Message type "[\w.]*?(\w+)" should not have multiple "(\w+)" fields')
_SECOND_MEMBER = re.compile(r'Field "(\w+)" is specified along with field "(\w+)"')
_WRONG_NUMBER = re.compile(r"Couldn't parse (integer|float): (.+)")
_OUT_OF_RANGE = re.compile(r'Value out of range: (.+)')
_WRONG_STRING = re.compile(r"Expected string but found: '(.*)'")
_MAX_PROBLEMS = 50


def parse(text: str, message: MessageT, place: str) -> MessageT:
    """Fills `message` from `text` and returns it.

    Args:
      text: protobuf text format.
      message: an empty message of the wanted type.
      place: what the text is called in errors, usually its path.

    Raises ConfigError with `place:line:column: ...` for every value of the wrong type, up to the first error in the
    structure itself (an unknown field, a missing bracket), behind which nothing can be told.
    """
    problems = []
    while True:
        try:
            result = text_format.Parse(text, message)
        except text_format.ParseError as error:
            line, column = error.GetLine() or 1, error.GetColumn() or 1
            problems.append(f'{place}:{line}:{column}: {_explain(error, text, line, column, message.DESCRIPTOR)}')
            repaired = _replace_wrong_value(str(error), text, line, column)
            if repaired is None or len(problems) == _MAX_PROBLEMS:
                raise ConfigError(problems) from error
            text = repaired
            message.Clear()
        else:
            if problems:
                raise ConfigError(problems)
            return result


def _replace_wrong_value(error: str, text: str, line: int, column: int) -> str | None:
    """The text with the wrong number or truth value at line:column made valid, so that parsing finds the next one."""
    if not (_WRONG_NUMBER.search(error) or 'Expected "true" or "false"' in error):
        return None
    lines = text.split('\n')
    token = re.match(r'[\w.+-]+|"[^"]*"|\'[^\']*\'', lines[line - 1][column - 1 :])
    if token is None:
        return None
    end = column - 1 + token.end()
    lines[line - 1] = lines[line - 1][: column - 1] + '1'.ljust(token.end()) + lines[line - 1][end:]
    return '\n'.join(lines)


def _explain(error: text_format.ParseError, text: str, line: int, column: int, root: AnyDescriptor) -> str:
    """One sentence without the parser's quotation of the whole line."""
    lines = text.split('\n')
    source = lines[line - 1] if line <= len(lines) else ''
    reason = re.sub(r'^\d+:\d+ : ', '', str(error)).removeprefix(f"'{source}': ")
    field = _field_before(source, column)
    if match := _UNKNOWN_FIELD.search(reason):
        descriptor = root.file.pool.FindMessageTypeByName(match[1])
        return no_field(descriptor, match[2])
    if match := _UNKNOWN_VALUE.search(reason):
        values = root.file.pool.FindEnumTypeByName(match[1]).values_by_name
        return f'{field}: got {match[2]!r}{suggestion(match[2], list(values))}'
    if match := _REPEATED_FIELD.search(reason):
        return f'{match[2]} is set twice in {match[1]}'
    if match := _SECOND_MEMBER.search(reason):
        return f'{match[2]} and {match[1]} exclude each other, keep one'
    if match := _WRONG_NUMBER.search(reason):
        kind = 'a whole number' if match[1] == 'integer' else 'a number'
        return f'{field}: expected {kind}, got {match[2]!r}'
    if match := _OUT_OF_RANGE.search(reason):
        return f'{field}: got {match[1]}, which is too small or too large for this field'
    if match := _WRONG_STRING.search(reason):
        return f'{field}: expected a text in quotes, got {match[1]!r}'
    if 'Expected "true" or "false"' in reason:
        return f'{field}: expected true or false, got {_token_at(source, column)!r}'
    if reason.startswith('Expected "}"') and not ''.join(lines[line - 1 :])[column:].strip('} \t'):
        return "the text ends before the last '{' is closed, add '}'"
    return reason[0].lower() + reason[1:].rstrip('.')


def no_field(descriptor: AnyDescriptor, name: str) -> str:
    """`ICNet has no field 'x', did you mean 'y'? choose from [...]`."""
    return f'{descriptor.name} has no field {name!r}{suggestion(name, [field.name for field in descriptor.fields])}'


def _field_before(source: str, column: int) -> str:
    names = re.findall(r'([A-Za-z_]\w*)\s*:', source[: column - 1])
    return names[-1] if names else 'value'


def _token_at(source: str, column: int) -> str:
    token = re.match(r'\S+', source[column - 1 :])
    return token[0] if token else ''
