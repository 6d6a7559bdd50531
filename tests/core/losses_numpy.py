"""Independent twins of the losses, in float64, pixel by pixel, from the papers' formulas."""

from __future__ import annotations

import math

import numpy as np


def log_softmax(scores):
    return scores - scores.max() - math.log(np.exp(scores - scores.max()).sum())


def pixels(logits, labels, ignore):
    """(log probabilities [C], label) of each pixel that counts."""
    logits = np.asarray(logits, np.float64)
    return [
        (log_softmax(s), int(label))
        for s, label in zip(logits.reshape(-1, logits.shape[-1]), labels.ravel(), strict=True)
        if label != ignore
    ]


def smoothed(log_p, label, smoothing):
    target = np.full(len(log_p), smoothing / len(log_p))
    target[label] += 1 - smoothing
    return -(target * log_p).sum()


def focal(logits, labels, *, gamma, alpha=None, smoothing=0.0, ignore=255):
    total = weights = 0.0
    for log_p, label in pixels(logits, labels, ignore):
        weight = 1.0 if alpha is None else alpha[label]
        total += weight * (1 - math.exp(log_p[label])) ** gamma * smoothed(log_p, label, smoothing)
        weights += weight
    return total / weights if weights else 0.0


def hardest(logits, labels, *, share, threshold=0.0, class_weight=None, smoothing=0.0, ignore=255):
    """Sorts; the ties of the last one kept are kept."""
    found = [
        (log_p[label], smoothed(log_p, label, smoothing), 1.0 if class_weight is None else class_weight[label])
        for log_p, label in pixels(logits, labels, ignore)
    ]
    found = sorted((pixel for pixel in found if pixel[2] > 0), key=lambda pixel: pixel[0])
    if not found:
        return 0.0
    last = found[math.ceil(share * len(found)) - 1][0]
    kept = [pixel for pixel in found if pixel[0] <= last or math.exp(pixel[0]) < threshold]
    return sum(loss * weight for _, loss, weight in kept) / sum(weight for *_, weight in kept)


def dice(logits, labels, *, per_image=False, ignore=255):
    return _of_groups(_dice, logits, labels, per_image, ignore)


def lovasz(logits, labels, *, per_image=False, ignore=255):
    return _of_groups(_lovasz, logits, labels, per_image, ignore)


def _of_groups(of_class, logits, labels, per_image, ignore):
    groups = zip(logits, labels, strict=True) if per_image else [(logits, labels)]
    losses = []
    for group_logits, group_labels in groups:
        found = pixels(group_logits, group_labels, ignore)
        truth = np.array([label for _, label in found])
        if found:
            p = np.exp([log_p for log_p, _ in found])
            losses.append(np.mean([of_class(p[:, c], truth == c) for c in sorted(set(truth))]))
    return float(np.mean(losses)) if losses else 0.0


def _dice(p, truth):
    return 1 - 2 * (p * truth).sum() / ((p**2).sum() + truth.sum())


def _lovasz(p, truth):
    """Eq. 9 of arXiv:1705.08790, from sets: the error of each pixel times what it adds to the Jaccard loss."""
    errors = np.abs(truth - p)
    loss, wrong, before = 0.0, set(), 0.0
    for pixel in np.argsort(-errors, kind='stable'):
        wrong.add(int(pixel))
        after = _jaccard_loss(wrong, truth)
        loss += errors[pixel] * (after - before)
        before = after
    return loss


def _jaccard_loss(wrong, truth):
    """1 - IoU if exactly the pixels of `wrong` are misclassified."""
    of_class = set(np.flatnonzero(truth).tolist())
    predicted = of_class ^ wrong
    return 1 - len(of_class & predicted) / len(of_class | predicted)
