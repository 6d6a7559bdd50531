"""The few images that are kept are those of a full sort."""

from __future__ import annotations

import numpy as np

from metrics import segmentation
from metrics.worst_images import NUM_KEPT, WorstImages

NAMES = ['a', 'b', 'c']


def test_they_are_the_worst_of_all():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 30, (60, 3, 3))
    counts[::3, 2] = 0  # images without a label of class c
    worst = WorstImages(NAMES)
    for i, one in enumerate(counts):
        worst.add(f'{i:02d}.png', one)
    for class_id, name in enumerate(NAMES):
        ranked = []
        for i, one in enumerate(counts):
            wrong = one[class_id].sum() + one[:, class_id].sum() - 2 * one[class_id, class_id]
            if one[class_id].sum() and wrong:
                ranked.append((segmentation.class_iou(one)[class_id], -wrong, f'{i:02d}.png'))
        expected = [filename for _, _, filename in sorted(ranked)[:NUM_KEPT]]
        assert [entry['filename'] for entry in worst.worst_images()[name]] == expected
    pairs = worst.confusion_pairs()
    total = counts.sum(0)
    assert [pair['pixels'] for pair in pairs] == sorted(total[~np.eye(3, dtype=bool)].tolist(), reverse=True)
    for pair in pairs:
        i, j = NAMES.index(pair['label']), NAMES.index(pair['prediction'])
        assert pair['pixels'] == total[i, j] and pair['share_of_label'] == total[i, j] / total[i].sum()
        order = sorted(range(60), key=lambda k: (-counts[k, i, j], k))
        assert pair['images'] == [f'{k:02d}.png' for k in order[:NUM_KEPT]]


def test_an_image_without_an_error_is_never_worst():
    worst = WorstImages(NAMES)
    worst.add('good.png', np.diag([4, 5, 0]))
    assert worst.worst_images() == {'a': [], 'b': [], 'c': []} and worst.confusion_pairs() == []
