"""Images per second of `train.py`, reading, augmentation, step and summaries included.

Prints one JSON object.

    python -m benchmarks.peers.own_loop --records 'data/camvid/camvid_train.record-*' --steps 60 --bfloat16
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import loop_config
from benchmarks.peers.runs import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--records', required=True, help='pattern of CamVid records')
    parser.add_argument('--steps', type=int, default=60, help='timed steps, a multiple of 10')
    parser.add_argument('--bfloat16', action='store_true')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), flags.records, flags.steps, bfloat16=flags.bfloat16)))


def measure(folder: Path, records: str, num_steps: int, *, bfloat16: bool) -> dict[str, Any]:
    """Trains in a process of its own and reads its metrics; a line is written every 10 steps, as by default."""
    every = loop_config.STEPS_NOT_COUNTED
    label_map = ROOT / 'configs' / 'label_maps' / 'camvid.json'
    config = f"""
      model {{ {loop_config.CASE.model_text(loop_config.NUM_CLASSES)} }}
      train_config {{
        {loop_config.train_text(num_steps)}
        mixed_precision: {'BFLOAT16' if bfloat16 else 'FLOAT32'} log_every_n_steps: {every}
      }}
      train_input_reader {{ {loop_config.input_text(records)} label_map_path: '{label_map}' }}"""
    path = folder / 'pipeline.config'
    path.write_text(config, encoding='utf-8')
    command = [sys.executable, 'train.py', '--config_path', str(path), '--logdir', str(folder / 'run')]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    lines = [json.loads(line) for line in (folder / 'run' / 'metrics.jsonl').read_text().splitlines()]
    return {'images_per_second': mean_speed(lines), 'lines': len(lines) - 1}


def mean_speed(lines: Sequence[Mapping[str, float]]) -> float:
    """Images per second of all lines but the first, each weighted by its steps, of which the last may have fewer."""
    steps = [line['step'] - before['step'] for before, line in itertools.pairwise(lines)]
    return sum(steps) / sum(n / line['images_per_second'] for n, line in zip(steps, lines[1:], strict=True))


if __name__ == '__main__':
    main()
