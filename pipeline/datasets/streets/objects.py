"""What stands in a drawn road scene, from the ground and its markings to cars and people, each painted on it."""

import itertools

import numpy as np

from fewmask.datasets.streets.canvas import (
    BUILDING,
    CAR,
    FAR,
    MARKING,
    NEAR,
    NIGHT,
    OVERSAMPLING,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIDEWALK,
    SIGN,
    VEGETATION,
    Paint,
    Scene,
    shade,
)
from fewmask.datasets.streets.looks import Colour, Pair


def ground(scene: Scene) -> None:
    """Verges, pavements, carriageway and its markings."""
    rng, paving, asphalt = scene.rng, scene.choose(scene.look.pavings, 6), scene.choose(scene.look.asphalts, 6)
    for side, kerb in scene.kerbs.items():
        green = rng.random() < 0.35
        verge = (VEGETATION, scene.choose(scene.look.leaves)) if green else (SIDEWALK, shade(paving, 0.93))
        scene.strip((kerb, kerb + side * 60), (NEAR, 3 * FAR), verge)
        scene.strip((kerb, kerb + side * scene.pavement), (NEAR, 3 * FAR), (SIDEWALK, paving))
        stone = (SIDEWALK, shade(paving, rng.uniform(0.7, 1.2)))
        scene.strip((kerb, kerb + side * 0.18), (NEAR, FAR), stone)
    carriageway(scene, (ROAD, asphalt))
    markings(scene, asphalt)


def carriageway(scene: Scene, paint: Paint) -> None:
    """The way ahead, with repairs."""
    rng, (left, right) = scene.rng, scene.kerbs.values()
    scene.strip((left, right), (NEAR, 3 * FAR), paint)
    for x, z in rng.uniform((left, 3), (right - 1, 20), (rng.integers(5), 2)):
        repair = (None, shade(paint[1], rng.uniform(0.7, 1.25)))
        scene.strip((x, min(x + rng.uniform(0.4, 2.5), right)), (z, z + rng.uniform(1, 8)), repair)


def markings(scene: Scene, asphalt: Colour) -> None:
    """Lane, edge and crossing lines in paint more or less worn."""
    rng, fresh, (left, right) = scene.rng, scene.choose(scene.look.lines, 5), scene.kerbs.values()
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


def skyline(scene: Scene, wood: bool) -> None:
    """Distant houses or woods on the horizon."""
    rng, z = scene.rng, 3 * FAR
    label, colour = (
        (VEGETATION, scene.choose(scene.look.leaves, 8)) if wood else (BUILDING, scene.choose(scene.look.facades, 8))
    )
    for x in np.arange(-4 * FAR, 4 * FAR, 18) - scene.bend * z * z:
        paint = (label, shade(colour, rng.uniform(0.85, 1.1)))
        scene.panel((x, z), rng.uniform(9, 16), (-1, rng.uniform(4, 12 if wood else 24)), paint)


def hills(scene: Scene) -> None:
    """Ridges one behind the other, wooded or bare, with rocks like houses."""
    rng, z = scene.rng, 3 * FAR
    x = np.linspace(-4 * FAR, 4 * FAR, 60)
    for tall in np.sort(rng.uniform(6, 60, rng.integers(1, 4)))[::-1]:
        waves = [np.sin(x / length + phase) for length, phase in rng.uniform((15, 0), (90, 6.3), (4, 2))]
        y = tall * (0.55 + 0.12 * np.sum(waves, 0))
        bare = scene.look.facades if rng.random() < 0.25 else scene.look.leaves
        colour, left = scene.choose(bare), x - scene.bend * z * z
        corners = [(left[0], -1, z), *zip(left, y, [z] * len(x), strict=True), (left[-1], -1, z)]
        scene.face(corners, (VEGETATION, colour), z)
        for spot, low, half in rng.uniform((0, 0, 2), (len(x), 0.5, 9), (rng.integers(12), 3)):
            top = low * y[int(spot)]
            rock = (None, shade(scene.choose(scene.look.facades), 0.9))
            scene.panel((left[int(spot)], z), half, (top, top + 0.7 * half), rock)


def house(scene: Scene, side: int, x: float, along: Pair) -> None:
    """A facade along the street in bays with windows, and the gable that faces the camera."""
    rng, wall, storey = scene.rng, scene.choose(scene.look.facades), scene.rng.uniform(2.6, 3.6)
    storeys, bays = rng.integers(*scene.look.storeys), max(2, round((along[1] - along[0]) / rng.uniform(2.5, 4.5)))
    high, glass = storeys * storey + 0.8, scene.weather.haze if rng.random() < 0.4 else (55, 60, 72)
    glass, wide, tall = shade(glass, rng.uniform(0.6, 1.1)), rng.uniform(0.12, 0.3), rng.uniform(0.9, 2.3)
    edges = np.linspace(*along, bays + 1)[::-1]
    for far, near in itertools.pairwise(edges):
        scene.wall(x, (near, far), (0, high), (BUILDING, shade(wall, scene.shades[side])))
        inset = wide * (far - near)
        for floor in range(storeys if far < 60 else 0):
            lit = scene.weather.gain < NIGHT and rng.random() < 0.3
            window, sill = (None, (255, 235, 160) if lit else glass), floor * storey + 0.9
            scene.wall(x, (near + inset, far - inset), (sill, sill + tall), window)
    gable(scene, (x + side * 4.5, along[0]), high, (BUILDING, shade(wall, scene.shades[0])), (None, glass))


def gable(scene: Scene, at: Pair, high: float, wall: Paint, window: Paint) -> None:
    """The wall across the street's direction, 9 m wide, roofed or flat."""
    x, z = at
    scene.panel(at, 4.5, (0, high), wall)
    if scene.rng.random() < 0.5:
        roof = (BUILDING, shade(scene.choose(scene.look.facades), 0.6))
        scene.face([(x - 4.5, high, z), (x + 4.5, high, z), (x, high + 2.5, z)], roof, z)
    for y in np.arange(1.2, high - 1.6, 3.1):
        for across in (-2.6, 0, 2.6):
            scene.panel((x + across, z), 0.6, (y, y + 1.3), window)


def tree(scene: Scene, at: Pair, high: float) -> None:
    """A trunk and a crown of leaf clusters; low ones are bushes."""
    rng, leaf, width, (x, z) = scene.rng, scene.choose(scene.look.leaves), high * scene.rng.uniform(0.2, 0.38), at
    low, clusters = 0.35 * high if high > 2 else 0, rng.integers(6, 13)
    if low:
        scene.panel(at, 0.03 * high, (0, 0.6 * high), (VEGETATION, scene.look.trunk))
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
    rng, colour = scene.rng, scene.choose(scene.look.plates)
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
    rng, body, van = scene.rng, (CAR, scene.choose(scene.look.bodies, 8)), scene.rng.random() < 0.2
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
