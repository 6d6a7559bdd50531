"""The demo's driver: what it runs, what it leaves out the second time, and its picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, UsageError, UserError
from demo import contact_sheet, run_demo
from demo.journal import Journal
from demo.steps import Places, Step, steps
from inputs.label_map import LabelMap

ROOT = Path(__file__).resolve().parents[2]


def _touch(name: str, path: Path, inputs: tuple[str, ...] = ()) -> Step:
    """A step that appends its name to `path`."""
    code = f'open({str(path)!r}, "a").write({name!r})'
    return Step(name, f'append {name}', ('-c', code), str(path), inputs)


def _run(root: Path, todo: list[Step]) -> None:
    run_demo.run_steps(todo, Journal(root / 'steps.json', root, todo))


def test_a_second_run_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / 'out'
    todo = [_touch('a', out), _touch('b', out)]

    _run(tmp_path, todo)
    _run(tmp_path, todo)

    assert out.read_text() == 'ab'
    assert capsys.readouterr().out.count('done before') == 2


def test_a_changed_input_runs_its_step_and_all_later_ones(tmp_path: Path):
    (tmp_path / 'config').write_text('1')
    out = tmp_path / 'out'
    todo = [_touch('a', out), _touch('b', out, ('config',)), _touch('c', out)]
    _run(tmp_path, todo)

    (tmp_path / 'config').write_text('2')
    _run(tmp_path, todo)

    assert out.read_text() == 'abcbc'


def test_a_missing_output_runs_its_step_again(tmp_path: Path):
    out = tmp_path / 'out'
    _run(tmp_path, [_touch('a', out)])
    out.unlink()

    _run(tmp_path, [_touch('a', out)])

    assert out.read_text() == 'a'


def test_a_failure_stops_names_the_step_and_is_not_recorded(tmp_path: Path):
    failing = Step('bad', 'fail', ('-c', 'import sys; sys.exit(3)'), '.')
    todo = [failing, _touch('b', tmp_path / 'out')]

    with pytest.raises(UserError, match='step bad failed with exit code 3'):
        _run(tmp_path, todo)

    assert not (tmp_path / 'out').exists()
    assert json.loads((tmp_path / 'steps.json').read_text()) == {}


def test_a_count_below_one_is_refused():
    with pytest.raises(UsageError, match='--steps: got 0, choose 1 or more'):
        run_demo.parse_args(['--steps', '0'])


@pytest.mark.parametrize('step', steps(Places('runs/x'), num_steps=7, num_train=3, num_val=2), ids=lambda s: s.name)
def test_every_command_has_the_flags_it_is_given(step: Step):
    program = step.arguments[:2] if step.arguments[0] == '-m' else step.arguments[:1]

    result = subprocess.run([sys.executable, *program, '--help'], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert [flag for flag in step.arguments if flag.startswith('--') and flag not in result.stdout] == []


def test_every_output_lies_below_the_folder():
    for step in steps(Places('runs/x'), num_steps=7, num_train=3, num_val=2):
        assert step.output.startswith('runs/x/')


_LABEL_MAP = LabelMap(names=('sky', 'road'), colors=((0, 0, 255), (255, 0, 0)))


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path)


def _scenes(root: Path, count: int) -> tuple[Path, Path, Path]:
    for index in range(count):
        _write(root / 'images' / f'{index}.png', np.full((20, 31, 3), 100, np.uint8))
        _write(root / 'labels' / f'{index}.png', np.zeros((20, 31), np.uint8))
        _write(root / 'predictions' / f'{index}_ids.png', np.ones((20, 31), np.uint8))
    return root / 'images', root / 'labels', root / 'predictions'


def test_the_row_is_image_label_prediction(tmp_path: Path):
    folders = _scenes(tmp_path, 1)

    images, labels, predictions = folders
    paths = images / '0.png', labels / '0.png', predictions / '0_ids.png'

    photo, label, prediction = contact_sheet.read_row(*paths, _LABEL_MAP)

    assert photo[0, 0].tolist() == [100, 100, 100]
    assert label[0, 0].argmax() == 2
    assert prediction[0, 0].argmax() == 0


def test_the_sheet_has_a_row_per_scene(tmp_path: Path):
    folders = _scenes(tmp_path, 5)

    one, two = (contact_sheet.make_sheet(*folders, label_map=_LABEL_MAP, num_rows=n) for n in (1, 2))

    assert two.height - one.height >= 20


def test_a_missing_prediction_is_named(tmp_path: Path):
    folders = _scenes(tmp_path, 1)
    (folders[2] / '0_ids.png').unlink()

    with pytest.raises(DataError, match=r'predictions/0_ids\.png: not found'):
        contact_sheet.make_sheet(*folders, label_map=_LABEL_MAP, num_rows=1)


def test_a_prediction_of_another_size_is_named(tmp_path: Path):
    folders = _scenes(tmp_path, 1)
    _write(folders[2] / '0_ids.png', np.zeros((10, 31), np.uint8))

    with pytest.raises(DataError, match=r'predictions/0_ids\.png: its size is \(10, 31\)'):
        contact_sheet.make_sheet(*folders, label_map=_LABEL_MAP, num_rows=1)
