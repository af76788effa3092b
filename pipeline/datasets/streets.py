"""Road scenes drawn procedurally: the embedded data set, in which appearance varies more than layout.

A scene is laid out in metres (x right, y up, z ahead of the camera; the road bends by ``bend * z ** 2``) and
painted back to front on an image, a mask and a nearness canvas at once; then the image alone is lit, fogged,
textured and blurred. The layout does not depend on the size asked for. Trunks and grass are vegetation.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("sky", "building", "pole", "road", "sidewalk", "vegetation", "sign", "car", "pedestrian",
           "marking")  # fmt: skip
COLOURS = ((70, 130, 180), (70, 70, 70), (153, 153, 153), (128, 64, 128), (244, 35, 232), (107, 142, 35),
           (220, 220, 0), (0, 0, 142), (220, 20, 60), (255, 255, 255))  # fmt: skip
IGNORE = 255
SKY, BUILDING, POLE, ROAD, SIDEWALK, VEGETATION, SIGN, CAR, PEDESTRIAN, MARKING = range(len(CLASSES))

OVERSAMPLING = 2
NEAR, FAR = 1.6, 90.0  # metres
RANGE = 50.0  # metres over which the nearness canvas falls by e
NIGHT = 0.5  # the gain below which lamps and windows are lit

Pair = tuple[float, float]
Colour = tuple[float, ...]
Paint = tuple[int | None, Colour]  # no class: a detail inside a shape
Thing = tuple[float, Callable[[], None]]  # farthest z, how to paint it

# The palettes overlap on purpose: grey cars on grey roads, sky-blue walls, green cars by trees.
FACADES = ((182, 156, 126), (150, 82, 66), (135, 135, 140), (208, 203, 195), (132, 166, 198), (118, 138, 108),
           (88, 84, 84), (200, 168, 108), (176, 128, 112), (150, 150, 165))  # fmt: skip
BODIES = ((92, 92, 95), (225, 225, 225), (28, 28, 32), (165, 30, 32), (40, 65, 140), (62, 98, 56),
          (150, 152, 156), (188, 170, 140), (205, 170, 40), (110, 150, 185))  # fmt: skip
ASPHALTS = ((88, 88, 92), (62, 62, 66), (128, 126, 122), (112, 100, 92), (88, 96, 110), (148, 144, 140))
PAVINGS = ((152, 150, 147), (170, 154, 132), (150, 108, 92), (112, 110, 112), (128, 132, 142),
           (186, 182, 176))  # fmt: skip
LEAVES = ((62, 98, 42), (40, 72, 38), (92, 118, 52), (150, 110, 40), (128, 66, 36), (96, 90, 70),
          (76, 110, 84))  # fmt: skip
PLATES = ((30, 70, 160), (190, 30, 35), (235, 235, 235), (225, 185, 30), (30, 110, 60), (215, 120, 30))
LINES = ((235, 235, 230), (235, 235, 230), (225, 180, 60))


class Weather(NamedTuple):
    """Zenith and horizon colours, cast and gain of the light, fog a metre, strength of shadows and clouds."""

    zenith: Colour
    haze: Colour
    cast: Colour
    gain: float
    fog: float
    shadow: float
    clouds: float


WEATHERS = (
    Weather((70, 120, 200), (190, 210, 235), (1.02, 1.0, 0.97), 1.0, 0.002, 0.5, 0.1),
    Weather((95, 145, 215), (205, 220, 240), (1.0, 1.0, 1.0), 1.0, 0.004, 0.35, 0.8),
    Weather((165, 170, 180), (205, 205, 208), (0.95, 1.0, 1.05), 0.8, 0.008, 0.1, 0.2),
    Weather((75, 80, 135), (240, 165, 110), (1.2, 0.95, 0.78), 0.6, 0.006, 0.3, 0.4),
    Weather((14, 16, 32), (48, 42, 52), (1.15, 0.95, 0.72), 0.34, 0.004, 0.2, 0.1),
    Weather((188, 190, 192), (200, 200, 200), (1.0, 1.0, 1.0), 0.85, 0.03, 0.05, 0.05),
    Weather((150, 190, 240), (240, 243, 250), (1.05, 1.0, 0.92), 1.35, 0.003, 0.6, 0.2),
    Weather((45, 60, 95), (120, 125, 150), (0.8, 0.92, 1.2), 0.42, 0.012, 0.1, 0.5),
)
SPREAD = Weather((0.15,), (0.06,), (0.07,), 0.2, 0.6, 0.5, 0.6)  # of each number about its kind's


class Scene:
    """A street seen in some weather, and the three canvases that every shape is painted on."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]):
        self.rng, self.size = rng, size
        self.rows, self.columns = (OVERSAMPLING * side for side in size)
        self.horizon = self.rows * rng.uniform(0.3, 0.52)
        self.centre = self.columns * rng.uniform(0.32, 0.68)
        self.focal, self.height = self.columns * rng.uniform(0.65, 1.05), rng.uniform(1.25, 2.2)
        self.bend = rng.normal(0, 0.0022)
        self.kerbs = {-1: -rng.uniform(2.2, 6), 1: rng.uniform(2.2, 6)}  # by side
        self.pavement = rng.uniform(1.6, 4)
        self.shades = dict(zip((-1, 1, 0), rng.uniform(0.6, 1.1, 3), strict=True))  # walls; 0 faces us
        self.weather = weather(rng)
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

    def strip(self, across: Pair, along: Pair, paint: Paint) -> None:
        """Paint a lengthwise strip of ground."""
        z = np.geomspace(*along, 14 if along[1] > 2 * along[0] else 2).tolist()
        self.face([(across[0], 0, s) for s in z] + [(across[1], 0, s) for s in z[::-1]], paint, None)

    def choose(self, palette: tuple[Colour, ...], spread: float = 9) -> Colour:
        """A colour of the palette, its brightness and its hue jittered."""
        colour = np.array(palette[self.rng.integers(len(palette))]) * self.rng.uniform(0.8, 1.2)
        return tuple((colour + self.rng.normal(0, spread, 3)).clip(0, 255))


