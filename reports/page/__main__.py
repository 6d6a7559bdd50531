"""Makes the page of an evaluation again from its JSON files and pictures: EVAL_DIR/report/index.html."""

from __future__ import annotations

from collections.abc import Sequence

from core import command_line

_EXAMPLES = """  python -m reports.page --eval_dir runs/x/eval

eval.py makes the page itself; this makes it again, after a comparison or with a newer template. See
docs/evaluation.md.
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('--eval_dir', required=True, metavar='DIR', help='where eval.py wrote its results')
    args = parser.parse_args(argv)
    with command_line.quiet_start():
        from reports.page import render
    print(f'wrote {render.write(args.eval_dir)}')
    return 0


if __name__ == '__main__':
    command_line.run(main)
