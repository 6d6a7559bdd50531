"""The scripts of docs/distributed.md make the TF_CONFIG that each worker needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from engine import cluster

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / 'docs' / 'distributed.md').read_text(encoding='utf-8')


def block(language, start):
    """The fenced block of a language that begins with `start`."""
    (found,) = [b for b in re.findall(rf'^```{language}\n(.*?)^```', DOCUMENT, re.M | re.S) if b.startswith(start)]
    return found


def run(script, environment, folder):
    path = f'{folder}:/usr/bin:/bin'
    done = subprocess.run(
        ['bash', '-euc', script], env={'PATH': path, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tool(folder, name, content):
    path = folder / name
    path.write_text(f'#!/bin/bash\n{content}\n', encoding='utf-8')
    path.chmod(0o755)


@pytest.mark.parametrize(('node', 'of'), [(0, 3), (2, 3)])
def test_slurm(tmp_path, node, of):
    """With stand-ins for Slurm's two programs and for Python, which tells what it was given."""
    hosts = ['node2', 'node10', 'node11'][:of]
    tool(tmp_path, 'scontrol', f'[ "$3" = "node[2,10-11]" ] && printf "%s\\n" {" ".join(hosts)}')
    tool(tmp_path, 'srun', f'shift; SLURM_NODEID={node} "$@"')
    tool(tmp_path, 'python', 'printenv TF_CONFIG; echo "$@" >&2')
    said = run(block('bash', '#!/bin/bash'), {'SLURM_JOB_NODELIST': 'node[2,10-11]'}, tmp_path)
    found = cluster.from_environment({'TF_CONFIG': said})
    assert found
    assert found.jobs == {'worker': tuple(f'{host}:12345' for host in hosts)}
    assert found.rank == node


def test_kubernetes(tmp_path):
    """Read line by line, as there is no parser of YAML among the packages."""
    manifest = block('yaml', 'apiVersion')
    names = re.findall(r'^  (?:name|serviceName): (\S+)$', manifest, re.M)
    assert names == ['segmentation'] * 3 and manifest.count('{app: segmentation}') == 3
    (replicas,) = re.findall(r'^  replicas: (\d+)$', manifest, re.M)
    (workers,) = re.findall(r'name: WORKERS, value: "(\d+)"', manifest)
    assert replicas == workers == '2'
    (script,) = re.findall(r'^            - \|\n((?: {14}.*\n)+)', manifest, re.M)
    tool(tmp_path, 'python', 'printenv TF_CONFIG')
    tool(tmp_path, 'sleep', 'true')
    for pod in range(2):
        said = run(script, {'WORKERS': workers, 'HOSTNAME': f'segmentation-{pod}'}, tmp_path)
        found = cluster.from_environment({'TF_CONFIG': said})
        assert found
        addresses = tuple(f'segmentation-{i}.segmentation:12345' for i in range(2))
        assert found.jobs == {'worker': addresses} and found.rank == pod


def test_the_example():
    (line,) = re.findall(r"^export TF_CONFIG='(.*)'$", DOCUMENT, re.M)
    found = cluster.from_environment({'TF_CONFIG': line})
    assert found and found.num_workers == 2 and found.rank == 0