def weather(rng: np.random.Generator) -> Weather:
    """One of the kinds on some day."""
    kind = WEATHERS[rng.integers(len(WEATHERS))]

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


def ground(scene: Scene) -> None:
    """Verges, pavements, carriageway with repairs, and its markings."""
    rng, paving, asphalt = scene.rng, scene.choose(PAVINGS, 6), scene.choose(ASPHALTS, 6)
    for side, kerb in scene.kerbs.items():
        green = rng.random() < 0.35
        verge = (VEGETATION, scene.choose(LEAVES)) if green else (SIDEWALK, shade(paving, 0.93))
        scene.strip((kerb, kerb + side * 60), (NEAR, 3 * FAR), verge)
        scene.strip((kerb, kerb + side * scene.pavement), (NEAR, 3 * FAR), (SIDEWALK, paving))
        stone = (SIDEWALK, shade(paving, rng.uniform(0.7, 1.2)))
        scene.strip((kerb, kerb + side * 0.18), (NEAR, FAR), stone)
    left, right = scene.kerbs.values()
    scene.strip((left, right), (NEAR, 3 * FAR), (ROAD, asphalt))
    for x, z in rng.uniform((left, 3), (right - 1, 20), (rng.integers(5), 2)):
        repair = (None, shade(asphalt, rng.uniform(0.7, 1.25)))
        scene.strip((x, min(x + rng.uniform(0.4, 2.5), right)), (z, z + rng.uniform(1, 8)), repair)
    markings(scene, asphalt)


def markings(scene: Scene, asphalt: Colour) -> None:
    """Lane, edge and crossing lines in paint more or less worn."""
    rng, fresh, (left, right) = scene.rng, scene.choose(LINES, 5), scene.kerbs.values()
    wear, width = rng.uniform(0.35, 1), rng.uniform(0.13, 0.28)
    paint = (MARKING, tuple(np.multiply(fresh, wear) + np.multiply(asphalt, 1 - wear)))
    middle, dash = left + (right - left) * rng.uniform(0.4, 0.6), rng.uniform(1.5, 5)
    for z in np.arange(NEAR + rng.uniform(0, 3), 45, dash + rng.choice((0.01, 3, 5))):
        scene.strip((middle - width / 2, middle + width / 2), (z, z + dash), paint)
    for side, kerb in scene.kerbs.items():
        if rng.random() < 0.5:
            scene.strip((kerb - side * 0.35, kerb - side * (0.35 + width)), (NEAR, 60), paint)
    zebra = rng.uniform(4, 14)
    for x in np.arange(left + 0.3, right - 0.6, 1.1) if rng.random() < 0.4 else ():
        scene.strip((x, x + 0.55), (zebra, zebra + 2.8), paint)


