"""What to export, from `export_config` and the flags of export.py; imports no TensorFlow."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from core import command_line, export_forms, shapes
from core.errors import UsageError
from core.export_forms import FORMS
from core.shapes import InputShape

_HINTS = {
    'tflite_float16': 'choose tflite, whose weights are float32',
    'tflite_dynamic': 'choose tflite, whose weights are float32',
    'tflite_int8': 'more --calibration_examples may help; else choose tflite_dynamic or tflite',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export.

    Attributes:
      formats: keys of `core.export_forms.FORMS`.
      outputs: of `core.export_forms.EXTRA_OUTPUTS`, beside `predictions`.
      input_shape: (batch, height, width) of the graph's input, None where free.
      pad_to_shape: see `core.servable.Servable`; not below a fixed height or width.
      verify_examples: how many examples of the evaluation records each form is compared on.
      calibration_examples: how many of them int8 is calibrated on.
      optimised, compute, weights: see `exporters.source.Source`.
      from_config: those of the above that the config says, by the names of their flags; messages name its fields.
    """

    formats: tuple[str, ...] = export_forms.DEFAULT
    outputs: tuple[str, ...] = ()
    input_shape: InputShape = (None, None, None)
    pad_to_shape: tuple[int, int] | None = None
    verify_examples: int = 4
    calibration_examples: int = 32
    optimised: bool = True
    compute: str = 'float32'
    weights: str = 'float32'
    from_config: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def named(self, flag: str) -> str:
        """What a message calls the option: `--flag`, or the field of the config that it came from."""
        return self.from_config.get(flag, f'--{flag}')

    def is_coarse(self, name: str) -> bool:
        """Whether a form has coarse numbers: it is judged by its mean IoU, as `core.export_forms.Form.quantised`."""
        narrow = self.compute == 'bfloat16' or self.weights != 'float32'
        return FORMS[name].quantised or (name == 'frozen_graph' and narrow)

    def hint(self, name: str) -> str:
        """What to try where the form called `name` does not agree with the model."""
        if name == 'frozen_graph' and self.weights != 'float32':
            finer = ' or bfloat16' if self.weights == 'int8' else ''
            return f'choose --weights float32{finer}'
        if name == 'frozen_graph' and self.compute == 'bfloat16':
            return 'choose --compute mixed or float32'
        if name == 'frozen_graph' and self.compute == 'mixed':
            return 'more --calibration_examples, up to 8, may help; else choose --compute float32'
        if name in export_forms.OPTIMISED and self.optimised:
            return '--optimise false may help'
        return _HINTS.get(name, '')

    def check(self, *, has_records: bool) -> None:
        """Raises UsageError for what cannot be, with what to do; `has_records` tells of `eval_input_reader`."""
        for side, own, padded in zip(('height', 'width'), self.input_shape[1:], self.pad_to_shape or (), strict=False):
            if own is not None and own > padded:
                raise UsageError(
                    f'{self.named("pad_to_shape")}: its {side} {padded} is below that of {self.named("input_shape")}, '
                    f'{own}'
                )
        for name in self.formats:
            if FORMS[name].fixed and None in self.input_shape:
                raise UsageError(
                    f'{self.named("formats")}: {name} needs a fixed batch, height and width; write for example '
                    '--input_shape 1,1024,2048,3'
                )
            if self.is_coarse(name) and not has_records:
                how = f' of {self.compute} arithmetic, {self.weights} weights' if name == 'frozen_graph' else ''
                raise UsageError(
                    f'{self.named("formats")}: {name}{how} is judged by its mean IoU on eval_input_reader, which the '
                    'config does not have'
                )
        for flag, value in (('compute', self.compute), ('weights', self.weights)):
            if value != 'float32' and 'frozen_graph' not in self.formats:
                raise UsageError(
                    f'{self.named(flag)}: got {value}, which is for frozen_graph; add that to {self.named("formats")}'
                )
        if self.compute != 'float32' and not self.optimised:
            remedy = 'write --optimise' if 'optimise' in self.from_config else 'leave out --optimise false'
            raise UsageError(f'{self.named("compute")}: {self.compute} needs the optimised graph; {remedy}')
        export_forms.check_installed(self.formats)

    @classmethod
    def from_flags(cls, args: argparse.Namespace, config: Any, *, channels: int) -> ExportOptions:
        """Of `add_flags`; what no flag says is as in `export_config`, a message.

        Raises UsageError if --input_shape has other channels than the model's images.
        """
        extra = set(config.output)
        for output in export_forms.EXTRA_OUTPUTS:
            asked = getattr(args, f'output_{output}')
            if asked is not None:
                extra = extra | {output} if asked else extra - {output}
        written = args.input_shape.for_channels(channels) if args.input_shape else None
        batch, height, width = (
            getattr(config, side) if config.HasField(side) else None for side in ('batch', 'height', 'width')
        )
        padded = (config.pad_to_shape.height, config.pad_to_shape.width) if config.HasField('pad_to_shape') else None
        return cls(
            formats=args.formats or tuple(dict.fromkeys(config.format)) or export_forms.DEFAULT,
            outputs=tuple(name for name in export_forms.EXTRA_OUTPUTS if name in extra),
            input_shape=written or (batch, height, width),
            pad_to_shape=args.pad_to_shape or padded,
            verify_examples=args.verify_examples or config.verify_examples,
            calibration_examples=args.calibration_examples or config.calibration_examples,
            optimised=config.optimise if args.optimise is None else args.optimise,
            compute=args.compute or config.compute,
            weights=args.weights or config.weights,
            from_config=_from_config(args, config),
        )


