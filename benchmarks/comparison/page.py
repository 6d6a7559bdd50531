"""Results of runs -> figures of each extractor, and the page that shows them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison.runs import Run
from builders import config_loader
from core import command_line

_HEIGHT, _WIDTH = 360, 480  # of a CamVid frame
_PAGE = """# CamVid: one recipe, several extractors

Made by `{command}`; change it there.

{architecture} from scratch on CamVid: 367 training frames, 101 validation frames of {width}x{height}, 11 classes,
void ignored. The recipe is the same for every extractor but for its name: {recipe}, in
[`{config}`](../{config}).
Each run is one training, and one evaluation of its last step; the table holds {num_finished} of {num_runs} runs.

{table}

- **mIoU** is the mean over the seeds, in percent; **min..max** and **std** (the sample's standard deviation) are over
  the seeds too.
- **GFLOPs** are those of one whole frame, a multiplication and an addition counted apart, as in the
  [model zoo](model_zoo.md).
- **Minutes** are those of the fastest run, start-up and evaluation included, on {cpus} of a machine that did other
  work too.

## Each class

IoU in percent, mean over the seeds:

{class_table}

## What it does not show

- **What pre-training gives.** Everything starts at random here; with ImageNet weights the rows and their order may be
  others.
- **Where longer training ends.** {epochs:.0f} epochs rank what learns fast, which need not be what ends highest.
- **The best recipe of each.** One recipe was chosen, on mobilenet_v1; nothing was tuned for an extractor.
- **Differences of about the spread.** With {num_seeds} seeds, two rows whose min..max overlap are a tie.
- **The spread of other data.** A seed changes the initial values, the order of the frames and the augmentation; the
  split stays.
"""


def summarise(results: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> dict[str, Any]:
    """Per extractor, in the order of the runs: scores over its seeds, and the size of its network."""
    models = []
    for extractor in dict.fromkeys(run.extractor for run in runs):
        own = [result for result in results if result['extractor'] == extractor]
        if own:
            run = next(run for run in runs if run.extractor == extractor)
            models.append({'extractor': extractor, **_figures(run), **_scores(own)})
    return {
        'config': runs[0].config_path,
        'num_steps': runs[0].num_steps,
        'cpus': sorted({result['cpus'] for result in results}),
        'num_runs': len(runs),
        'num_finished': len(results),
        'models': models,
    }


def _scores(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ious = [result['mean_iou'] for result in results]
    return {
        'seeds': [result['seed'] for result in results],
        'mean_iou': ious,
        'mean_iou_mean': statistics.mean(ious),
        'mean_iou_std': statistics.stdev(ious) if len(ious) > 1 else None,
        'pixel_accuracy_mean': statistics.mean(result['pixel_accuracy'] for result in results),
        'minutes_least': min(result['minutes'] for result in results),
        'class_iou_mean': {
            name: _mean([result['class_iou'][name] for result in results]) for name in results[0]['class_iou']
        },
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def _figures(run: Run) -> dict[str, float]:
    with command_line.quiet_start():  # TensorFlow, which the runs need only in their own processes
        from benchmarks.zoo import graph

    config = config_loader.load(run.config_path, run.overrides)
    return graph.trace(config.model, height=_HEIGHT, width=_WIDTH)[1]


def page(report: Mapping[str, Any], *, runs: Sequence[Run], command: str) -> str:
    """The markdown page of a report."""
    models = report['models']
    config = config_loader.load(runs[0].config_path, runs[0].overrides)
    train = config.train_config
    architecture = config.model.WhichOneof('model') or ''
    name = architecture.upper()
    if architecture == 'fcn':
        name = f'FCN-{config.model.fcn.stride}s (arXiv:1605.06211)'
    crops = [step.random_image_crop for step in train.preprocessor_step if step.HasField('random_image_crop')]
    cropped = f', crops of {crops[0].crop_height}x{crops[0].crop_width}' if crops else ''
    cpus = report['cpus'][0] if len(report['cpus']) == 1 else f'{report["cpus"][0]} to {report["cpus"][-1]}'
    names = list(models[0]['class_iou_mean'])
    rows = [[model['extractor'], *(_percent(model['class_iou_mean'][name]) for name in names)] for model in models]
    return _PAGE.format(
        command=command,
        architecture=name,
        height=_HEIGHT,
        width=_WIDTH,
        config=report['config'],
        num_finished=report['num_finished'],
        num_runs=report['num_runs'],
        recipe=f'{train.num_steps} steps of {train.batch_size} images{cropped}',
        table=_table(_HEAD, [_row(model) for model in models]),
        class_table=_table(['extractor', *names], rows),
        cpus='one CPU core' if cpus == 1 else f'{cpus} CPU cores',
        epochs=train.num_steps * train.batch_size / config.train_input_reader.num_examples,
        num_seeds=max(len(model['seeds']) for model in models),
    )


_HEAD = ['extractor', 'M parameters', 'GFLOPs', 'mIoU', 'min..max', 'std', 'seeds', 'pixel accuracy', 'minutes']


def _row(model: Mapping[str, Any]) -> list[str]:
    ious = model['mean_iou']
    return [
        *(model['extractor'], f'{model["million_parameters"]:.2f}', f'{model["gflops"]:.1f}'),
        *(f'**{_percent(model["mean_iou_mean"])}**', f'{_percent(min(ious))}..{_percent(max(ious))}'),
        *(_percent(model['mean_iou_std']), str(len(ious)), _percent(model['pixel_accuracy_mean'])),
        f'{model["minutes_least"]:.1f}',
    ]


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{100 * share:.1f}'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (head, ['---'] * len(head), *rows))


def write(path: Path, text: str) -> None:
    """Writes the page beside its place and renames it."""
    beside = path.with_name(f'{path.name}.tmp')
    beside.write_text(text, encoding='utf-8')
    beside.replace(path)