def skyline(scene: Scene) -> None:
    """Distant houses or woods on the horizon."""
    rng, z, wood = scene.rng, 3 * FAR, scene.rng.random() < 0.5
    label, colour = (VEGETATION, scene.choose(LEAVES, 8)) if wood else (BUILDING, scene.choose(FACADES, 8))
    for x in np.arange(-4 * FAR, 4 * FAR, 18) - scene.bend * z * z:
        paint = (label, shade(colour, rng.uniform(0.85, 1.1)))
        scene.panel((x, z), rng.uniform(9, 16), (-1, rng.uniform(4, 12 if wood else 24)), paint)


def house(scene: Scene, side: int, x: float, along: Pair) -> None:
    """A facade along the street in bays with windows, and the gable that faces the camera."""
    rng, wall, storey = scene.rng, scene.choose(FACADES), scene.rng.uniform(2.6, 3.6)
    storeys, bays = rng.integers(1, 7), max(2, round((along[1] - along[0]) / rng.uniform(2.5, 4.5)))
    high, glass = storeys * storey + 0.8, scene.weather.haze if rng.random() < 0.4 else (55, 60, 72)
    glass, wide, tall = shade(glass, rng.uniform(0.6, 1.1)), rng.uniform(0.12, 0.3), rng.uniform(0.9, 2.3)
    edges = np.linspace(*along, bays + 1)[::-1]
    for far, near in itertools.pairwise(edges):
        wall_of(scene, x, (near, far), (0, high), (BUILDING, shade(wall, scene.shades[side])))
        inset = wide * (far - near)
        for floor in range(storeys if far < 60 else 0):
            lit = scene.weather.gain < NIGHT and rng.random() < 0.3
            window, sill = (None, (255, 235, 160) if lit else glass), floor * storey + 0.9
            wall_of(scene, x, (near + inset, far - inset), (sill, sill + tall), window)
    gable(scene, (x + side * 4.5, along[0]), high, (BUILDING, shade(wall, scene.shades[0])), (None, glass))


def wall_of(scene: Scene, x: float, along: Pair, span: Pair, paint: Paint) -> None:
    """Paint a rectangle in the plane of a facade."""
    (near, far), (low, high) = along, span
    scene.face([(x, low, near), (x, low, far), (x, high, far), (x, high, near)], paint, near)


def gable(scene: Scene, at: Pair, high: float, wall: Paint, window: Paint) -> None:
    """The wall across the street's direction, 9 m wide, roofed or flat."""
    x, z = at
    scene.panel(at, 4.5, (0, high), wall)
    if scene.rng.random() < 0.5:
        roof = (BUILDING, shade(scene.choose(FACADES), 0.6))
        scene.face([(x - 4.5, high, z), (x + 4.5, high, z), (x, high + 2.5, z)], roof, z)
    for y in np.arange(1.2, high - 1.6, 3.1):
        for across in (-2.6, 0, 2.6):
            scene.panel((x + across, z), 0.6, (y, y + 1.3), window)


def tree(scene: Scene, at: Pair, high: float) -> None:
    """A trunk and a crown of leaf clusters; low ones are bushes."""
    rng, leaf, width, (x, z) = scene.rng, scene.choose(LEAVES), high * scene.rng.uniform(0.2, 0.38), at
    low, clusters = 0.35 * high if high > 2 else 0, rng.integers(6, 13)
    if low:
        scene.panel(at, 0.03 * high, (0, 0.6 * high), (VEGETATION, (80, 66, 54)))
    for across, up, r in rng.uniform((-width, 0, 0.35 * width), (width, 1, 0.7 * width), (clusters, 3)):
        across *= np.sqrt(max(0.1, 1 - (2 * up - 1) ** 2))
        y = max(low + up * (high - low), 0.6 * r)
        scene.ball((x + across, y, z), (r, 0.8 * r), (VEGETATION, shade(leaf, rng.uniform(0.65, 1.2))))


def pole(scene: Scene, at: Pair, high: float, arm: float) -> None:
    """A lamp post, with its arm if that is not 0 m long."""
    (x, z), paint = at, (POLE, shade((120, 122, 125), scene.rng.uniform(0.35, 1.5)))
    scene.panel(at, scene.rng.uniform(0.08, 0.15), (0, high), paint)
    if arm:
        thick = max(0.12, OVERSAMPLING * z / scene.focal)
        scene.panel((x + arm / 2, z), abs(arm) / 2, (high - thick, high), paint)
        scene.lamps.append((*scene.project(x + arm, high, z), 1.5 * scene.focal / z))


