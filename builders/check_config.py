"""Checks configs, and the records they name: `python -m builders.check_config FILE...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from builders import config_loader
from builders.names import PURPOSES
from core import command_line
from core.errors import ConfigError
from protos.pipeline_pb2 import PipelineConfig

_EXAMPLES = """  python -m builders.check_config configs/*.config --norecords
      every config of the folder, without looking at data; answers at once
  python -m builders.check_config my.config
      the config, and every record it names: ids, sizes, counts, damage
  python -m builders.check_config my.config --sample 200 --set model.icnet.num_classes=11
      decode about 200 examples per reader only, with one field changed"""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line per config; returns 0, 2 if a config is wrong, else 1 if records are wrong."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('files', nargs='+', metavar='FILE', help='pipeline .config, or .prune_config')
    parser.add_argument('--purpose', choices=PURPOSES, help='which blocks must be there (default: only model)')
    parser.add_argument(
        '--set', dest='overrides', action='append', default=[], metavar='PATH=VALUE', help='as in train.py'
    )
    command_line.add_boolean(parser, 'records', default=True, help='read the records that the configs name')
    parser.add_argument('--sample', type=int, metavar='N', help='decode about N examples per reader (default: all)')
    flags = parser.parse_args(argv)
    if flags.sample is not None and flags.sample < 1:
        parser.error(f'--sample: got {flags.sample}, choose 1 or more')
    return max(_check_file(path, flags) for path in flags.files)


def _check_file(path: str, flags) -> int:
    """Prints what is to say about one config; returns its exit code."""
    try:
        if path.endswith('.prune_config'):
            config_loader.load_compression(path, flags.overrides)
            print(f'{path}: ok (compression)')
            return 0
        config = config_loader.load(path, flags.overrides, flags.purpose)
        if config.model.layer_width:
            _build_model(config)
    except ConfigError as error:
        for problem in error.problems:
            _complain('error', path, problem)
        return 2
    summary = _describe_model(config)
    if flags.records:
        with command_line.quiet_start():
            import tensorflow  # noqa: F401

            from builders import config_records

        with _progress_bar(path) as bar:
            report = config_records.check(config, sample=flags.sample, progress=bar.update)
        for line in report.warnings:
            _complain('warning', path, line)
        for line in report.problems:
            _complain('error', path, line)
        if report.problems:
            return 1
        summary = '; '.join([summary, *report.summaries])
    print(f'{path}: ok ({summary})')
    return 0


def _build_model(config: PipelineConfig) -> None:
    """Only a network that is built knows the names of its layers."""
    with command_line.quiet_start():
        from builders import model_builder
    model_builder.build(config.model).build()


def _describe_model(config: PipelineConfig) -> str:
    kind = config.model.WhichOneof('model')
    model = getattr(config.model, kind or '')
    return f'{kind} {model.feature_extractor.type}, {model.num_classes} classes'


def _progress_bar(path: str):
    from tqdm import tqdm

    return tqdm(desc=path, unit='example', leave=False, disable=None)


def _complain(level: str, path: str, problem: str) -> None:
    """A parser's problem already begins with the path."""
    place = '' if problem.startswith(f'{path}:') else f'{path}: '
    print(f'{level}: {place}{problem}', file=sys.stderr)


if __name__ == '__main__':
    command_line.run(main)
