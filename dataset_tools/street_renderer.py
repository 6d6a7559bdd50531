"""Renders one synthetic street in perspective, with its class ids, from a random generator; NumPy and Pillow only.

A scene is built in metres (x to the right, y up, z away from the camera) and drawn far to near through a pinhole
camera: sky, ground, houses, then trees, poles, cars and people in the order of their distance. The drawing is made at
twice the size and averaged, class ids are sampled from it, and light, texture, haze, blur and noise follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dataset_tools.street_texture import (
    BUILDING,
    CAR,
    LIGHTS,
    PAVEMENT,
    PERSON,
    POLE,
    ROAD,
    SKY,
    TREE,
    borders,
    finish,
    noise,
)

_IGNORE = 255
_SUPERSAMPLING = 2
_EYE_HEIGHT = 1.6
_FAR = 140.0
_HAZE_DISTANCE = 120.0

Point = tuple[float, float]
Rgb = np.ndarray  # float64 [3], 0..255


_WALLS = ((178, 122, 98), (198, 178, 146), (150, 146, 142), (206, 200, 188), (140, 104, 88), (172, 152, 132))
_PAINTS = ((190, 30, 32), (28, 60, 130), (225, 225, 228), (34, 36, 40), (120, 126, 132), (196, 150, 40), (30, 100, 80))
_CLOTHES = ((170, 40, 48), (36, 62, 120), (60, 60, 66), (205, 190, 150), (40, 110, 96), (190, 110, 40), (226, 226, 222))
_SKINS = ((224, 186, 160), (150, 106, 80), (96, 66, 50))


def render(rng: np.random.Generator, *, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws one scene.

    Args:
      rng: everything random comes from here.
      height: of the picture; 64 or more.
      width: of the picture; 64 or more.

    Returns:
      image uint8 [H, W, 3], class ids uint8 [H, W] with 255 on the border lines between classes.
    """
    if min(height, width) < 64:
        raise ValueError(f'a scene needs 64 pixels or more a side, got {height}x{width}')
    scene = _Scene(rng, height * _SUPERSAMPLING, width * _SUPERSAMPLING)
    scene.draw()
    class_ids = np.asarray(scene.labels.resize((width, height), Image.Resampling.NEAREST))
    image = np.array(scene.picture.resize((width, height), Image.Resampling.BOX), np.float32)
    image = finish(image, class_ids, scene.light, rng)
    return image, np.where(borders(class_ids), np.uint8(_IGNORE), class_ids)


