"""The PyTorch side of `benchmarks.input_pipeline`: settings as JSON on stdin, one JSON object on stdout.

Run by an interpreter of its own, with torch, numpy and Pillow; nothing of this project is imported.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from PIL import Image

_COLOR = (123.68, 116.779, 103.939)
_NUM_WORKERS = 2


class Crops(torch.utils.data.Dataset):
    """Picture files -> (image float32 [3, N, N] in 0..255, label int64 [N, N]): scaled, cropped, mirrored at random."""

    def __init__(self, pairs: list[list[str]], crop: int):
        self._pairs, self._crop = pairs, crop

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image_path, label_path = self._pairs[number % len(self._pairs)]
        image = np.asarray(Image.open(image_path).convert('RGB'))
        label = np.asarray(Image.open(label_path))
        rng = np.random.default_rng([1, number])
        ratio, crop = rng.uniform(0.5, 2.0), self._crop
        # Of the picture as it is, that which is the crop once it is resized: the rest is not resized.
        window = [min(side, round(crop / ratio)) for side in label.shape]
        top, left = (int(rng.integers(side - cut + 1)) for side, cut in zip(label.shape, window, strict=True))
        region = (slice(top, top + window[0]), slice(left, left + window[1]))
        size = [min(crop, int(cut * ratio) or 1) for cut in window]
        pixels = torch.from_numpy(np.ascontiguousarray(image[region])).permute(2, 0, 1)[None].float()
        pixels = torch.nn.functional.interpolate(pixels, size=size, mode='bilinear', align_corners=True)[0]
        ids = torch.from_numpy(np.ascontiguousarray(label[region]))[None, None]
        ids = torch.nn.functional.interpolate(ids, size=size, mode='nearest')[0, 0]
        if size != [crop, crop]:
            padded = torch.tensor(_COLOR)[:, None, None].repeat(1, crop, crop)
            padded[:, : size[0], : size[1]] = pixels
            padded_ids = torch.full((crop, crop), 255, dtype=torch.uint8)
            padded_ids[: size[0], : size[1]] = ids
            pixels, ids = padded, padded_ids
        if rng.random() < 0.5:
            pixels, ids = pixels.flip(2), ids.flip(1)
        return pixels, ids.long()


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Images per second of a DataLoader."""
    loader = torch.utils.data.DataLoader(
        Crops(settings['pairs'], settings['crop']), batch_size=settings['batch_size'], num_workers=_NUM_WORKERS
    )
    batches = iter(loader)
    for _ in range(2 * _NUM_WORKERS + 1):
        next(batches)
    rates = []
    for _ in range(settings['rounds']):
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < settings['seconds'] or count < 2 * _NUM_WORKERS:
            next(batches)
            count += 1
        rates.append(count * settings['batch_size'] / (time.perf_counter() - started))
    return {
        'images_per_second': round(statistics.median(rates), 2),
        'workers': _NUM_WORKERS,
        'torch': torch.__version__,
    }


if __name__ == '__main__':
    print(json.dumps(measure(json.load(sys.stdin))))
