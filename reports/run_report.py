"""What a training run came to: a table in Markdown, a curve, and one JSON object on the last line.

Reads `metrics.jsonl` of the log directory and every `metrics-<step>.json` of the evaluation directory.

    python -m reports.run_report --logdir runs/camvid --eval_dir runs/camvid/eval --picture runs/camvid/curve.png
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import statistics
import sys
from typing import Any

from reports.curves import Curve, draw


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--logdir', required=True, metavar='DIR', help='of train.py')
    parser.add_argument('--eval_dir', required=True, metavar='DIR', help='of eval.py')
    parser.add_argument('--picture', metavar='PNG', help='where the curve goes')
    flags = parser.parse_args()
    with open(os.path.join(flags.logdir, 'metrics.jsonl')) as f:
        lines = [json.loads(line) for line in f]
    training = [line for line in lines if 'total_loss' in line]  # others hold an evaluation alone
    evaluations = sorted(_read_evaluations(flags.eval_dir), key=lambda metrics: metrics['step'])
    if not training or not evaluations:
        print(f'error: nothing to report yet in {flags.logdir} and {flags.eval_dir}', file=sys.stderr)
        return 1
    if flags.picture:
        _draw(flags.picture, training, evaluations)
    print(_table(evaluations[-1]))
    print(json.dumps(_summary(training, evaluations)))
    return 0


def _read_evaluations(eval_dir: str) -> list[dict[str, Any]]:
    found = []
    for path in glob.glob(os.path.join(glob.escape(eval_dir), 'metrics-*.json')):
        with open(path) as f:
            found.append(json.load(f))
    return found


def _draw(path: str, training: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> None:
    steps = [line['step'] for line in training]
    losses = [
        Curve(label=name, steps=steps, values=[line[name] for line in training])
        for name in training[0]
        if name.endswith('loss') and any(line[name] > 0 for line in training)
    ]
    scores = [
        Curve(label=name, steps=[e['step'] for e in evaluations], values=[e[name] for e in evaluations])
        for name in ('mean_iou', 'pixel_accuracy')
    ]
    draw(path, losses=losses, scores=scores)


def _table(metrics: dict[str, Any]) -> str:
    rows = ['| class | IoU |', '|---|---|']
    for name, iou in metrics['class_iou'].items():
        rows.append(f'| {name} | {"absent" if iou is None else f"{100 * iou:.1f}"} |')
    rows.append(f'| **mean** | **{100 * metrics["mean_iou"]:.1f}** |')
    rows.append(f'| pixel accuracy | {100 * metrics["pixel_accuracy"]:.1f} |')
    return '\n'.join(rows)


def _summary(training: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    best = max(evaluations, key=lambda metrics: metrics['mean_iou'])
    speeds = [line['images_per_second'] for line in training if 'images_per_second' in line]  # a first step has none
    return {
        'steps': training[-1]['step'],
        'images_per_second_median': round(statistics.median(speeds), 2) if speeds else None,
        'mean_iou': {str(e['step']): round(e['mean_iou'], 4) for e in evaluations},
        'final_mean_iou': round(evaluations[-1]['mean_iou'], 4),
        'best_step': best['step'],
        'num_examples': evaluations[-1]['num_examples'],
    }


if __name__ == '__main__':
    sys.exit(main())
