"""The field tables in the documentation are those of the schema."""

from __future__ import annotations

from pathlib import Path

from protos import document, pipeline_pb2, preprocessor_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_current():
    page = (ROOT / 'docs' / 'config_fields.md').read_text()
    assert page == document.document(), 'run: make protos'


def test_every_field_of_every_message_is_on_it():
    files, messages = [pipeline_pb2.DESCRIPTOR], {}
    while files:
        file = files.pop()
        messages.update(file.message_types_by_name)
        files += file.dependencies
    blocks = {block.name: block for path in (ROOT / 'protos').glob('*.proto') for block in document.read(path)}
    for name, message in messages.items():
        assert [row[0] for row in blocks[name].rows] == [field.name for field in message.fields], name


def test_reads_comments_types_and_defaults(tmp_path):
    path = tmp_path / 'a.proto'
    path.write_text(
        'message A {\n  // The a.\n  // More | of it.\n  optional float a = 1 [default = 0.5];\n'
        '  oneof which {\n    // A b.\n    B b = 2;\n  }\n  // Cs.\n  repeated C c = 3;\n}\n// Empty.\nmessage B {}\n'
    )
    a, b = document.read(path)
    assert a.rows == [
        ('a', 'float', '0.5', 'The a. More | of it.'),
        ('b', 'B, one of `which`', '', 'A b.'),
        ('c', 'C, repeated', '', 'Cs.'),
    ]
    assert (b.name, b.comment, b.rows) == ('B', 'Empty.', [])


def test_enums_are_documented():
    blocks = {block.name: block for block in document.read(ROOT / 'protos' / 'preprocessor.proto')}
    assert [row[0] for row in blocks['ResizeType'].rows] == list(preprocessor_pb2.ResizeType.keys())
