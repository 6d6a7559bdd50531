"""Expected calibration error against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.calibration import NUM_BINS, CalibrationCounter


@pytest.mark.parametrize('seed', range(5))
def test_it_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    counter, kept = CalibrationCounter(ignore_label=255), []
    for _ in range(3):
        shape = tuple(rng.integers(2, 30, 2))
        label = rng.choice(np.array([0, 1, 2, 255], np.uint8), shape)
        prediction = rng.integers(0, 3, shape, np.uint8)
        confidence = rng.uniform(1 / 3, 1, shape).astype(np.float32)
        confidence.flat[:2] = 1
        counter.add(label, prediction, confidence)
        valid = label != 255
        kept.append(np.stack([confidence[valid].astype(np.float64), (label == prediction)[valid]]))
    confidence, right = np.concatenate(kept, 1)
    summary, ece = counter.summary(), 0.0
    assert summary
    for i, one in enumerate(summary['bins']):
        low, high = np.float32(i) / np.float32(NUM_BINS), np.float32(i + 1) / np.float32(NUM_BINS)
        inside = (confidence > low) & (confidence <= high)
        assert one['share'] == pytest.approx(inside.mean())
        if not inside.any():
            assert one['confidence'] is None and one['accuracy'] is None
            continue
        assert one['confidence'] == pytest.approx(confidence[inside].mean(), rel=1e-6)
        assert one['accuracy'] == pytest.approx(right[inside].mean())
        ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert summary['ece'] == pytest.approx(ece, rel=1e-6)


def test_a_network_that_knows_how_sure_it_is_has_no_error():
    counter = CalibrationCounter(ignore_label=255)
    label = np.array([[0] * 3 + [1]], np.uint8)
    counter.add(label, np.zeros_like(label), np.full(label.shape, 0.75, np.float32))
    summary = counter.summary()
    assert summary and summary['ece'] == pytest.approx(0)


def test_nothing_counted_is_null():
    counter = CalibrationCounter(ignore_label=255)
    counter.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), np.ones((2, 2), np.float32))
    assert counter.summary() is None
