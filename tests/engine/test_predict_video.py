"""Videos: every frame, in order, at the size and rate of the source; bad ones are one line."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

import predict as predict_script
from core.errors import DataError, UsageError, UserError
from core.servable import Servable
from engine import predict_lib, predict_video, video_files
from engine.video_files import InputVideo
from exporters import frozen_graph
from inputs.label_map import LabelMap
from tests import fake_model

SIZE = (48, 64)
COLORS = ((250, 0, 0), (0, 250, 0), (0, 0, 250))
LABEL_MAP = LabelMap(names=('road', 'sky', 'car'), colors=COLORS)


def _grey(i):
    """The brightness of frame i: tells it from its neighbours after lossy compression."""
    return 20 + 10 * (i % 20)


def _write(path, num_frames=20, size=SIZE, rate=12.5):
    """A video of frames whose brightness rises, the left half red-ish."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate, size[::-1])
    assert writer.isOpened()
    for i in range(num_frames):
        frame = np.full((*size, 3), _grey(i), np.uint8)
        frame[:, : size[1] // 2, 2] = 250  # OpenCV's third channel is red
        writer.write(frame)
    writer.release()
    return str(path)


def _read(path):
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while (answer := capture.read())[0]:
        frames.append(answer[1][..., ::-1])
    return np.array(frames), rate


def _predictor(predict):
    return predict_lib.Predictor(predict=predict, label_map=LABEL_MAP)


def _video(tmp_path, source):
    return InputVideo(source=source, target=str(tmp_path / 'out_overlay.mp4'))


@pytest.fixture
def export(tmp_path):
    """A folder with the graph of a network, and its label map."""
    folder = tmp_path / 'export'
    folder.mkdir()
    concrete = Servable(model=fake_model.FakeModel(), num_classes=3).trace()
    frozen_graph.write(concrete, str(folder / frozen_graph.FILENAME))
    LABEL_MAP.save(folder / 'label_map.json')
    return str(folder)


def test_the_script_writes_the_overlay_of_each_frame(export, tmp_path, capsys):
    source = _write(tmp_path / 'drive.mp4')
    out = tmp_path / 'out'
    assert predict_script.main(['--exported', export, '--input_path', source, '--output_dir', str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ['drive_overlay.mp4']
    frames, rate = _read(source)
    overlays, rate_of_overlays = _read(out / 'drive_overlay.mp4')
    assert overlays.shape == frames.shape == (20, *SIZE, 3) and rate == rate_of_overlays == 12.5
    model = fake_model.FakeModel()
    for frame, overlay in zip(frames, overlays, strict=True):
        ids = fake_model.class_ids(model, frame[np.newaxis])[0]
        expected = (frame + np.array(COLORS, float)[ids]) / 2
        assert np.abs(overlay - expected).mean() < 12  # lossy
        assert np.abs(overlay.astype(float) - frame).mean() > 24
    said = capsys.readouterr().out
    assert 'drive_overlay.mp4: 20 frames; frames per second: ' in said
    assert ' in all, network ' in said and ', painting ' in said


def test_frames_are_seen_once_in_order_and_as_rgb(tmp_path):
    seen = []

    def predict(image):
        seen.append(image)
        return np.full(image.shape[:2], len(seen) % 3, np.uint8)

    report = predict_video.predict(_predictor(predict), _video(tmp_path, _write(tmp_path / 'a.mp4')))
    assert report.num_frames == len(seen) == 20 and report.interrupted is None
    brightness = [image[:, -10:].mean() for image in seen]
    np.testing.assert_allclose(brightness, [_grey(i) for i in range(20)], atol=5)
    assert seen[0].dtype == np.uint8 and seen[0][20, 10, 0] > 220 and seen[0][20, 10, 2] < 60
    overlays, _ = _read(tmp_path / 'out_overlay.mp4')
    for i, overlay in enumerate(overlays):
        expected = (_grey(i) + np.array(COLORS[(i + 1) % 3])) / 2
        np.testing.assert_allclose(overlay[10:-10, -16:-6].mean((0, 1)), expected, atol=12)


def test_an_odd_side_loses_its_last_row(tmp_path):
    frames = (np.full((33, 41, 3), 50, np.uint8) for _ in range(3))
    with video_files.Writer(str(tmp_path / 'a.mp4'), frames_per_second=10) as writer:
        for frame in frames:
            writer.write(frame)
    assert _read(tmp_path / 'a.mp4')[0].shape == (3, 32, 40, 3)


def test_ctrl_c_keeps_what_is_done(tmp_path):
    calls = []

    def predict(image):
        calls.append(image)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return np.zeros(image.shape[:2], np.uint8)

    video = _video(tmp_path, _write(tmp_path / 'a.mp4', 200))
    failures, interrupted = predict_video.run(_predictor(predict), [video, video])
    assert failures == [] and interrupted == 'SIGINT'
    frames, _ = _read(video.target)
    assert 1 <= len(frames) < 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.mp4', 'out_overlay.mp4']


def test_what_is_no_video_is_one_line_and_the_rest_goes_on(export, tmp_path, capfd):
    (tmp_path / 'text.mp4').write_text('no video')
    _write(tmp_path / 'whole.mp4')
    whole = (tmp_path / 'whole.mp4').read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(whole[: len(whole) // 2])
    _write(tmp_path / 'empty.mp4', 0)
    names = ('text', 'cut', 'empty', 'whole')
    flags = [flag for name in names for flag in ('--input_path', str(tmp_path / f'{name}.mp4'))]
    capfd.readouterr()
    assert predict_script.main(['--exported', export, *flags, '--output_dir', str(tmp_path / 'out')]) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    for line, name in zip(lines, names[:3], strict=True):
        assert f'{name}.mp4: ' in line and ('not a video' in line or 'no frame can be read' in line)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['whole_overlay.mp4']


def test_a_video_that_ends_too_early_is_named_and_kept(tmp_path, monkeypatch):
    video = _video(tmp_path, _write(tmp_path / 'a.mp4'))
    told = video_files.Reader._told
    monkeypatch.setattr(
        video_files.Reader,
        '_told',
        lambda self, what: 50 if what == cv2.CAP_PROP_FRAME_COUNT else told(self, what),
    )
    failures, _ = predict_video.run(_predictor(lambda image: np.zeros(image.shape[:2], np.uint8)), [video])
    assert failures == [
        f'{video}: damaged, of 50 frames the first 20 can be read; those before it are in {video.target}'
    ]
    assert len(_read(video.target)[0]) == 20


def test_an_error_of_the_network_leaves_nothing(tmp_path):
    def predict(image):
        raise DataError('the exported graph does not take an image of 48 x 64')

    video = _video(tmp_path, _write(tmp_path / 'a.mp4'))
    failures, _ = predict_video.run(_predictor(predict), [video])
    assert failures == [f'{video}: the exported graph does not take an image of 48 x 64']
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


def test_frames_too_large_or_of_other_channels_are_refused(tmp_path):
    video = _video(tmp_path, _write(tmp_path / 'a.mp4', 2))
    with pytest.raises(DataError, match=r'a\.mp4: frames of more than 1,000 pixels'):
        video_files.Reader(video, channels=3, max_pixels=1000)
    with pytest.raises(UsageError, match=r'a\.mp4: the model needs 4 channels, videos hold 3'):
        video_files.Reader(video, channels=4, max_pixels=10**6)
    with video_files.Reader(video, channels=1, max_pixels=10**6) as reader:
        assert next(reader.frames()).shape == (*SIZE, 1)


def test_a_missing_codec_and_a_refusing_folder_are_one_line(tmp_path, monkeypatch):
    frame = np.zeros((*SIZE, 3), np.uint8)
    with pytest.raises(FileNotFoundError, match='No such file or directory'):  # said in one line by every script
        video_files.Writer(str(tmp_path / 'nowhere' / 'a.mp4'), frames_per_second=10).write(frame)
    monkeypatch.setattr(video_files, '_CODEC', 'XXXX')
    with pytest.raises(UserError, match=r'a\.mp4: this OpenCV cannot write mp4 with the codec XXXX'):
        with video_files.Writer(str(tmp_path / 'a.mp4'), frames_per_second=10) as writer:
            writer.write(frame)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_frames_missing_does_not_appear(tmp_path):
    with pytest.raises(UserError, match=r'a\.mp4: 3 frames could not be written; is the disk full\?'):
        with video_files.Writer(str(tmp_path / 'a.mp4'), frames_per_second=10) as writer:
            for size in (SIZE, SIZE, (20, 20)):  # OpenCV drops a frame of another size silently
                writer.write(np.zeros((*size, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_no_camera_is_one_line(export, tmp_path, capfd):
    flags = ['--exported', export, '--camera', '97', '--output_dir', str(tmp_path / 'out')]
    assert predict_script.main(flags) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if 'camera' in line or 'WARN' in line]
    assert lines == ['error: --camera: there is no camera 97, or it is in use']


def test_frames_of_a_camera_keep_in_time_with_the_clock():
    """A network of 3 frames a second and a video of 10: each frame is written three times or four."""
    written, counts = 0, []
    for i in range(12):
        counts.append(predict_video.copies(i / 3, written, 10))
        written += counts[-1]
    assert written == int(11 / 3 * 10) + 1 and set(counts[1:]) == {3, 4}
    assert predict_video.copies(0.05, 1, 10) == 0  # faster than the video


def test_names_and_results_are_checked_first(tmp_path, monkeypatch):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'drive.mp4').write_text('')
    pattern = str(tmp_path / '*' / 'drive.mp4')
    assert video_files.split(['x.png', pattern, 'd', 'a.MOV']) == ([pattern, 'a.MOV'], ['x.png', 'd'])
    with pytest.raises(UsageError, match=r'a/drive\.mp4 and .*b/drive\.mp4 would both be written as out/drive_overlay'):
        video_files.find([pattern], None, output_dir='out')
    with pytest.raises(UsageError, match=r'no such video: nothing\.mp4'):
        video_files.find(['nothing.mp4'], None, output_dir='out')
    (found,) = video_files.find([str(tmp_path / 'a' / '*.mp4')], None, output_dir=str(tmp_path / 'a'))
    (tmp_path / 'a' / 'drive_overlay.mp4').write_text('')
    with pytest.raises(UsageError, match=r'drive_overlay\.mp4 is there already; remove it or choose'):
        video_files.find([str(tmp_path / 'a' / '*.mp4')], None, output_dir=str(tmp_path / 'a'))
    assert found.target == str(tmp_path / 'a' / 'drive_overlay.mp4')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UsageError, match='videos need opencv-python-headless; run: pip install opencv-python-headless'):
        video_files.find([], 0, output_dir='out')
    assert video_files.find([], None, output_dir='out') == []


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'give either --input_path or --camera'),
        (['--input_path', 'a.mp4', '--camera', '0'], 'give either --input_path or --camera'),
        (['--camera', '0', '--outputs', 'ids'], '--outputs: of videos and cameras the overlay is written; add overlay'),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(UsageError, match=message):
        predict_script.main(['--exported', 'x', *flags])


def test_a_camera_is_a_number(capsys):
    with pytest.raises(SystemExit) as caught:
        predict_script.main(['--exported', 'x', '--camera', 'front'])
    assert caught.value.code == 2 and "got 'front', expected the index of a camera" in capsys.readouterr().err


def test_neither_opencv_nor_tensorflow_is_loaded_to_check_flags():
    program = 'import sys, predict; sys.exit(any(name in sys.modules for name in ("cv2", "tensorflow")))'
    root = predict_script.__file__.rpartition('/')[0]
    assert subprocess.run([sys.executable, '-c', program], cwd=root, check=False).returncode == 0
