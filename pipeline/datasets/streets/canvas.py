"""What the drawn road scenes are painted on: classes, weather, the scene's canvases, the sky."""

import numpy as np
from PIL import Image, ImageDraw

from fewmask.datasets.streets.looks import Colour, Look, Pair, Palette, Weather

CLASSES = ("sky", "building", "pole", "road", "sidewalk", "vegetation", "sign", "car", "pedestrian",
           "marking")  # fmt: skip
COLOURS = ((70, 130, 180), (70, 70, 70), (153, 153, 153), (128, 64, 128), (244, 35, 232), (107, 142, 35),
           (220, 220, 0), (0, 0, 142), (220, 20, 60), (255, 255, 255))  # fmt: skip
SKY, BUILDING, POLE, ROAD, SIDEWALK, VEGETATION, SIGN, CAR, PEDESTRIAN, MARKING = range(len(CLASSES))

OVERSAMPLING = 2
NEAR, FAR = 1.6, 90.0  # metres
RANGE = 50.0  # metres over which the nearness canvas falls by e
NIGHT = 0.5  # the gain below which lamps and windows are lit

Paint = tuple[int | None, Colour]  # no class: a detail inside a shape

SPREAD = Weather((0.15,), (0.06,), (0.07,), 0.2, 0.6, 0.5, 0.6)  # of each number about its kind's


class Scene:
    """A street seen in some weather, and the three canvases that every shape is painted on: image, mask, nearness.

    Metres: x right, y up, z ahead of the camera; the road bends by ``bend * z ** 2``.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], look: Look):
        self.rng, self.size, self.look = rng, size, look
        self.rows, self.columns = (OVERSAMPLING * side for side in size)
        self.horizon = self.rows * rng.uniform(*look.horizon)
        self.centre = self.columns * rng.uniform(0.32, 0.68)
        self.focal, self.height = self.columns * rng.uniform(*look.focal), rng.uniform(*look.camera)
        self.bend = rng.normal(0, 0.0022)
        self.kerbs = {-1: -rng.uniform(*look.kerb), 1: rng.uniform(*look.kerb)}  # by side
        self.pavement = rng.uniform(1.6, 4)
        self.shades = dict(zip((-1, 1, 0), rng.uniform(0.6, 1.1, 3), strict=True))  # walls; 0 faces us
        self.weather = weather(rng, look.weathers)
        self.lamps: list[tuple[float, float, float]] = []  # column, row, radius
        self.open_canvases()

    def open_canvases(self) -> None:
        """The sky, and below the horizon the nearness of flat ground."""
        below = np.maximum(np.arange(self.rows) - self.horizon, 0.1)
        near = np.exp(-np.minimum(self.focal * self.height / below, 3 * RANGE) / RANGE)
        self.image = Image.fromarray(sky(self))
        self.mask = Image.new("L", self.image.size, SKY)
        self.nearness = Image.fromarray(np.repeat((255 * near).astype(np.uint8)[:, None], self.columns, 1))
        self.brushes = [ImageDraw.Draw(canvas) for canvas in (self.image, self.mask, self.nearness)]

    def project(self, x: float, y: float, z: float) -> Pair:
        """Metres -> column and row on the canvases."""
        scale = self.focal / z
        return self.centre + scale * (x + self.bend * z * z), self.horizon + scale * (self.height - y)

    def fills(self, paint: Paint, z: float | None) -> list[tuple[ImageDraw.ImageDraw, int | tuple[int, ...]]]:
        """The brushes to use and what to fill with; z None: flat on the ground."""
        label, colour = paint
        near = None if z is None else int(255 * np.exp(-z / RANGE))
        values = (tuple(map(int, colour)), label, near)
        return [(b, v) for b, v in zip(self.brushes, values, strict=True) if v is not None]

    def face(self, corners: list[tuple[float, float, float]], paint: Paint, z: float | None) -> None:
        """Paint a polygon of (x, y, z) corners."""
        points = [self.project(*corner) for corner in corners]
        for brush, value in self.fills(paint, z):
            brush.polygon(points, fill=value)

    def ball(self, at: tuple[float, float, float], radii: Pair, paint: Paint) -> None:
        """Paint an upright ellipse."""
        (x, y, z), (wide, tall) = at, radii
        left, top = self.project(x - wide, y + tall, z)
        right, bottom = self.project(x + wide, y - tall, z)
        for brush, value in self.fills(paint, z):
            brush.ellipse((left, top, max(right, left + 1), max(bottom, top + 1)), fill=value)

    def panel(self, at: Pair, half: float, span: Pair, paint: Paint) -> None:
        """Paint a rectangle at (x, z) that faces the camera, at least a pixel of the final image wide."""
        (x, z), (low, high) = at, span
        half = max(half, OVERSAMPLING / 2 * z / self.focal)
        corners = [(x - half, low, z), (x + half, low, z), (x + half, high, z), (x - half, high, z)]
        self.face(corners, paint, z)

    def wall(self, x: float, along: Pair, span: Pair, paint: Paint) -> None:
        """Paint a rectangle in the plane of a facade."""
        (near, far), (low, high) = along, span
        self.face([(x, low, near), (x, low, far), (x, high, far), (x, high, near)], paint, near)

    def strip(self, across: Pair, along: Pair, paint: Paint) -> None:
        """Paint a lengthwise strip of ground."""
        z = np.geomspace(*along, 14 if along[1] > 2 * along[0] else 2).tolist()
        self.face([(across[0], 0, s) for s in z] + [(across[1], 0, s) for s in z[::-1]], paint, None)

    def choose(self, palette: Palette, spread: float = 9) -> Colour:
        """A colour of the palette, its brightness and its hue jittered."""
        colour = np.array(palette[self.rng.integers(len(palette))]) * self.rng.uniform(0.8, 1.2)
        return tuple((colour + self.rng.normal(0, spread, 3)).clip(0, 255))


def weather(rng: np.random.Generator, kinds: tuple[Weather, ...]) -> Weather:
    """One of the kinds on some day."""
    kind = kinds[rng.integers(len(kinds))]

    def vary(value: Colour, spread: Colour) -> Colour:
        factor = 1 + np.multiply(spread, rng.uniform(-1, 1, len(value)))
        return tuple(np.multiply(value, factor).tolist())

    zenith, haze, cast = (vary(value, spread) for value, spread in zip(kind[:3], SPREAD[:3], strict=True))
    return Weather(zenith, haze, cast, *vary(kind[3:], SPREAD[3:]))


def shade(colour: Colour, gain: float) -> Colour:
    """The colour in brighter or dimmer light."""
    return tuple(min(255, gain * c) for c in colour)


def noise(rng: np.random.Generator, size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Smooth noise (H, W) from a grid of rows x columns standard normals."""
    grid = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(grid.resize(size[::-1], Image.Resampling.BICUBIC))


def sky(scene: Scene) -> np.ndarray:
    """(rows, columns, 3) uint8: zenith to haze, with clouds."""
    weather, size = scene.weather, (scene.rows, scene.columns)
    low = np.clip(np.arange(scene.rows) / scene.horizon, 0, 1)[:, None, None]
    clear = np.multiply(weather.zenith, 1 - low) + np.multiply(weather.haze, low)
    cover = noise(scene.rng, size, 9, 6) + 0.5 * noise(scene.rng, size, 24, 16)
    cover = weather.clouds * np.clip(cover, 0, 1)[..., None]
    cloud = np.multiply(weather.haze, 0.6) + 70 * weather.gain
    return (clear * (1 - cover) + cloud * cover).clip(0, 255).astype(np.uint8)
