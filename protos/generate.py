"""Writes what is made from the schema: `python -m protos.generate`, or `make protos`.

That is `*_pb2.py` and `*_pb2.pyi` beside it, and the field tables of the documentation.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from protos import document

FOLDER = Path(__file__).resolve().parent


def generate(destination: Path) -> None:
    """Compiles every .proto of this folder into `destination`/protos; `destination` exists.

    Needs grpcio-tools, a development dependency. The compiler runs in a process of its own: its C++ protobuf and
    TensorFlow's do not live together. Raises RuntimeError with its message if it fails.
    """
    sources = [f'protos/{path.name}' for path in sorted(FOLDER.glob('*.proto'))]
    command = [sys.executable, '-m', 'grpc_tools.protoc', '-I.', f'--python_out={destination}']
    done = subprocess.run(
        [*command, f'--pyi_out={destination}', *sources], cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f'protoc failed:\n{done.stderr}')


if __name__ == '__main__':
    generate(FOLDER.parent)
    document.TARGET.write_text(document.document(), encoding='utf-8')
    print(f'wrote {document.TARGET}')
    print(f'wrote {len(list(FOLDER.glob("*_pb2.py")))} modules in {FOLDER}')
