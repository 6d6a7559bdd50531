"""The commands of the demo, in order: what a user would type."""

from __future__ import annotations

from dataclasses import dataclass

CONFIG = 'configs/icnet_0.5_193x321_resnet50_streets.config'
LABEL_MAP = 'configs/label_maps/streets.json'
DEFAULT_STEPS = 450
_SCHEDULE = 'train_config.optimizer.adam_optimizer.learning_rate'


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
      name: short and unique, for messages and the journal.
      title: what it does, for the user.
      arguments: what follows `python`.
      output: a path that exists when it is done.
      inputs: files whose change makes it undone.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    output: str
    inputs: tuple[str, ...] = ()


class Places:
    """Paths below one folder, relative to the repository."""

    def __init__(self, folder: str):
        self.scenes = f'{folder}/scenes'
        self.records = f'{folder}/records'
        self.train = f'{folder}/train'
        self.eval = f'{folder}/eval'
        self.export = f'{folder}/export'
        self.predictions = f'{folder}/predictions'
        self.metrics = f'{folder}/eval/metrics.json'
        self.sheet = f'{folder}/demo.png'


def steps(places: Places, *, num_steps: int, num_train: int, num_val: int) -> list[Step]:
    """All steps of the demo, in order."""
    return [
        _scenes(places, num_train, num_val),
        _records(places, 'train'),
        _records(places, 'val'),
        _train(places, num_steps),
        _evaluate(places),
        _export(places),
        _predict(places),
        _picture(places),
    ]


def _scenes(places: Places, num_train: int, num_val: int) -> Step:
    arguments = ('-m', 'dataset_tools.make_street_scenes', '--output_dir', places.scenes)
    numbers = ('--num_train', str(num_train), '--num_val', str(num_val))
    return Step('scenes', 'Paint street scenes with their labels', arguments + numbers, places.scenes)


def _records(places: Places, split: str) -> Step:
    arguments = (
        *('-m', 'dataset_tools.create_tf_record', '--name', f'{split}.record'),
        *('--images', f'{places.scenes}/images/{split}', '--labels', f'{places.scenes}/labels/{split}'),
        *('--label_map', LABEL_MAP, '--output_dir', places.records, '--num_shards', '4', '--overwrite'),
    )
    title = f'Pack the {split} images and labels into TFRecord shards'
    return Step(f'records_{split}', title, arguments, f'{places.records}/{split}.record-00000-of-00004', (LABEL_MAP,))


def _data_overrides(places: Places) -> tuple[str, ...]:
    overrides = []
    for split, reader in (('train', 'train_input_reader'), ('val', 'eval_input_reader')):
        field = f'{reader}.tf_record_input_reader.input_path'
        overrides += ['--set', f'{field}=[{places.records}/{split}.record-*]']
    return () if places.records == 'runs/demo/records' else tuple(overrides)


def _train(places: Places, num_steps: int) -> Step:
    overrides = _data_overrides(places)
    if num_steps != DEFAULT_STEPS:
        for field in ('train_config.num_steps', f'{_SCHEDULE}.polynomial_decay_learning_rate.decay_steps'):
            overrides += ('--set', f'{field}={num_steps}')
    arguments = ('train.py', '--config_path', CONFIG, '--logdir', places.train, '--image_summaries')
    title = f'Train a small ICNet from scratch for {num_steps} steps'
    return Step('train', title, arguments + overrides, f'{places.train}/checkpoint', (CONFIG,))


def _evaluate(places: Places) -> Step:
    arguments = ('eval.py', '--config_path', CONFIG, '--train_dir', places.train, '--eval_dir', places.eval)
    title = 'Evaluate it on scenes it has not seen'
    return Step('evaluate', title, arguments + _data_overrides(places), places.metrics, (CONFIG,))


def _export(places: Places) -> Step:
    arguments = (
        *('export.py', '--config_path', CONFIG),
        *('--trained_checkpoint', places.train, '--output_dir', places.export),
    )
    title = 'Export it as a frozen graph and a SavedModel'
    return Step('export', title, arguments, f'{places.export}/frozen_inference_graph.pb', (CONFIG,))


def _predict(places: Places) -> Step:
    arguments = (
        *('predict.py', '--exported', f'{places.export}/frozen_inference_graph.pb'),
        *('--input_path', f'{places.scenes}/images/val', '--output_dir', places.predictions),
    )
    return Step('predict', 'Paint its predictions, from the exported graph', arguments, places.predictions)


def _picture(places: Places) -> Step:
    arguments = (
        *(
            '-m',
            'demo.contact_sheet',
            '--images',
            f'{places.scenes}/images/val',
            '--labels',
            f'{places.scenes}/labels/val',
        ),
        *('--predictions', places.predictions, '--label_map', LABEL_MAP, '--output', places.sheet),
    )
    return Step('picture', 'Lay images, labels and predictions side by side', arguments, places.sheet, (LABEL_MAP,))