def _from_config(args: argparse.Namespace, config: Any) -> dict[str, str]:
    """Flag -> field of what the config says and no flag does."""
    same = ('pad_to_shape', 'compute', 'weights', 'optimise')
    said = {name: f'export_config.{name}' for name in same if config.HasField(name)}
    if config.format:
        said['formats'] = 'export_config.format'
    if any(config.HasField(side) for side in ('batch', 'height', 'width')):
        said['input_shape'] = 'export_config'
    return {flag: field for flag, field in said.items() if getattr(args, flag) is None}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ExportOptions.from_flags`."""
    parser.add_argument(
        '--formats',
        type=_parse_formats,
        metavar='LIST',
        help=f'comma-separated choice of {", ".join(FORMS)} (default: export_config.format, else '
        f'{",".join(export_forms.DEFAULT)})',
    )
    parser.add_argument(
        '--input_shape',
        type=shapes.parse_input_shape,
        metavar='SHAPE',
        help='height,width,3 or batch,height,width,3 (or other input_channels); None or -1 for what stays free '
        '(default: export_config, else all free)',
    )
    parser.add_argument(
        '--pad_to_shape',
        type=shapes.parse_size,
        metavar='HEIGHT,WIDTH',
        help='pad smaller images to this size inside the graph; the output has the size of the input all the same',
    )
    for output, said in (
        ('colours', 'colours, uint8 [N, H, W, 3]'),
        ('probabilities', 'probabilities, float32 [N, H, W, classes], which predict.py --scales and --flip need'),
        ('logits', 'logits, float32 [N, H, W, classes]'),
    ):
        help_text = f'add the output {said} (default: export_config.output)'
        command_line.add_boolean(parser, f'output_{output}', default=None, help=help_text)
    for flag, said in (
        ('verify_examples', 'how many examples of eval_input_reader each form is compared with the model on'),
        ('calibration_examples', 'how many of them give the ranges of int8, and at most eight what is mixed'),
    ):
        parser.add_argument(f'--{flag}', type=_parse_count, metavar='N', help=f'{said} (default: export_config.{flag})')
    command_line.add_boolean(
        parser,
        'optimise',
        default=None,
        help='make the frozen graph and the OpenVINO model faster (default: export_config.optimise, else true)',
    )
    for flag, choices, said in (
        (
            'compute',
            export_forms.COMPUTE_TYPES,
            "arithmetic of the frozen graph's convolutions; mixed: bfloat16 where ids stay",
        ),
        ('weights', export_forms.STORED_TYPES, 'how the frozen graph stores its weights'),
    ):
        parser.add_argument(f'--{flag}', choices=choices, help=f'{said} (default: export_config.{flag}, else float32)')


def _parse_formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(',')))
    for name in names:
        if name not in FORMS:
            near = difflib.get_close_matches(name, FORMS, n=1)
            asked = f'did you mean {near[0]}? ' if near else ''
            raise argparse.ArgumentTypeError(f'got {name!r}, {asked}choose from {", ".join(FORMS)}')
    return names


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'got {text!r}, expected a whole number of 1 or more')
    return int(text)
