"""The schema: a superset of the reference's, every field commented, its generated code current."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from protos import generate, pipeline_pb2

PROTOS = Path(__file__).resolve().parents[2] / 'protos'
SOURCES = sorted(PROTOS.glob('*.proto'))
_TYPES = {
    FieldDescriptor.TYPE_INT32: 'int32',
    FieldDescriptor.TYPE_UINT32: 'uint32',
    FieldDescriptor.TYPE_FLOAT: 'float',
    FieldDescriptor.TYPE_BOOL: 'bool',
    FieldDescriptor.TYPE_STRING: 'string',
}


def messages() -> dict[str, Descriptor]:
    """Every message of the schema by its name."""
    modules = [importlib.import_module(f'protos.{path.stem}_pb2') for path in SOURCES]
    return {name: d for module in modules for name, d in module.DESCRIPTOR.message_types_by_name.items()}


def reference_fields(text: str) -> list[tuple[str, str, int, str, str | None]]:
    """(message, field, number, type, default) of each line of SCHEMA.md."""
    fields, message = [], ''
    for line in text.splitlines():
        if line.startswith('### '):
            message = line[4:].strip()
        match = re.match(r'- `(\w+)` #(\d+): ((?:repeated )?[\w{},]+)(?: \(oneof (\w+)\))?(?: = ?(.*))?$', line)
        if match:
            kind = f'{match[3]} in {match[4]}' if match[4] else match[3]
            fields.append((message, match[1], int(match[2]), kind, match[5]))
    return fields


def describe(field: FieldDescriptor) -> str:
    """The type as SCHEMA.md writes it."""
    if field.message_type is not None:
        kind = field.message_type.name
    elif field.enum_type is not None:
        kind = f'{field.enum_type.name}{{{",".join(value.name for value in field.enum_type.values)}}}'
    else:
        kind = _TYPES[field.type]
    kind = f'repeated {kind}' if field.is_repeated else kind
    return f'{kind} in {field.containing_oneof.name}' if field.containing_oneof else kind


def same_default(field: FieldDescriptor, expected: str | None) -> bool:
    if expected is None:
        return not field.has_default_value
    value = field.default_value
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name == expected
    if isinstance(value, float):
        return value == pytest.approx(float(expected), rel=1e-6)
    return str(value) == expected.strip()


def test_superset_of_the_reference(shared_dir):
    expected = reference_fields((shared_dir / 'reference' / 'SCHEMA.md').read_text())
    assert len(expected) > 100
    known = messages()
    for message, name, number, kind, default in expected:
        field = known[message].fields_by_name[name]
        place = f'{message}.{name}'
        assert (place, field.number, describe(field)) == (place, number, kind)
        assert same_default(field, default), f'{place}: default {field.default_value!r}, reference {default!r}'


def test_new_fields_do_not_take_numbers_the_reference_may_use(shared_dir):
    text = (shared_dir / 'reference' / 'SCHEMA.md').read_text()
    theirs = {(message, name) for message, name, *_ in reference_fields(text)}
    old_messages = set(re.findall(r'^### (\w+)$', text, re.MULTILINE))
    new = [
        field
        for message in messages().values()
        for field in message.fields
        if message.name in old_messages and (message.name, field.name) not in theirs
    ]
    assert len(new) >= 20
    assert {field.full_name for field in new if field.number < 20} == set()


def test_package_and_root_message():
    assert pipeline_pb2.PipelineConfig.DESCRIPTOR.full_name == 'fast_semantic_segmentation.protos.PipelineConfig'


@pytest.mark.parametrize('source', SOURCES, ids=lambda path: path.stem)
def test_every_field_message_and_value_is_commented(source):
    lines = source.read_text().splitlines()
    declaration = re.compile(
        r'\s*(message \w+|enum \w+|(optional|repeated) .*= \d+|[A-Z]\w+ \w+ = \d+;|[A-Z_]+ = \d+;)'
    )
    bare = [
        f'{source.name}:{number + 1}: {line.strip()}'
        for number, line in enumerate(lines)
        if declaration.match(line) and not lines[number - 1].strip().startswith('//')
    ]
    assert bare == []


@pytest.mark.parametrize('source', SOURCES, ids=lambda path: path.stem)
def test_every_value_says_where_its_default_comes_from(source):
    declaration = re.compile(r'\s*optional (float|bool|u?int32|string|ResizeType|Mode|Precision) (\w+) = \d+')
    comment, silent = '', []
    for line in source.read_text().splitlines():
        if line.strip().startswith('//'):
            comment += line
            continue
        match = declaration.match(line)
        if match and not re.search(r'[Dd]efault|Unset|Must be set|must be set|Without effect', comment):
            silent.append(f'{source.name}: {match[2]}')
        comment = ''
    assert silent == []


def test_lines_are_not_too_long():
    long = [
        f'{path.name}:{i + 1}' for path in SOURCES for i, x in enumerate(path.read_text().splitlines()) if len(x) > 120
    ]
    assert long == []


def test_generated_code_is_current(tmp_path):
    if importlib.util.find_spec('grpc_tools') is None:
        pytest.skip('grpcio-tools, a development dependency, is not installed')
    generate.generate(tmp_path)
    written = sorted(path.name for path in (tmp_path / 'protos').iterdir())
    assert written == sorted(path.name for path in PROTOS.glob('*_pb2.py*'))
    stale = [name for name in written if (PROTOS / name).read_text() != (tmp_path / 'protos' / name).read_text()]
    assert stale == [], 'run: make protos'
