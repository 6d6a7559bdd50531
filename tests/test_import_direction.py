"""Which way each file may look: docs/architecture.md, checked on every import, lazy ones included."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RANKS = {
    'third_party': 0,
    'protos': 0,
    'core': 1,
    'inputs': 2,
    'feature_extractors': 2,
    'meta_architectures': 2,
    'metrics': 2,
    'compression': 2,
    'exporters': 2,
    'recompute': 2,
    'reports': 2,
    'builders': 3,
    'engine': 4,
    'dataset_tools': 4,  # sees ranks up to 3; nothing but the rank above sees it
    'benchmarks': 5,
    'demo': 5,
}
SCRIPT_RANK = 5
SEE_PROTOS = {'protos', 'builders', 'engine', 'dataset_tools', 'benchmarks'}
SEE_DISTRIBUTION = {'engine', 'benchmarks'}
# The second gives the public reference implementation its slim, in a process of its own.
SEE_SLIM = {'third_party/slim.py', 'benchmarks/peers/reference_names.py'}
FORBIDDEN_FOLDERS = {'utils', 'libs', 'common'}
NOT_SOURCE = {'tests', 'typings', 'runs', 'data'}


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of each import; `from a import b` gives a.b, since b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = '.' * node.level + (node.module or '')
            for alias in node.names:
                yield node.lineno, f'{base}.{alias.name}'
        elif isinstance(node, ast.Call) and node.args and _is_import_call(node.func):
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, name.value


def _is_import_call(function: ast.expr) -> bool:
    name = getattr(function, 'attr', getattr(function, 'id', ''))
    return name in ('import_module', '__import__')


def distribution_mentions(tree: ast.AST) -> Iterator[int]:
    """Lines that read `tf.distribute`, under any name of the module, or import it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == 'distribute':
            yield node.lineno
    for line, module in imports_of(tree):
        if module.startswith('tensorflow.') and 'distribute' in module.split('.'):
            yield line


def check_file(path: str, source: str) -> Iterator[str]:
    """Problems of one file, each as `path:line: ...`. `path` is relative to the root, with slashes."""
    tree = ast.parse(source)
    folder = path.split('/')[0] if '/' in path else ''
    for line, module in imports_of(tree):
        problem = _import_problem(path, folder, module)
        if problem:
            yield f'{path}:{line}: {problem}'
    if folder in RANKS and folder not in SEE_DISTRIBUTION:
        for line in distribution_mentions(tree):
            yield f'{path}:{line}: tf.distribute belongs to engine alone'


def _import_problem(path: str, folder: str, module: str) -> str | None:
    target = module.split('.')[0]
    if target == '':
        return 'relative import; name the folder'
    if target == 'tf_slim' and path not in SEE_SLIM:
        return 'tf_slim is imported in third_party/slim.py alone; import third_party.slim'
    if target == 'tests':
        return 'source imports tests'
    if target not in RANKS or target == folder:
        return None
    if target == 'protos' and folder and folder not in SEE_PROTOS:
        return f'{folder} must not see protos; a builder turns messages into arguments'
    rank = RANKS.get(folder, SCRIPT_RANK)
    if RANKS[target] > rank or (folder and RANKS[target] == rank):
        return f'{folder or "a script"} (rank {rank}) imports {target} (rank {RANKS[target]})'
    return None


def source_files(root: Path) -> list[Path]:
    """Every Python file below `root` that a person wrote, hidden folders and tests apart."""
    files = list(root.glob('*.py'))
    for folder in root.iterdir():
        if folder.is_dir() and folder.name not in NOT_SOURCE and not folder.name.startswith('.'):
            files += folder.rglob('*.py')
    return sorted(path for path in files if not path.name.endswith('_pb2.py'))


def problems_below(root: Path) -> list[str]:
    """Problems of every source file below `root`, and of its folders' names."""
    problems = []
    for path in source_files(root):
        parts = path.relative_to(root).parts
        place = '/'.join(parts)
        if len(parts) > 1 and parts[0] not in RANKS:
            problems.append(f'{place}: folder {parts[0]} has no rank; see docs/architecture.md')
        problems += [f'{place}: no folder is called {part}' for part in parts[:-1] if part in FORBIDDEN_FOLDERS]
        problems += check_file(place, path.read_text(encoding='utf-8'))
    return problems


def test_every_import_looks_the_right_way():
    problems = problems_below(ROOT)

    assert not problems, '\n'.join(problems)


def test_the_walk_sees_the_project():
    walked = {path.relative_to(ROOT).parts[0] for path in source_files(ROOT)}

    assert {'core', 'engine', 'builders', 'third_party'} <= walked


@pytest.mark.parametrize(
    ('path', 'line', 'word'),
    [
        ('core/a.py', 'import inputs.pipeline', 'imports inputs'),
        (
            'core/a.py',
            'def f():\n    from builders import model_builder',
            'core/a.py:2: core (rank 1)',
        ),
        ('inputs/a.py', 'from metrics.confusion import matrix', 'imports metrics'),
        ('builders/a.py', 'from engine import train_lib', 'imports engine'),
        ('engine/a.py', 'import dataset_tools.record_writer', 'imports dataset_tools'),
        ('dataset_tools/a.py', 'from engine import summaries', 'imports engine'),
        ('engine/a.py', 'import benchmarks', 'imports benchmarks'),
        ('core/a.py', 'import importlib\nimportlib.import_module("engine.train_lib")', 'core/a.py:2:'),
        ('meta_architectures/a.py', 'from protos import pspnet_pb2', 'must not see protos'),
        ('core/layers.py', 'import tf_slim as slim', 'third_party/slim.py alone'),
        ('train.py', 'import tf_slim', 'third_party/slim.py alone'),
        ('core/a.py', 'import tensorflow as tf\ntf.distribute.get_strategy()', 'core/a.py:2: tf.distribute'),
        ('inputs/a.py', 'from tensorflow.python.distribute import x', 'tf.distribute'),
        ('engine/a.py', 'from . import train_lib', 'relative import'),
        ('engine/a.py', 'from tests import fake_model', 'imports tests'),
        ('utils/a.py', 'pass', 'no folder is called utils'),
        ('core/common/a.py', 'pass', 'no folder is called common'),
        ('losses/a.py', 'pass', 'has no rank'),
    ],
)
def test_a_violation_is_named(tmp_path: Path, path: str, line: str, word: str):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line + '\n')

    problems = problems_below(tmp_path)

    assert any(word in problem and problem.startswith(path) for problem in problems), problems


@pytest.mark.parametrize(
    ('path', 'line'),
    [
        ('core/a.py', 'import core.errors\nfrom third_party import slim'),
        ('builders/a.py', 'from protos import model_pb2\nimport inputs.pipeline'),
        (
            'engine/a.py',
            'import tensorflow as tf\ntf.distribute.MirroredStrategy()\nimport builders.x',
        ),
        ('train.py', 'from engine import train_lib\nfrom builders import config_loader'),
        ('dataset_tools/a.py', 'from builders import input_builder\nfrom core import errors'),
        ('third_party/slim.py', 'import tf_slim'),
        ('inputs/a.py', 'import os, numpy, PIL.Image\nfrom inputs import label_map'),
    ],
)
def test_a_right_import_passes(tmp_path: Path, path: str, line: str):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line + '\n')

    assert problems_below(tmp_path) == []


def test_ranks_match_the_document():
    text = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    block = text.split('```')[1]

    missing = sorted(set(RANKS) - set(re.findall(r'\w+', block)))

    assert not missing, f'docs/architecture.md does not rank {missing}'
