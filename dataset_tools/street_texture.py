"""What makes a drawn street look photographed: times of day, grain, tint, blur, noise; NumPy and Pillow only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

SKY, ROAD, PAVEMENT, BUILDING, TREE, CAR, PERSON, POLE = range(8)

# Grain in units of 0..255: (pixel size of the noise, amplitude), fine then coarse.
_GRAIN = {
    ROAD: ((1, 6), (24, 7)),
    PAVEMENT: ((1, 5), (10, 6)),
    BUILDING: ((2, 6), (14, 6)),
    TREE: ((2, 20), (7, 16)),
    CAR: ((3, 3), (12, 4)),
    PERSON: ((2, 5), (6, 5)),
    POLE: ((2, 4), (6, 4)),
}


@dataclass(frozen=True)
class Light:
    """Time of day and weather: colours are RGB in 0..255, `tint` multiplies the finished picture."""

    zenith: tuple[int, int, int]
    horizon: tuple[int, int, int]
    tint: tuple[float, float, float]
    shadow: float  # 0 overcast .. 1 black
    clouds: float  # 0 clear .. 1 covered


LIGHTS = (
    Light((70, 120, 200), (190, 214, 235), (1.0, 1.0, 0.98), 0.5, 0.35),  # noon
    Light((96, 132, 186), (240, 205, 160), (1.08, 0.96, 0.82), 0.55, 0.3),  # evening sun
    Light((168, 174, 182), (205, 208, 212), (0.9, 0.93, 0.97), 0.12, 0.9),  # overcast
    Light((58, 72, 120), (205, 150, 140), (0.84, 0.78, 0.86), 0.2, 0.4),  # dusk
    Light((120, 160, 205), (222, 226, 226), (1.02, 1.0, 1.0), 0.35, 0.6),  # hazy morning
)


def finish(image: np.ndarray, class_ids: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Grain per class, the light's tint, exposure, vignette, blur and sensor noise; float32 -> uint8 [H, W, 3]."""
    height, width = class_ids.shape
    for class_id, grains in _GRAIN.items():
        grain = sum(amplitude * noise(rng, height, width, size) for size, amplitude in grains)
        image += np.where(class_ids == class_id, grain, 0)[..., np.newaxis]
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    vignette = 1 - rng.uniform(0.04, 0.16) * (across**2 + down**2)
    image *= (vignette[..., np.newaxis] * np.array(light.tint) * rng.uniform(0.85, 1.12)).astype(np.float32)
    softened = Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.15, 0.6))
    )
    grain = rng.standard_normal((height, width, 3), np.float32) * np.float32(rng.uniform(1.5, 5))
    noisy = np.asarray(softened, np.float32) + grain
    return noisy.clip(0, 255).astype(np.uint8)


def borders(class_ids: np.ndarray) -> np.ndarray:
    """One pixel on the upper or left side of every change of class, bool [H, W]."""
    border = np.zeros(class_ids.shape, bool)
    border[:, :-1] |= class_ids[:, 1:] != class_ids[:, :-1]
    border[:-1] |= class_ids[1:] != class_ids[:-1]
    return border


def noise(rng: np.random.Generator, height: int, width: int, size: int) -> np.ndarray:
    """Normal noise whose blotches are about `size` pixels wide, float32 [height, width]."""
    coarse = rng.standard_normal((height // size + 2, width // size + 2)).astype(np.float32)
    if size == 1:
        return coarse[:height, :width]
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
