"""The config shown in docs/configs.md is valid, and its overrides apply."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import text_format

from builders import config_loader, config_overrides
from protos.pipeline_pb2 import PipelineConfig

PAGE = (Path(__file__).resolve().parents[2] / 'docs' / 'configs.md').read_text()


def shown_config() -> PipelineConfig:
    shown = re.search(r'## A whole one\n\n```\n(.*?)```', PAGE, re.DOTALL)
    assert shown
    return text_format.Parse(shown[1], PipelineConfig())


def test_the_whole_config_is_valid():
    for purpose in ('train', 'eval', 'export', 'predict'):
        config_loader.validate(shown_config(), purpose)


def test_every_override_of_the_table_applies():
    section = PAGE.split('## Changing a field', 1)[1].split('## Checking', 1)[0]
    table = '\n'.join(line for line in section.splitlines() if line.startswith('|'))
    overrides = [quoted or plain for quoted, plain in re.findall(r"`--set (?:'([^']*)'|([^'` ]+))`", table)]
    assert len(overrides) >= 7
    for override in overrides:
        config = shown_config()
        config_overrides.apply(config, [override])
        config_loader.validate(config, 'train')
