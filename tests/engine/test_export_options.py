"""What export.py is asked for: flags before the config, and messages that name whichever of them said it."""

from __future__ import annotations

import argparse

import pytest
from google.protobuf import text_format

from core.errors import UsageError
from engine import export_options
from engine.export_options import ExportOptions
from protos.export_pb2 import ExportConfig

CONFIG = """
format: ['onnx', 'frozen_graph', 'onnx'] output: 'logits' batch: 1 height: 65 width: 97
pad_to_shape { height: 97 width: 129 } weights: 'int8' verify_examples: 2 optimise: false
"""


def options(config: str, *flags: str) -> ExportOptions:
    parser = argparse.ArgumentParser(exit_on_error=False)
    export_options.add_flags(parser)
    return ExportOptions.from_flags(parser.parse_args(flags), text_format.Parse(config, ExportConfig()), channels=3)


def test_the_config_says_it_once():
    found = options(CONFIG)
    assert (found.formats, found.outputs) == (('onnx', 'frozen_graph'), ('logits',))
    assert (found.input_shape, found.pad_to_shape) == ((1, 65, 97), (97, 129))
    assert (found.weights, found.compute, found.optimised, found.verify_examples) == ('int8', 'float32', False, 2)


def test_flags_go_before_the_config():
    flags = ['--formats=tflite', '--input_shape=33,41,3', '--pad_to_shape=41,49', '--weights=float32', '--optimise']
    found = options(CONFIG, *flags, '--output_logits=false', '--output_colours')
    assert (found.formats, found.outputs) == (('tflite',), ('colours',))
    assert (found.input_shape, found.pad_to_shape) == ((None, 33, 41), (41, 49))
    assert (found.weights, found.optimised) == ('float32', True)
    assert not found.from_config


@pytest.mark.parametrize(
    ('config', 'flags', 'said'),
    [
        (
            'height: 65 width: 97 pad_to_shape { height: 65 width: 96 }',
            [],
            'export_config.pad_to_shape: its width 96 is below that of export_config, 97',
        ),
        (
            'pad_to_shape { height: 65 width: 96 }',
            ['--input_shape=66,33,3'],
            'export_config.pad_to_shape: its height 65 is below that of --input_shape, 66',
        ),
        (
            'height: 65 width: 97',
            ['--pad_to_shape=65,96'],
            '--pad_to_shape: its width 96 is below that of export_config, 97',
        ),
        ("format: 'stablehlo'", [], 'export_config.format: stablehlo needs a fixed batch, height and width; write for'),
        ("format: 'tflite_int8'", [], 'export_config.format: tflite_int8 is judged by its mean IoU on eval_input_read'),
        (
            "weights: 'bfloat16'",
            ['--formats=saved_model'],
            'export_config.weights: got bfloat16, which is for frozen_graph; add that to --formats',
        ),
        (
            "format: 'saved_model'",
            ['--compute=mixed'],
            '--compute: got mixed, which is for frozen_graph; add that to export_config.format',
        ),
        ('optimise: false', ['--compute=mixed'], '--compute: mixed needs the optimised graph; write --optimise'),
        (
            "compute: 'mixed'",
            ['--optimise=false'],
            'export_config.compute: mixed needs the optimised graph; leave out --optimise false',
        ),
    ],
)
def test_a_contradiction_names_the_flag_or_the_field(config, flags, said):
    with pytest.raises(UsageError) as refused:
        options(config, *flags).check(has_records=False)
    assert str(refused.value).startswith(said)


def test_a_misspelt_form_has_a_suggestion():
    with pytest.raises(
        argparse.ArgumentError, match="got 'onx', did you mean onnx\\? choose from frozen_graph, saved_m"
    ):
        options('', '--formats=tflite,onx')
    with pytest.raises(argparse.ArgumentError, match="got 'q', choose from frozen_graph, "):
        options('', '--formats=q')
