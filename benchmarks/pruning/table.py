"""The table of docs/compression.md from results."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pruning import recipe
from core.errors import UserError

BEGIN, END = '<!-- benchmarks.compression: begin -->', '<!-- benchmarks.compression: end -->'
CUT_OF = {
    recipe.L1: 'l1',
    recipe.L1_REFITTED: 'l1',
    recipe.RANDOM_REFITTED: 'random',
    recipe.TAYLOR_REFITTED: 'taylor',
    recipe.DISTILLED_REFITTED: 'taylor',
    recipe.LATENCY_REFITTED: 'latency',
}
_COMPRESSED = (*CUT_OF, recipe.ITERATED)
_TITLES = {
    recipe.BASE: 'not compressed',
    recipe.CONTINUED: 'not compressed, trained as much further',
    recipe.SCRATCH: 'the small net from scratch, all {scratch_steps} steps',
    recipe.L1: 'uniform, L1; not refitted',
    recipe.L1_REFITTED: 'uniform, L1; refitted',
    recipe.RANDOM_REFITTED: 'uniform, random filters; refitted',
    recipe.TAYLOR_REFITTED: 'uniform, Taylor; refitted',
    recipe.DISTILLED_REFITTED: 'the same, distilled from the whole net',
    recipe.ITERATED: f'uniform, Taylor; refitted in {recipe.ITERATIONS} cuts, the steps divided among them',
    recipe.LATENCY_REFITTED: 'non-uniform to the latency of the uniform cut, Taylor; refitted',
}
_HEAD = (
    *('net', 'mIoU before', 'right after the cut', 'refitted', 'trained (95 % interval, or each seed)', 'seeds'),
    *('M parameters', 'GFLOPs', 'latency, ms'),
)


def summarise(
    by_seed: Mapping[int, Mapping[str, Mapping[str, Any]]], costs: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """One row for each net that some seed has finished.

    Args:
      by_seed: {seed: {name of a piece: its result}}.
      costs: {row: what it costs}, as `latency.measure_exports` gives it.
    """
    rows = []
    for row in recipe.ROWS:
        seeds = [seed for seed, found in by_seed.items() if row in found]
        if not seeds:
            continue
        before = [by_seed[seed][recipe.BASE] for seed in seeds] if row in _COMPRESSED else []
        cut = _results(by_seed, seeds, f'cuts/{CUT_OF.get(row)}')
        again = _results(by_seed, seeds, f'cuts/{CUT_OF[row]}{recipe.REFIT}') if is_refitted(row) else []
        trained = [by_seed[seed][row] for seed in seeds]
        rows.append(
            {
                **{'row': row, 'seeds': seeds, 'before': _mean(before), 'cut': _mean(cut)},
                **{'before_training': _mean(again), 'trained': [result['mean_iou'] for result in trained]},
                **{'interval': trained[0]['interval'] if len(seeds) == 1 else None, **costs.get(row, {})},
            }
        )
    return rows


def cuts_of(row: str) -> Sequence[str]:
    """Names of the cuts that a row's numbers are from."""
    kind = CUT_OF.get(row)
    found = [kind, *([f'{kind}{recipe.REFIT}'] * is_refitted(row))]
    return [f'cuts/{name}' for name in found] if kind else []


def is_refitted(row: str) -> bool:
    """Whether kernels were solved for before this row's training."""
    return row.endswith(recipe.REFIT)


def _results(
    by_seed: Mapping[int, Mapping[str, Mapping[str, Any]]], seeds: Sequence[int], name: str
) -> list[Mapping[str, Any]]:
    return [by_seed[seed][name] for seed in seeds if name in by_seed[seed]]


def _mean(results: Sequence[Mapping[str, Any]]) -> float | None:
    return statistics.mean(result['mean_iou'] for result in results) if results else None


def section(rows: Sequence[Mapping[str, Any]], *, made_by: str, explained: recipe.Recipe, cpus: int) -> str:
    """Markdown: how the table was made, and the table."""
    height, width = explained.size
    scratch = explained.num_steps + explained.retrain_steps
    titles = {row: title.format(scratch_steps=f'{scratch:,}') for row, title in _TITLES.items()}
    changed = ''.join(f', with `{text}`' for text in explained.overrides)
    lines = [
        f'Made by `{made_by}`; change it there.',
        '',
        f'[`{explained.config_path}`](../{explained.config_path}){changed} from scratch for '
        f'{explained.num_steps:,} steps, compressed by {explained.factor:g}, retrained for '
        f'{explained.retrain_steps:,} steps at {recipe.RETRAINING_RATE:g} times the learning rate. '
        'mIoU in percent on the evaluation records; parameters '
        f'that inference reads; GFLOPs and latency of one image of {width}x{height}, '
        f'multiplications and additions counted apart, by the exported frozen graphs in turns on {cpus} CPU cores.',
        '',
        *(f'| {" | ".join(cells)} |' for cells in (_HEAD, ['---'] * len(_HEAD))),
        *(f'| {" | ".join(_cells(row, titles[row["row"]]))} |' for row in rows),
    ]
    return '\n'.join(lines)


def _cells(row: Mapping[str, Any], title: str) -> list[str]:
    trained = f'**{_percent(statistics.mean(row["trained"]))}**'
    if row['interval']:
        trained += f' ({_percent(row["interval"][0])}..{_percent(row["interval"][1])})'
    elif len(row['trained']) > 1:
        trained += f' ({", ".join(map(_percent, row["trained"]))})'
    costs = [('million_parameters', '.2f'), ('gflops', '.1f'), ('latency_ms', '.1f')]
    return [
        *(title, _percent(row['before']), _percent(row['cut']), _percent(row['before_training']), trained),
        str(len(row['seeds'])),
        *(format(row[name], form) if name in row else '-' for name, form in costs),
    ]


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{100 * share:.1f}'


def write(path: Path, text: str) -> None:
    """Replaces what lies between the two marks of the page, beside and renamed; UserError if it has no marks."""
    page = path.read_text(encoding='utf-8') if path.exists() else f'{BEGIN}\n{END}\n'
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f'{path}: has no lines {BEGIN} and {END} to write the table between')
    beside = path.with_name(f'{path.name}.tmp')
    beside.write_text(f'{before}{begin}\n{text}\n{end}{after}', encoding='utf-8')
    beside.replace(path)
