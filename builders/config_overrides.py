"""`--set path.to.field=value`: changes to a config from the command line; imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from builders.config_text import AnyField, no_field, parse
from builders.names import suggestion
from core.errors import ConfigError

_SEGMENT = re.compile(r'(\w+)(?:\[(\d+)\])?$')
_WHOLE = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_TRUTH = {'true': True, '1': True, 'false': False, '0': False}


def apply(config: Message, overrides: Sequence[str]) -> None:
    """Applies overrides to `config` in place, in order.

    Forms: `a.b=3`; `a.list=[1, 2]` (replaces the list); `a.list+=3` (appends one value, or several in [...]);
    `a.list[0]=3`, `a.list[0].x=3`; `a.message={x: 1 y: 2}` (replaces the message). Texts and enum names need no quotes.
    Setting a member of a oneof clears the other members.

    Raises ConfigError with one line for every override that cannot be applied.
    """
    problems = []
    for override in overrides:
        try:
            _apply_one(config, override)
        except ValueError as error:
            problems.append(f'--set {override}: {error}')
    if problems:
        raise ConfigError(problems)


def _apply_one(config: Message, override: str) -> None:
    path, separator, value = override.partition('=')
    if not separator or not path.strip('+ '):
        raise ValueError('expected path.to.field=value')
    appends = path.endswith('+')
    *parents, last = path.removesuffix('+').strip().split('.')
    message = config
    for segment in parents:
        message = _descend(message, segment)
    field, index = _find(message, last)
    text = value.strip()
    if appends:
        if not field.is_repeated or index is not None:
            raise ValueError(f'{field.name} is not a list, use = instead of +=')
        _extend(message, field, text)
    elif field.is_repeated and index is None:
        message.ClearField(field.name)
        _extend(message, field, text)
    elif index is not None:
        _assign_element(message, field, index, text)
    else:
        _assign(message, field, text)


def _find(message: Message, segment: str) -> tuple[AnyField, int | None]:
    """The field a segment such as `name` or `name[2]` means, and the index."""
    match = _SEGMENT.match(segment)
    if match is None:
        raise ValueError(f'cannot read {segment!r}, expected name or name[index]')
    field = message.DESCRIPTOR.fields_by_name.get(match[1])
    if field is None:
        raise ValueError(no_field(message.DESCRIPTOR, match[1]))
    if match[2] is None:
        return field, None
    if not field.is_repeated:
        raise ValueError(f'{field.name} is not a list, leave out [{match[2]}]')
    index, length = int(match[2]), len(getattr(message, field.name))
    if index >= length:
        held = f'it has {length} element{"s" * (length != 1)}, counted from 0'
        raise ValueError(f'{field.name}[{index}] does not exist: {held}; append with {field.name}+=')
    return field, index


def _descend(message: Message, segment: str) -> Message:
    field, index = _find(message, segment)
    if field.message_type is None:
        raise ValueError(f'{field.name} is a value and has no fields')
    if index is not None:
        return getattr(message, field.name)[index]
    if field.is_repeated:
        raise ValueError(f'{field.name} is a list, write {field.name}[0] for its first element')
    child = getattr(message, field.name)
    child.SetInParent()
    return child


def _assign(message: Message, field: AnyField, text: str) -> None:
    value = _value(field, text)
    if isinstance(value, Message):
        child = getattr(message, field.name)
        child.SetInParent()
        child.CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _assign_element(message: Message, field: AnyField, index: int, text: str) -> None:
    value = _value(field, text)
    elements = getattr(message, field.name)
    if isinstance(value, Message):
        elements[index].CopyFrom(value)
    else:
        elements[index] = value


def _extend(message: Message, field: AnyField, text: str) -> None:
    texts = _split(text[1:-1]) if text.startswith('[') and text.endswith(']') else [text]
    getattr(message, field.name).extend([_value(field, item) for item in texts])


def _split(text: str) -> list[str]:
    """Splits at commas outside of brackets and quotes: `{a: 1, b: 2}, {}` has two items."""
    items, start, depth, quote = [], 0, 0, ''
    for position, character in enumerate(text):
        if quote:
            quote = '' if character == quote else quote
        elif character in '"\'':
            quote = character
        elif character in '{[':
            depth += 1
        elif character in '}]':
            depth -= 1
        elif character == ',' and depth == 0:
            items.append(text[start:position].strip())
            start = position + 1
    last = text[start:].strip()
    return [*items, last] if last or items else []


def _value(field: AnyField, text: str) -> Any:
    """The Python value or message that `text` means for `field`; ValueError says what was expected."""
    if field.message_type is not None:
        return _message(field, text)
    if field.enum_type is not None:
        value = field.enum_type.values_by_name.get(_unquoted(text))
        if value is None:
            raise ValueError(f'got {text!r}{suggestion(text, list(field.enum_type.values_by_name))}')
        return value.number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _unquoted(text)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in _TRUTH:
            raise ValueError(f'expected true or false, got {text!r}')
        return _TRUTH[text.lower()]
    if field.cpp_type in _WHOLE:
        return _whole_number(text, *_WHOLE[field.cpp_type])
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'expected a number, got {text!r}') from None


def _whole_number(text: str, low: int, high: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise ValueError(f'expected a whole number, got {text!r}') from None
    if not low <= value <= high:
        raise ValueError(f'expected a whole number {low}..{high}, got {text!r}')
    return value


def _message(field: AnyField, text: str) -> Message:
    message = message_factory.GetMessageClass(field.message_type)()
    if not (text.startswith('{') and text.endswith('}')):
        raise ValueError(f'{field.name} is a block, write {{...}} or name a field inside: {_inner_names(message)}')
    try:
        return parse(text[1:-1], message, 'in the block')
    except ConfigError as error:
        raise ValueError('; '.join(error.problems)) from None


def _inner_names(message: Message) -> list[str]:
    return [inner.name for inner in message.DESCRIPTOR.fields]


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in '"\''
    return text[1:-1] if quoted else text
