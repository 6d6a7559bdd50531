"""eval.py beside a training, in processes of its own: killed, restarted, and with a checkpoint that goes away."""

from __future__ import annotations

import re
import signal
import time

import numpy as np

import eval as eval_script
from builders import config_loader
from engine import checkpoints, inference
from tests import forked, tiny_run


def start(run, *more):
    where = ['--config_path', run.config_path, '--train_dir', str(run.folder / 'train')]
    flags = ['--eval_dir', str(run.folder / 'eval'), '--follow', '--evaluate_all_from_checkpoint', '5', *more]
    flags += ['--follow_poll_secs', '0.2', '--follow_timeout_secs', '1', '--set', 'eval_config.bootstrap_samples=0']
    return forked.Process(eval_script.main, [*where, *flags])


def wait_for(process, pattern, folder):
    """Until a file of the pattern is in the folder."""
    deadline = time.monotonic() + forked.PATIENCE_SECONDS
    while not list(folder.glob(pattern)):
        assert process.code is None and time.monotonic() < deadline, process.errors
        time.sleep(0.002)


def test_killed_restarted_and_a_checkpoint_goes_away(tmp_path):
    run = tiny_run.make(tmp_path)
    variables = inference.build_model(config_loader.load(run.config_path, (), 'eval')).variables_by_name()
    train, results = tmp_path / 'train', tmp_path / 'eval'

    def save(*steps):
        for step in steps:
            variables['Predictions/Conv/biases'].assign(np.eye(3)[step % 3] * 100)  # one class everywhere
            checkpoints.save(train, step, variables)

    save(5, 10)
    first = start(run)
    wait_for(first, 'images-10.jsonl*', results)
    first.send_signal(signal.SIGKILL)
    assert first.finish() == -signal.SIGKILL
    assert (results / 'metrics-5.json').exists()
    finished = (results / 'metrics-5.json').read_text()
    was_evaluated = (results / 'metrics-10.json').exists()

    save(12, 15, 16)
    (results / 'images-99.jsonl.1.tmp').write_text('of a killed process')
    second = start(run)
    wait_for(second, f'images-{12 if was_evaluated else 10}.jsonl.{second.pid}.tmp', results)
    checkpoints.remove(str(train / 'model.ckpt-15'))
    assert second.finish() == 0, second.errors
    output = second.output
    assert re.search(r'note: \d checkpoints up to step (5|10) are scored in .* already; going on from there', output)
    scored = [int(step) for step in re.findall(r'model\.ckpt-\d+ \(step (\d+)\): 4 images', output)]
    assert scored == ([12, 16] if was_evaluated else [10, 12, 16])
    assert re.search(r'note: \S*model\.ckpt-15: removed before it was scored', output)
    assert (results / 'metrics-5.json').read_text() == finished
    assert sorted(path.name for path in results.glob('metrics-*')) == [
        *('metrics-10.json', 'metrics-12.json', 'metrics-16.json', 'metrics-5.json')
    ]
    assert not list(results.glob('*.tmp'))
