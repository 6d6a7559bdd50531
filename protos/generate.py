"""Writes the generated `*_pb2.py` and `*_pb2.pyi` beside the schema: `python -m protos.generate`, or `make protos`."""

from __future__ import annotations

import importlib.resources
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def generate(destination: Path) -> None:
    """Compiles every .proto of this folder into `destination`/protos, a folder that exists.

    Needs grpcio-tools, a development dependency. Raises RuntimeError if the compiler fails; its message is on stderr.
    """
    from grpc_tools import protoc

    well_known = importlib.resources.files('grpc_tools') / '_proto'
    sources = [f'protos/{path.name}' for path in sorted(FOLDER.glob('*.proto'))]
    arguments = ['protoc', f'-I{FOLDER.parent}', f'-I{well_known}']
    arguments += [f'--python_out={destination}', f'--pyi_out={destination}']
    if protoc.main([*arguments, *sources]) != 0:
        raise RuntimeError('protoc failed; see above')


if __name__ == '__main__':
    generate(FOLDER.parent)
    print(f'wrote {len(list(FOLDER.glob("*_pb2.py")))} modules in {FOLDER}', file=sys.stderr)