def sign(scene: Scene, at: Pair) -> None:
    """A plate with a rim on a short pole."""
    rng, colour = scene.rng, scene.choose(PLATES)
    half, y = rng.uniform(0.35, 0.75), rng.uniform(2.2, 3)
    scene.panel(at, 0.06, (0, y), (POLE, shade((125, 125, 128), rng.uniform(0.5, 1.4))))
    outline = (disc, square, triangle)[rng.integers(3)]
    outline(scene, at, y, half, (SIGN, (235, 235, 235) if sum(colour) < 500 else (170, 40, 40)))
    outline(scene, at, y, 0.75 * half, (None, colour))


def disc(scene: Scene, at: Pair, y: float, half: float, paint: Paint) -> None:
    """A round plate."""
    scene.ball((at[0], y, at[1]), (half, half), paint)


def square(scene: Scene, at: Pair, y: float, half: float, paint: Paint) -> None:
    """A square plate."""
    scene.panel(at, half, (y - half, y + half), paint)


def triangle(scene: Scene, at: Pair, y: float, half: float, paint: Paint) -> None:
    """A triangular plate."""
    (x, z), low = at, y - 0.8 * half
    scene.face([(x - half, low, z), (x + half, low, z), (x, y + half, z)], paint, z)


def box(scene: Scene, at: Pair, half: tuple[float, float, float], span: Pair, paint: Paint) -> None:
    """Top, visible flank and near end of a box at (x, z): half sizes in x, z; share left on top."""
    (x, z), (wide, long, taper), (low, high), (label, colour) = at, half, span, paint
    side = 1 if x + scene.bend * z * z < 0 else -1
    a, b, near, far = wide * taper, long * taper, z - long, z + long
    top = [(x - a, high, z - b), (x + a, high, z - b), (x + a, high, z + b), (x - a, high, z + b)]
    sill, edge = x + side * wide, x + side * a
    flank = [(sill, low, near), (sill, low, far), (edge, high, z + b), (edge, high, z - b)]
    scene.face(top, (label, shade(colour, 1.15)), near)
    scene.face(flank, (label, shade(colour, scene.shades[-side])), near)
    end = [(x - wide, low, near), (x + wide, low, near), top[1], top[0]]
    scene.face(end, (label, shade(colour, scene.shades[0])), near)


def car(scene: Scene, at: Pair, across: bool = False) -> None:
    """A car or a van: its shadow, wheels, body, glazed cabin and lights."""
    rng, body, van = scene.rng, (CAR, scene.choose(BODIES, 8)), scene.rng.random() < 0.2
    wide, long = (2.1, 0.9) if across else (0.88, 2.1)
    x, z = at = at[0], max(at[1], NEAR + 0.8 + long)
    scene.strip((x - wide - 0.15, x + wide + 0.15), (z - long - 0.2, z + long), (None, (30, 30, 33)))
    box(scene, at, (0.93 * wide, 0.93 * long, 1), (0, 0.5), (CAR, (24, 24, 26)))
    box(scene, at, (wide, long, 0.97), (0.3, 0.85), body)
    roof, taper, share = (rng.uniform(1.9, 2.5), 0.95, 0.95) if van else (rng.uniform(1.35, 1.6), 0.75, 0.68)
    box(scene, at, (0.94 * wide, share * long, taper), (0.85, roof), body)
    glass = shade(scene.weather.haze, 0.8) if rng.random() < 0.3 else (38, 42, 50)
    box(scene, at, (0.85 * wide, share * long, 0.85), (0.92, min(roof, 1.7) - 0.15), (None, glass))
    box(scene, at, (0.66 * wide, 0.66 * share * long, 1), (roof - 0.08, roof), body)
    light = (None, ((200, 30, 30), (250, 245, 220))[rng.integers(2)])
    for end in () if across else (-0.7, 0.7):
        scene.panel((x + end, z - long), 0.14, (0.6, 0.78), light)


def pedestrian(scene: Scene, at: Pair) -> None:
    """Legs, coat and head, in clothes of any colour."""
    rng, high, stride, (x, z) = scene.rng, scene.rng.uniform(1.3, 1.9), scene.rng.uniform(0.05, 0.22), at
    coat, trousers = rng.uniform(15, 235, 3), rng.uniform(15, 150) + rng.uniform(-15, 15, 3)
    for foot in (x - stride, x + stride):
        hip = [(x - 0.14, 0.5 * high, z), (x + 0.14, 0.5 * high, z)]
        scene.face([*hip, (foot + 0.1, 0, z), (foot - 0.1, 0, z)], (PEDESTRIAN, tuple(trousers)), z)
    scene.ball((x, 0.66 * high, z), (0.28, 0.21 * high), (PEDESTRIAN, tuple(coat)))
    scene.panel(at, 0.23, (0.45 * high, 0.8 * high), (PEDESTRIAN, tuple(coat)))
    skin = shade((225, 180, 150), rng.uniform(0.4, 1.05))
    scene.ball((x, 0.92 * high, z), (0.13, 0.085 * high), (PEDESTRIAN, skin))