class _Scene:
    """A canvas and a camera. Positions in metres: (x, y, z); `project` gives pixels of the canvas."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng, self.height, self.width = rng, height, width
        self.light = LIGHTS[rng.integers(len(LIGHTS))]
        self.horizon = height * rng.uniform(0.36, 0.5)
        self.vanishing_x = width * rng.uniform(0.36, 0.64)
        self.focal = width * rng.uniform(0.62, 0.82)
        self.sun_side = rng.choice([-1, 1])
        self.road = rng.uniform(2.9, 4.4)  # half the width
        self.wall = {side: self.road + rng.uniform(2.8, 5.5) for side in (-1, 1)}
        self.picture = Image.new('RGB', (width, height))
        self.labels = Image.new('L', (width, height), SKY)
        self._paint, self._mark = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.labels)

    def project(self, x: float, y: float, z: float) -> Point:
        scale = self.focal / max(z, 0.6)
        return self.vanishing_x + scale * x, self.horizon + scale * (_EYE_HEIGHT - y)

    def haze(self, color: Sequence[float] | Rgb, z: float) -> tuple[int, ...]:
        """The colour as it arrives from a distance of z metres."""
        share = 1 - np.exp(-z / _HAZE_DISTANCE)
        mixed = np.asarray(color) * (1 - share) + np.asarray(self.light.horizon) * share
        return tuple(int(c) for c in np.clip(mixed, 0, 255))

    def polygon(self, points: Sequence[Point], color: Sequence[float] | Rgb, class_id: int | None, z: float) -> None:
        """Fills in both pictures; class_id None changes the colour only."""
        self._paint.polygon(points, fill=self.haze(color, z))
        if class_id is not None:
            self._mark.polygon(points, fill=class_id)

    def ellipse(
        self, center: Point, radius: Point, color: Sequence[float] | Rgb, class_id: int | None, z: float
    ) -> None:
        box = (center[0] - radius[0], center[1] - radius[1], center[0] + radius[0], center[1] + radius[1])
        self._paint.ellipse(box, fill=self.haze(color, z))
        if class_id is not None:
            self._mark.ellipse(box, fill=class_id)

    def facing(self, x: float, z: float, left: float, right: float, bottom: float, top: float) -> list[Point]:
        """A rectangle that faces the camera at distance z: sides relative to x, in metres."""
        corners = ((left, bottom), (left, top), (right, top), (right, bottom))
        return [self.project(x + dx, y, z) for dx, y in corners]

    def draw(self) -> None:
        rng = self.rng
        self._sky()
        self._ground()
        things = self._things()
        self._shadows(things)
        self._skyline()
        for side in (-1, 1):
            self._houses(side)
        for kind, x, z in sorted(things, key=lambda thing: -thing[2]):
            {TREE: self._tree, CAR: self._car, PERSON: self._person, POLE: self._pole}[kind](x, z, rng)

    def _things(self) -> list[tuple[int, float, float]]:
        """(class, x, z) of what stands in the street; poles and people stay near enough to be seen."""
        rng = self.rng
        things = []
        for side in (-1, 1):
            kerb, wall = side * self.road, side * self.wall[side]
            if rng.random() < 0.75:
                things += [(TREE, wall - side * 0.9, z) for z in _spaced(rng, 9, 60, 7, 16)]
            things += [(POLE, kerb + side * 0.45, z) for z in _spaced(rng, 5, 26, 6, 12)]
            if rng.random() < 0.7:
                things += [(CAR, kerb - side * 1.1, z) for z in _spaced(rng, 6, 50, 6, 13)]
            walkers = rng.integers(1, 4)
            things += [
                (PERSON, kerb + (wall - kerb) * rng.uniform(0.3, 0.9), rng.uniform(4.5, 14)) for _ in range(walkers)
            ]
        lanes = (-self.road * 0.4, self.road * 0.4)
        things += [(CAR, lanes[rng.integers(2)], z) for z in _spaced(rng, 9, 60, 12, 30)]
        if rng.random() < 0.35:
            things.append((PERSON, rng.uniform(-self.road, self.road) * 0.8, rng.uniform(6, 12)))
        return things

    def _sky(self) -> None:
        rows = np.clip(np.arange(self.height, dtype=np.float32) / np.float32(self.horizon), 0, 1)[
            :, np.newaxis, np.newaxis
        ]
        zenith, low = (np.array(color, np.float32) for color in (self.light.zenith, self.light.horizon))
        colors = zenith * (1 - rows) + low * rows
        cover = noise(self.rng, self.height, self.width, self.height // 5) + 0.5 * noise(
            self.rng, self.height, self.width, self.height // 14
        )
        cloud = np.clip((cover + self.light.clouds * 2 - 1) * 0.6, 0, 0.8)[..., np.newaxis]
        white = low * 0.5 + 122
        self.picture.paste(Image.fromarray((colors * (1 - cloud) + white * cloud).clip(0, 255).astype(np.uint8)))

    def _ground(self) -> None:
        rng = self.rng
        stone = np.full(3, rng.uniform(140, 178)) + rng.uniform(-8, 8, 3)
        tar = np.full(3, rng.uniform(74, 112)) + rng.uniform(-4, 4, 3)
        for z0, z1 in _bands():
            self._strip(-60, 60, z0, z1, stone, PAVEMENT)
            self._strip(-self.road, self.road, z0, z1, tar, ROAD)
            for side in (-1, 1):
                kerb = sorted((side * self.road, side * (self.road + 0.22)))
                self._strip(kerb[0], kerb[1], z0, z1, stone * 1.14, PAVEMENT)
        for z in np.arange(2.6, 46, 1.5):  # joints of the slabs
            for side in (-1, 1):
                near = sorted((side * (self.road + 0.25), side * self.wall[side]))
                self._strip(near[0], near[1], z, z + 0.06 + z * 0.004, stone * 0.86, None)
        self._markings(rng)

    def _strip(self, x0: float, x1: float, z0: float, z1: float, color: Rgb, class_id: int | None) -> None:
        corners = ((x0, z0), (x0, z1), (x1, z1), (x1, z0))
        self.polygon([self.project(x, 0, z) for x, z in corners], color, class_id, (z0 + z1) / 2)

    def _markings(self, rng: np.random.Generator) -> None:
        white = np.array([222, 220, 210]) * rng.uniform(0.8, 1)
        for z in np.arange(rng.uniform(1, 5), 70, 6):
            self._strip(-0.09, 0.09, z, z + 3, white, ROAD)
        if rng.random() < 0.25:  # a zebra crossing
            z = rng.uniform(6, 14)
            for x in np.arange(-self.road + 0.4, self.road - 0.4, 1.0):
                self._strip(x, x + 0.5, z, z + 3, white, ROAD)

    def _shadows(self, things: Sequence[tuple[int, float, float]]) -> None:
        """Darkens the ground: under things, and beside the houses that stand before the sun."""
        mask = Image.new('L', self.picture.size)
        pen = ImageDraw.Draw(mask)
        side = self.sun_side
        reach = side * (self.wall[side] - self.rng.uniform(1, 7))
        edge = [(side * 60, 0.7), (side * 60, _FAR), (reach, _FAR), (reach, 0.7)]
        pen.polygon([self.project(x, 0, z) for x, z in edge], fill=int(255 * self.light.shadow))
        sizes = {TREE: (1.8, 1.0), CAR: (1.15, 2.0), PERSON: (0.4, 0.25), POLE: (0.25, 0.2)}
        for kind, x, z in things:
            half_width, half_depth = sizes[kind]
            left, bottom = self.project(x - half_width - 0.2 * side, 0, max(z - half_depth * 0.4, 0.8))
            right, top = self.project(x + half_width - 0.5 * side, 0, z + half_depth * 1.6)
            if left < right and top < bottom:
                pen.ellipse((left, top, right, bottom), fill=int(150 + 90 * self.light.shadow))
        mask = mask.filter(ImageFilter.GaussianBlur(self.height / 130))
        black = Image.new('RGB', self.picture.size, (18, 20, 30))
        below = Image.new('L', self.picture.size)
        below.paste(255, (0, round(self.horizon), self.width, self.height))
        weight = Image.fromarray((np.asarray(mask) * 0.62 * (np.asarray(below) > 0)).astype(np.uint8))
        self.picture.paste(black, mask=weight)

    def _skyline(self) -> None:
        """What closes the street far away: houses and tree tops."""
        rng = self.rng
        x = -95.0
        while x < 95:
            width, z = rng.uniform(6, 16), _FAR * rng.uniform(0.75, 1)
            if rng.random() < 0.55:
                wall = np.array(_WALLS[rng.integers(len(_WALLS))]) * 0.85
                self.polygon(self.facing(x, z, 0, width, 0, rng.uniform(6, 20)), wall, BUILDING, z)
            else:
                for _ in range(8):
                    spot = self.project(x + rng.uniform(0, width), rng.uniform(1.5, 6), z)
                    radius = self.focal / z * rng.uniform(2.5, 4)
                    self.ellipse(spot, (radius, radius), _leaf(rng), TREE, z)
                self.polygon(self.facing(x, z, 0, width, 0, 3), _leaf(rng), TREE, z)
            x += width * rng.uniform(0.7, 1.1)

    def _houses(self, side: int) -> None:
        """Facades along one side, drawn from far to near, some with gaps between them."""
        rng = self.rng
        spans, z = [], rng.uniform(-4, 2)
        while z < _FAR:
            length = rng.uniform(9, 22)
            spans.append((max(z, 0.8), z + length))
            z += length + (rng.uniform(3, 10) if rng.random() < 0.35 else 0)
        for z0, z1 in reversed(spans):
            wall = np.array(_WALLS[rng.integers(len(_WALLS))]) * rng.uniform(0.85, 1.1)
            shade = 1 - 0.45 * self.light.shadow if side == self.sun_side else 1.06
            self._house(side, z0, z1, rng.uniform(6, 17), wall, shade)

    def _house(self, side: int, z0: float, z1: float, top: float, wall: Rgb, shade: float) -> None:
        x = side * self.wall[side]
        # The end wall towards the camera, seen in gaps, then the facade along the street, in slices for the haze.
        self.polygon(
            [self.project(x + side * dx, y, z0) for dx, y in ((0, 0), (0, top), (14, top), (14, 0))],
            wall * 0.84,
            BUILDING,
            z0,
        )
        for a, b in _slices(z0, z1):
            self._panel(x, a, b, 0, top, wall * shade, BUILDING)
            self._panel(x, a, b, top - 0.5, top, wall * shade * 0.72, BUILDING)
            self._panel(x, a, b, 0, 0.6, wall * shade * 0.66, BUILDING)
        self._windows(x, z0, z1, top, shade)

    def _panel(self, x: float, z0: float, z1: float, y0: float, y1: float, color: Rgb, class_id: int | None) -> None:
        """A rectangle on a wall along the street."""
        corners = ((z0, y0), (z0, y1), (z1, y1), (z1, y0))
        self.polygon([self.project(x, y, z) for z, y in corners], color, class_id, (z0 + z1) / 2)

    def _windows(self, x: float, z0: float, z1: float, top: float, shade: float) -> None:
        rng = self.rng
        bay, glass, lit = rng.uniform(2.2, 3.4), np.array([62, 74, 92.0]), np.array([236, 200, 130.0])
        frame = np.array([226, 222, 214.0]) * shade
        share_lit = 0.3 if max(self.light.tint) < 0.88 else 0.04
        for z in np.arange(z0 + 0.8, min(z1 - bay * 0.6, 55), bay):
            for floor, y in enumerate(np.arange(0.9, top - 2.2, 3.0)):
                pane = lit if rng.random() < share_lit else glass * rng.uniform(0.7, 1.5)
                self._panel(x, z - 0.1, z + bay * 0.5 + 0.1, y - 0.1, y + 1.65, frame, None)
                self._panel(x, z, z + bay * 0.5, y if floor else 0.1, y + 1.55, pane, None)

    def _tree(self, x: float, z: float, rng: np.random.Generator) -> None:
        bark, size = np.array([92, 72, 54]) * rng.uniform(0.8, 1.1), rng.uniform(0.85, 1.4)
        self.polygon(self.facing(x, z, -0.18 * size, 0.18 * size, 0, 3 * size), bark, TREE, z)
        leaf, scale = _leaf(rng), self.focal / z
        lumps = rng.normal(0, 1, (26, 3)) * (0.85 * size, 0.75 * size, 1)
        for dx, dy, tone in lumps[np.argsort(lumps[:, 1])]:
            radius = scale * size * rng.uniform(0.5, 0.95)
            bright = 1 + 0.14 * dy / size - 0.1 * dx * self.sun_side + 0.06 * tone
            self.ellipse(self.project(x + dx, 3.7 * size + dy, z), (radius, radius * 0.85), leaf * bright, TREE, z)

    def _pole(self, x: float, z: float, rng: np.random.Generator) -> None:
        grey = np.array([104, 108, 112]) * rng.uniform(0.55, 1.25)
        half = max(0.13, 2.6 * _SUPERSAMPLING / 2 * z / self.focal)
        inwards = -np.sign(x)
        if rng.random() < 0.55:  # a lamp
            top = rng.uniform(5.5, 7.5)
            self.polygon(self.facing(x, z, -half, half, 0, top), grey, POLE, z)
            arm = sorted((-half * inwards, 1.7 * inwards))
            self.polygon(self.facing(x, z, arm[0], arm[1], top - 2 * half, top), grey, POLE, z)
            head = sorted((1.0 * inwards, 1.8 * inwards))
            self.polygon(self.facing(x, z, head[0], head[1], top - 2.6 * half - 0.1, top), (228, 222, 190), POLE, z)
        else:  # a traffic sign
            top = rng.uniform(2.6, 3.4)
            self.polygon(self.facing(x, z, -half, half, 0, top), grey, POLE, z)
            radius = 0.45 * self.focal / z
            rim, inner = (((190, 30, 36), (236, 234, 230)), ((32, 70, 160), (48, 96, 190)))[rng.integers(2)]
            self.ellipse(self.project(x, top, z), (radius, radius), rim, POLE, z)
            self.ellipse(self.project(x, top, z), (radius * 0.7, radius * 0.7), inner, POLE, z)
        self.polygon(self.facing(x, z, -half, -half * 0.3, 0, top * 0.98), grey * 1.25, None, z)

    def _car(self, x: float, z: float, rng: np.random.Generator) -> None:
        """A box with a cabin, its tail towards the camera; the flank that can be seen is drawn first."""
        paint = np.array(_PAINTS[rng.integers(len(_PAINTS))], np.float64) * rng.uniform(0.85, 1.1)
        half, length = rng.uniform(0.86, 0.98), rng.uniform(3.7, 4.7)
        body, roof = rng.uniform(0.86, 1.0), rng.uniform(1.42, 1.75)
        flank = x - half if x > 0 else x + half
        glass, tyre = np.array([44, 54, 66.0]), np.array([26, 26, 28.0])
        ends = (z, z + length)
        deck = [(x - half, z), (x - half, z + length), (x + half, z + length), (x + half, z)]
        self.polygon([self.project(dx, body, zz) for dx, zz in deck], paint * 0.95, CAR, z)
        self._panel(flank, *ends, 0.28, body, paint * 0.72, CAR)
        cabin = (z + 0.35, z + length * 0.68)
        inset = flank + np.sign(x) * 0.12
        self._panel(inset, *cabin, body, roof, paint * 0.66, CAR)
        self._panel(inset, cabin[0] + 0.25, cabin[1] - 0.3, body + 0.08, roof - 0.1, glass, CAR)
        for wheel in (z + 0.75, z + length - 0.8):
            self._panel(flank, wheel - 0.33, wheel + 0.33, 0.0, 0.64, tyre, CAR)
        top = [
            self.project(x + dx, y, zz)
            for dx, y, zz in (
                (-half, body, z),
                (-half + 0.14, roof, z + 0.4),
                (half - 0.14, roof, z + 0.4),
                (half, body, z),
            )
        ]
        self.polygon(top, paint * 0.92, CAR, z)
        window = [
            self.project(x + dx, y, z + 0.1)
            for dx, y in (
                (-half + 0.12, body + 0.06),
                (-half + 0.24, roof - 0.12),
                (half - 0.24, roof - 0.12),
                (half - 0.12, body + 0.06),
            )
        ]
        self.polygon(window, glass * rng.uniform(0.8, 1.5), CAR, z)
        for dx in (-half + 0.02, half - 0.3):
            self.polygon(self.facing(x, z, dx, dx + 0.28, 0, 0.5), tyre, CAR, z)
        self.polygon(self.facing(x, z, -half, half, 0.26, body), paint, CAR, z)
        self.polygon(self.facing(x, z, -half, half, 0.26, 0.42), paint * 0.5, CAR, z)
        self.polygon(self.facing(x, z, -0.26, 0.26, 0.5, 0.62), (226, 224, 206), CAR, z)
        for dx in (-half + 0.03, half - 0.27):
            self.polygon(self.facing(x, z, dx, dx + 0.24, 0.6, 0.78), (206, 40, 34), CAR, z)

    def _person(self, x: float, z: float, rng: np.random.Generator) -> None:
        size = rng.uniform(0.9, 1.1)
        coat, trousers = (np.array(_CLOTHES[i], np.float64) for i in rng.integers(len(_CLOTHES), size=2))
        stride = rng.uniform(0.02, 0.22) * size
        for sign, shade in ((-1, 0.8), (1, 0.95)):
            leg = [
                (sign * 0.02 - 0.1, 0.85),
                (sign * 0.02 + 0.1, 0.85),
                (sign * stride + 0.09, 0),
                (sign * stride - 0.11, 0),
            ]
            self.polygon([self.project(x + dx * size, y * size, z) for dx, y in leg], trousers * shade, PERSON, z)
        torso = [(-0.2, 0.8), (-0.26, 1.42), (-0.12, 1.5), (0.12, 1.5), (0.26, 1.42), (0.2, 0.8)]
        self.polygon([self.project(x + dx * size, y * size, z) for dx, y in torso], coat, PERSON, z)
        for sign in (-1, 1):
            arm = [
                (sign * 0.2, 1.42),
                (sign * 0.29, 1.4),
                (sign * (0.3 + stride * 0.5), 0.8),
                (sign * (0.2 + stride * 0.5), 0.8),
            ]
            self.polygon([self.project(x + dx * size, y * size, z) for dx, y in arm], coat * 0.82, PERSON, z)
        radius = 0.15 * size * self.focal / z
        hair, skin = np.array([52, 40, 32]) * rng.uniform(0.4, 2), _SKINS[rng.integers(len(_SKINS))]
        self.ellipse(self.project(x, 1.64 * size, z), (radius * 0.9, radius * 1.1), hair, PERSON, z)
        self.ellipse(self.project(x, 1.60 * size, z), (radius * 0.75, radius * 0.9), skin, PERSON, z)


def _spaced(rng: np.random.Generator, first: float, last: float, least: float, most: float) -> list[float]:
    """Increasing distances from about `first` to `last`, `least` to `most` apart."""
    distances, z = [], first + rng.uniform(0, most)
    while z < last:
        distances.append(z)
        z += rng.uniform(least, most)
    return distances


def _bands() -> list[tuple[float, float]]:
    """Depth ranges of the ground, growing with distance, so that haze changes in small steps; far first."""
    edges = np.geomspace(0.6, 3000, 26)
    return [(float(a), float(b)) for a, b in pairwise(edges)][::-1]


def _slices(z0: float, z1: float) -> list[tuple[float, float]]:
    """A facade cut in pieces of about equal ratio of depth; far first."""
    edges = np.geomspace(z0, z1, 2 + int(np.log2(z1 / z0)))
    return [(float(a), float(b)) for a, b in pairwise(edges)][::-1]


def _leaf(rng: np.random.Generator) -> Rgb:
    return np.array([rng.uniform(58, 104), rng.uniform(98, 136), rng.uniform(36, 66)])
