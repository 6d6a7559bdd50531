"""Every command that a document shows exists, with its flags; every link and config that it names is there."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
_FENCE = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)
_LINK = re.compile(r'\]\(([^)#\s]+)')
_SHELL = ('', 'bash', 'sh', 'shell', 'console')


def commands(text: str) -> list[list[str]]:
    """`python` and `make` command lines of fenced blocks, as words; a backslash joins lines."""
    found = []
    for language, block in _FENCE.findall(text):
        if language not in _SHELL:
            continue
        for line in block.replace('\\\n', ' ').splitlines():
            match = re.match(r'\s*(?:\$ )?(?:\w+=\S+ )*((?:\S*/)?python3?|make) (.*)', line)
            if match:
                found.append([os.path.basename(match[1]), *shlex.split(match[2], comments=True)])
    return found


def problem_of(command: list[str]) -> str | None:
    """What is wrong with a command, or None."""
    program, *words = command
    if program == 'make':
        return _make_problem(words)
    if words[:1] == ['-m']:
        return _module_problem(words[1], words[2:])
    if words and words[0].endswith('.py'):
        return _script_problem(words[0], words[1:])
    return None


def _make_problem(words: list[str]) -> str | None:
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE))
    unknown = [word for word in words if '=' not in word and not word.startswith('-') and word not in targets]
    return f'make has no target {unknown}' if unknown else None


def _module_problem(module: str, words: list[str]) -> str | None:
    path = ROOT / module.replace('.', '/')
    if path.with_suffix('.py').is_file() or (path / '__main__.py').is_file():
        return _flags_problem(('-m', module), words)
    if (ROOT / module.split('.')[0]).is_dir() or importlib.util.find_spec(module.split('.')[0]) is None:
        return f'no module {module}'
    return None


def _script_problem(script: str, words: list[str]) -> str | None:
    if not (ROOT / script).is_file():
        return f'no script {script}'
    return _flags_problem((script,), words)


def _flags_problem(program: tuple[str, ...], words: list[str]) -> str | None:
    missing_files = [word for word in words if word.startswith('configs/') and not any(ROOT.glob(word))]
    if missing_files:
        return f'no file {missing_files}'
    flags = {word.split('=')[0] for word in words if re.match(r'--\w', word)}
    if not flags:
        return None
    known = _known_flags(program)
    unknown = sorted(flag for flag in flags if flag not in known and flag.replace('--no', '--', 1) not in known)
    return f'{" ".join(program)} has no flag {unknown}' if unknown else None


@functools.cache
def _known_flags(program: tuple[str, ...]) -> frozenset[str]:
    result = subprocess.run([sys.executable, *program, '--help'], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f'{program} --help failed:\n{result.stderr}'
    return frozenset(re.findall(r'--\w[\w-]*', result.stdout))


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist_with_their_flags(document: Path):
    problems = []
    for command in commands(document.read_text(encoding='utf-8')):
        problem = problem_of(command)
        if problem:
            problems.append(f'{document.name}: {shlex.join(command)}: {problem}')

    assert not problems, '\n'.join(problems)


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path):
    links = _LINK.findall(_FENCE.sub('', document.read_text(encoding='utf-8')))

    missing = [link for link in links if '://' not in link and not (document.parent / link).exists()]

    assert not missing, f'{document.name}: {missing}'


def test_the_readme_leads_to_every_document():
    links = _LINK.findall((ROOT / 'README.md').read_text(encoding='utf-8'))

    missing = [path.name for path in (ROOT / 'docs').glob('*.md') if f'docs/{path.name}' not in links]

    assert not missing, f'README.md does not link {missing}'


def test_the_readme_starts_with_the_two_commands():
    first = commands((ROOT / 'README.md').read_text(encoding='utf-8'))[:2]

    assert first == [['make', 'demo'], ['make', 'test']]


def test_commands_are_found():
    text = '```bash\n$ python a.py --x 1 \\\n  --y 2  # why\nmake demo\nls\n```\n```python\npython = 1\n```\n'

    assert commands(text) == [['python', 'a.py', '--x', '1', '--y', '2'], ['make', 'demo']]


@pytest.mark.parametrize(
    ('command', 'word'),
    [
        ('make dmeo', 'no target'),
        ('python nothing.py --x', 'no script'),
        ('python -m dataset_tools.nothing', 'no module'),
        ('python -m nothing_at_all', 'no module'),
        ('python -m demo.run_demo --stepz 3', 'has no flag'),
        ('python -m demo.run_demo --output_dir configs/nothing.config', 'no file'),
    ],
)
def test_a_wrong_command_is_named(command: str, word: str):
    assert word in (problem_of(shlex.split(command)) or '')