def terrace(scene: Scene, side: int) -> list[Thing]:
    """What stands along one side of the street: houses, gaps, groups of trees."""
    rng, z, things = scene.rng, scene.rng.uniform(NEAR, 8), list[Thing]()
    x = scene.kerbs[side] + side * (scene.pavement + rng.choice((0, 0, 3)))
    wooded = rng.choice((0.08, 0.25, 0.7))
    while z < FAR:
        end = z + rng.uniform(6, 22)
        if rng.random() > wooded:
            things.append((end, partial(house, scene, side, x, (z, end))))
        else:
            spots = rng.uniform((1, z, 1), (6, end, 9), (4, 3))
            things += [(s, partial(tree, scene, (x + side * out, s), high)) for out, s, high in spots]
        z = end + rng.choice((0, 0, 4))
    return things


def furniture(scene: Scene, side: int) -> list[Thing]:
    """Lamp posts, signs and street trees of one side."""
    rng, kerb = scene.rng, scene.kerbs[side]
    high, arm = rng.uniform(4, 8), rng.choice((0, -side * 1.5))
    posts = np.arange(rng.uniform(4, 12), 36, rng.uniform(10, 20))
    things: list[Thing] = [(z, partial(pole, scene, (kerb + side * 0.4, z), high, arm)) for z in posts]
    if rng.random() < 0.35:
        trees = np.arange(rng.uniform(4, 14), 60, rng.uniform(6, 14))
        things += [(z, partial(tree, scene, (kerb + side * 0.9, z), rng.uniform(0.9, 7))) for z in trees]
    if rng.random() < 0.36:
        signs = rng.uniform(4.5, 13, rng.integers(1, 4))
        things += [(z, partial(sign, scene, (kerb + side * 0.5, z))) for z in signs]
    return things


def traffic(scene: Scene) -> list[Thing]:
    """Cars parked, ahead or crossing."""
    rng, (left, right), things = scene.rng, scene.kerbs.values(), list[Thing]()
    for side, kerb in scene.kerbs.items():
        if rng.random() < 0.45:
            parked = np.arange(rng.uniform(3, 20), rng.uniform(12, 60), rng.uniform(5.2, 9))
            things += [(z, partial(car, scene, (kerb - side * 1.0, z))) for z in parked]
    ahead = rng.uniform((left + 1, 6), (right - 1, 45), (rng.integers(4), 2))
    things += [(z, partial(car, scene, (x, z))) for x, z in ahead]
    if rng.random() < 0.15:
        x, z = rng.uniform((left, 9), (right, 25))
        things.append((z, partial(car, scene, (x, z), across=True)))
    return things


def walkers(scene: Scene) -> list[Thing]:
    """People on the pavements, now and then on the road."""
    rng, (left, right), spots = scene.rng, scene.kerbs.values(), list[Pair]()
    for side, kerb in scene.kerbs.items():
        if rng.random() < 0.36:
            steps = rng.uniform((0.3, 4), (scene.pavement, 12), (rng.integers(1, 5), 2))
            spots += [(kerb + side * out, z) for out, z in steps]
    if rng.random() < 0.15:
        spots.append(tuple(rng.uniform((left, 4.5), (right, 13))))
    return [(at[1], partial(pedestrian, scene, at)) for at in spots]


def hide(scene: Scene) -> None:
    """The bonnet of the camera's own car, or a black strip at the right edge: not to be labelled."""
    rng, (h, w) = scene.rng, (scene.rows, scene.columns)
    paint = scene.choose(BODIES) if (bonnet := rng.random() < 0.7) else (0, 0, 0)
    rise, x, strip = h * rng.uniform(0.012, 0.035), w * rng.uniform(0.4, 0.6), w * rng.uniform(0.01, 0.03)
    for brush, value in scene.fills((IGNORE, paint), 0):
        if bonnet:
            brush.ellipse((x - 0.7 * w, h - rise, x + 0.7 * w, h + rise), fill=value)
        else:
            brush.rectangle((w - strip, 0, w, h), fill=value)


