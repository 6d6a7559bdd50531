"""How long a user waits from `python train.py` to the end of the first step.

Prints one JSON object: seconds from process start until the first step of ICNet on ResNet-50 (full width, 513x513
crops, batch 2) has run: config read, TensorFlow imported, model built, traced and compiled, data read. Each run is a
fresh process on a fresh log directory; the records are eight synthetic street scenes made for the purpose.

    python -m benchmarks.startup --runs 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_CONFIG = _ROOT / 'configs' / 'icnet_1.0_1025_resnet50_cityscapes.config'
_MARK = 'first step'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=5, help='processes to time, after one that is not counted')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _make_records(Path(folder))
        seconds = [_time_first_step(Path(folder), number) for number in range(flags.runs + 1)][1:]
    print(
        json.dumps(
            {
                'benchmark': 'startup',
                'model': 'icnet dilated_resnet50 1.0, 513x513, batch 2, float32',
                'cpus': os.cpu_count(),
                'seconds_to_first_step': {
                    'median': round(statistics.median(seconds), 2),
                    'min': round(min(seconds), 2),
                    'max': round(max(seconds), 2),
                },
                'runs': len(seconds),
            }
        )
    )


def _make_records(folder: Path) -> None:
    streets = folder / 'streets'
    module = [sys.executable, '-m']
    size = ['--num_train', '8', '--num_val', '1', '--size', '640x576']
    subprocess.run([*module, 'dataset_tools.make_street_scenes', '--output_dir', str(streets), *size], **_quiet())
    subprocess.run(
        [
            *module,
            'dataset_tools.create_tf_record',
            *('--images', str(streets / 'images' / 'train'), '--labels', str(streets / 'labels' / 'train')),
            *('--label_map', str(streets / 'label_map.json'), '--output_dir', str(folder), '--name', 'train.record'),
        ],
        **_quiet(),
    )


def _quiet() -> dict:
    return {'cwd': _ROOT, 'check': True, 'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}


def _time_first_step(folder: Path, number: int) -> float:
    """Seconds from process start to the line that says the first step has run."""
    overrides = [
        'train_config.num_steps=1',
        'train_config.batch_size=2',
        'train_config.fine_tune_checkpoint=',
        'train_config.fine_tune_checkpoint_type=',
        'train_config.preprocessor_step[1].random_image_crop.crop_height=513',
        'train_config.preprocessor_step[1].random_image_crop.crop_width=513',
        f'train_input_reader.tf_record_input_reader.input_path=[{folder}/train.record-*]',
        'train_input_reader.num_examples=8',
    ]
    command = [sys.executable, 'train.py', '--config_path', str(_CONFIG), '--logdir', str(folder / f'run{number}')]
    for override in overrides:
        command += ['--set', override]
    started = time.perf_counter()
    lines = []
    with subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if _MARK in line:
                seconds = time.perf_counter() - started
                process.wait()
                return seconds
    raise SystemExit(f'train.py never ran its first step:\n{"".join(lines)}')


if __name__ == '__main__':
    main()