def shadows(scene: Scene) -> np.ndarray:
    """(H, W) share of the light that reaches the ground: what stands on the sunny side shades the street."""
    rng, side = scene.rng, scene.rng.choice((-1, 1))
    canvas = Image.new("L", (scene.columns, scene.rows), 255)
    for z, reach, slant, deep in rng.uniform((NEAR, -3, -3, 1), (25, 6, 3, 12), (rng.integers(1, 5), 4)):
        far, near = (side * reach, z + deep + slant), (side * reach, max(NEAR, z + slant))
        corners = ((-side * 30, z), (-side * 30, z + deep), far, near)
        dark = int(255 * (1 - min(0.75, scene.weather.shadow)))
        ImageDraw.Draw(canvas).polygon([scene.project(x, 0, s) for x, s in corners], fill=dark)
    soft = canvas.filter(ImageFilter.BoxBlur(OVERSAMPLING)).reduce(OVERSAMPLING)
    return np.asarray(soft, np.float32) / 255


def glare(scene: Scene) -> np.ndarray:
    """(H, W) light of lamps by night, and of wet patches on the road."""
    (h, w), light = scene.size, np.zeros(scene.size, np.float32)
    rows, columns = np.ogrid[:h, :w]
    for spot in scene.lamps[-5:] if scene.weather.gain < NIGHT else ():
        x, y, r = np.divide(spot, OVERSAMPLING)
        light += 0.6 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * min(r, 0.08 * h) ** 2))
    patches = scene.rng.uniform((0, 0.45, 0.02, 0.01, -0.2), (1, 1, 0.12, 0.06, 0.4), (3, 5))
    for x, y, wide, tall, power in patches:
        light += max(0, power) * np.exp(-(((columns / w - x) / wide) ** 2) - ((rows / h - y) / tall) ** 2)
    return light


def illuminate(scene: Scene, albedo: np.ndarray, mask: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Albedo (H, W, 3), mask uint8 and nearness (H, W) -> radiance (H, W, 3); the sky shines itself."""
    rng, weather, (h, w), open_sky = scene.rng, scene.weather, scene.size, mask == SKY
    smooth = noise(rng, scene.size, 32, 40) + noise(rng, scene.size, 12, 14)
    grain = 0.6 * rng.standard_normal(scene.size) + 0.7 * smooth
    rough = rng.uniform(0.02, 0.11, 256)[mask]
    tilt = rng.uniform(-0.3, 0.3, 2)
    slope = 1 + tilt[0] * np.linspace(-1, 1, w) + tilt[1] * np.linspace(-1, 1, h)[:, None]
    sun = np.where(np.isin(mask, (ROAD, SIDEWALK, MARKING, CAR)), shadows(scene), 1)
    light = (weather.gain * slope * sun * (1 + rough * grain))[..., None] * weather.cast
    light[open_sky] = 1
    clear = np.where(open_sky, 0.7, near ** (RANGE * weather.fog))[..., None]
    fog = (1 - clear) * np.divide(weather.haze, 255)
    return np.asarray((albedo * light + glare(scene)[..., None]) * clear + fog)


def expose(scene: Scene, radiance: np.ndarray) -> np.ndarray:
    """Radiance (H, W, 3) -> photograph (H, W, 3) uint8: gamma, lens blur, sensor noise."""
    rng, grains = scene.rng, scene.rng.uniform(1, 9 if scene.weather.gain < NIGHT else 5)
    image = Image.fromarray((255 * radiance.clip(0, 1) ** rng.uniform(0.75, 1.2)).astype(np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.007) * scene.size[0]))
    noisy = np.asarray(blurred) + grains * rng.standard_normal(radiance.shape, np.float32)
    return np.asarray(noisy.clip(0, 255), np.uint8)


def draw(seed: int, index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scene number `index` of the set `seed`: image (H, W, 3) and mask (H, W) of class ids, both uint8."""
    scene = Scene(np.random.default_rng([seed, index]), size)
    skyline(scene)
    ground(scene)
    things = traffic(scene) + walkers(scene)
    for side in scene.kerbs:
        things += terrace(scene, side) + furniture(scene, side)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    hide(scene)
    small = [canvas.reduce(OVERSAMPLING) for canvas in (scene.image, scene.nearness)]
    albedo, near = (np.asarray(canvas, np.float32) / 255 for canvas in small)
    mask = np.asarray(scene.mask)[1::OVERSAMPLING, 1::OVERSAMPLING].copy()
    return expose(scene, illuminate(scene, albedo, mask, near)), mask
