"""Drawn road scenes with few of the classes: open land, woods, facades, yards, and at most a few things in them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from fewmask.datasets.streets.canvas import (
    BUILDING,
    CAR,
    FAR,
    MARKING,
    NIGHT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIDEWALK,
    SIGN,
    SKY,
    VEGETATION,
    Paint,
    Scene,
    shade,
)
from fewmask.datasets.streets.layout import Thing, terrace
from fewmask.datasets.streets.looks import Pair
from fewmask.datasets.streets.objects import car, carriageway, hills, markings, pedestrian, pole, sign, skyline

WIDE, UNDERFOOT = 400.0, 0.2  # metres: how far open land reaches sideways, and how near


class Place(NamedTuple):
    """Classes of the way, of the ground beside it and of what lines it (None: nothing); metres to what hides the sky.

    A facade that hides the sky is seen from across the street.
    """

    way: int
    beside: int
    lining: int | None = None
    end: Pair | None = None


PLACES = (
    Place(ROAD, VEGETATION, VEGETATION),  # in the country
    Place(ROAD, VEGETATION, VEGETATION, (14, 45)),  # in a wood
    Place(ROAD, VEGETATION),  # in a plain
    Place(ROAD, ROAD),  # a car park, a motorway
    Place(ROAD, SIDEWALK),  # by the sea, on a bridge
    Place(ROAD, SIDEWALK, BUILDING),  # in a town
    Place(ROAD, ROAD, BUILDING),  # a yard
    Place(ROAD, SIDEWALK, BUILDING, (9, 18)),
    Place(SIDEWALK, SIDEWALK, BUILDING, (4, 16)),
    Place(SIDEWALK, SIDEWALK, BUILDING),  # a square
    Place(SIDEWALK, VEGETATION, VEGETATION),  # in a park
)


def place(scene: Scene) -> list[Thing]:
    """A place of two to four classes: what belongs to it, and what else happens to be there."""
    rng, here = scene.rng, PLACES[scene.rng.integers(len(PLACES))]
    lowest = 1.5 * scene.focal * scene.height / (scene.rows - scene.horizon)  # metres to where the ground is in view
    end, most = max(lowest, rng.uniform(*here.end or (FAR, FAR))), rng.choice((2, 3, 4, 4, 4))
    met = {here.way, here.beside, here.lining or here.way, here.way if here.end else SKY}
    distance(scene, here)
    land(scene, here, end)
    things = surroundings(scene, here, end)
    for number in rng.choice(len(EXTRAS), len(EXTRAS), replace=False, p=[share for share, *_ in EXTRAS]):
        _, extra, add = EXTRAS[number]
        if len(met | extra) <= most and (ROAD in met or not extra & {CAR, MARKING}):
            met |= extra
            things += add(scene, here, end)
    return things


def distance(scene: Scene, here: Place) -> None:
    """What is seen on the horizon: hills, a town, banks of cloud."""
    rng = scene.rng
    for x, wide, tall, gain in rng.uniform((-250, 30, 4, 0.75), (250, 120, 22, 1.15), (rng.integers(6), 4)):
        bank = (None, shade(scene.weather.haze, gain))
        scene.ball((x - scene.bend * 9 * FAR**2, 0, 3 * FAR), (wide, tall), bank)
    if here.lining == BUILDING:
        skyline(scene, False)
    elif here.lining == VEGETATION:
        (hills if rng.random() < 0.6 else partial(skyline, wood=True))(scene)


def land(scene: Scene, here: Place, end: float) -> None:
    """The ground with its patches, and the way ahead of or before the camera."""
    rng, materials = scene.rng, {ROAD: scene.look.asphalts, SIDEWALK: scene.look.pavings, VEGETATION: scene.look.leaves}
    beside: Paint = (here.beside, scene.choose(materials[here.beside], 6))
    track = here.way == ROAD and here.beside == VEGETATION and rng.random() < 0.2
    way: Paint = (here.way, scene.choose((scene.look.trunk,) if track else materials[here.way], 6))
    scene.strip((-WIDE, WIDE), (UNDERFOOT, 3 * FAR), beside)
    fields = rng.uniform((-60, 4, 3, 4, 0.75), (40, 70, 50, 40, 1.2), (rng.integers(7), 5))
    for x, z, wide, deep, gain in fields:
        scene.strip((x, x + wide), (z, z + deep), (None, shade(beside[1], gain)))
    if across(here):
        kerb = max(2.5, end - scene.pavement)
        scene.strip((-WIDE, WIDE), (UNDERFOOT, kerb), way)
        scene.strip((-WIDE, WIDE), (kerb, kerb + 0.15), (None, shade(beside[1], rng.uniform(0.6, 1.2))))
    elif here.way != here.beside:
        if here.way == SIDEWALK:
            scene.kerbs = {side: side * rng.uniform(0.6, 1.6) for side in scene.kerbs}
        carriageway(scene, way)
        for side, kerb in scene.kerbs.items() if here.beside == SIDEWALK else ():
            scene.strip((kerb, kerb + side * 0.18), (UNDERFOOT, FAR), (None, shade(beside[1], rng.uniform(0.7, 1.2))))
    if here.beside == here.way == SIDEWALK:
        slabs(scene, (None, shade(beside[1], rng.uniform(0.7, 0.85))))


def slabs(scene: Scene, joint: Paint) -> None:
    """The joints of a paved square, which tell it from a yard."""
    size = scene.rng.uniform(0.8, 2.5)
    for z in np.arange(UNDERFOOT, 16, size):
        scene.strip((-WIDE, WIDE), (z, z + 0.01 * z + 0.03), joint)
    for x in np.arange(-20, 20, size):
        scene.strip((x, x + 0.07), (UNDERFOOT, 16), joint)


def across(here: Place) -> bool:
    """Whether the way runs across the view, before a facade."""
    return here.lining == BUILDING and here.end is not None


def surroundings(scene: Scene, here: Place, end: float) -> list[Thing]:
    """What lines the way, on both sides, on one or thinly, and what ends it."""
    if across(here):
        return [(end, partial(facade, scene, end))]
    things: list[Thing] = [(end, partial(thicket, scene, end))] if here.end else []
    wooded = here.lining == VEGETATION
    for side in scene.kerbs if here.lining else ():
        if here.end or scene.rng.random() < 0.65:
            things += terrace(scene, side, (float(wooded),))
    return things


def backdrop(scene: Scene, z: float) -> tuple[float, float, float]:
    """Middle, half width and height in metres of what fills the view at z."""
    return -scene.bend * z * z, scene.columns * z / scene.focal, scene.height + scene.horizon * z / scene.focal + 1


def thicket(scene: Scene, z: float) -> None:
    """A wood that fills the view: leaves, trunks, light between them."""
    rng, leaf, (middle, wide, top) = scene.rng, scene.choose(scene.look.leaves), backdrop(scene, z)
    scene.panel((middle, z), wide, (0, top), (VEGETATION, shade(leaf, rng.uniform(0.4, 0.9))))
    for x, y, r, gain in rng.uniform((-1, 0.05, 0.2, 0.45), (1, 1, 1.6, 1.25), (150, 4)):
        scene.ball((middle + x * wide, y * top, z), (r, 0.8 * r), (None, shade(leaf, gain)))
    for x, half in rng.uniform((-1, 0.08), (1, 0.35), (rng.integers(4, 24), 2)):
        bark = (None, shade(scene.look.trunk, rng.uniform(0.5, 1.5)))
        scene.panel((middle + x * wide, z), half, (0, top * rng.uniform(0.4, 1)), bark)
    for x, y, r in rng.uniform((-1, 0.4, 0.1), (1, 1, 0.5), (rng.integers(40), 3)):
        scene.ball((middle + x * wide, y * top, z), (r, r), (None, scene.weather.haze))


def facade(scene: Scene, z: float) -> None:
    """Houses that fill the view, from across the street."""
    rng, (middle, wide, top) = scene.rng, backdrop(scene, z)
    left, right = middle - wide, middle + wide
    while left < right:
        end = left + rng.uniform(5, 20)
        scene.panel(((left + end) / 2, z), (end - left) / 2, (0, top), (BUILDING, scene.choose(scene.look.facades)))
        (stains if rng.random() < 0.3 else windows)(scene, (left + 0.5, end - 0.5), top, z)
        left = end


def windows(scene: Scene, span: Pair, top: float, z: float) -> None:
    """Windows in rows, and below them doors or shops, of any colour."""
    rng, storey, half, tall = scene.rng, *scene.rng.uniform((2.6, 0.35, 0.8), (3.6, 1, 2))
    glass = shade(scene.weather.haze if rng.random() < 0.4 else (55, 60, 72), rng.uniform(0.6, 1.1))
    for x in np.arange(span[0] + half, span[1] - half, 2 * half + rng.uniform(0.5, 2)):
        for low in np.arange(0.9, top, storey):
            lit = scene.weather.gain < NIGHT and rng.random() < 0.3
            scene.panel((x, z), half, (low, low + tall), (None, (255, 235, 160) if lit else glass))
        if rng.random() < 0.25:
            scene.panel((x, z), 1.2 * half, (0, 2.2), (None, scene.choose(scene.look.bodies)))


def stains(scene: Scene, span: Pair, top: float, z: float) -> None:
    """A blank wall: damp, posters, ivy."""
    rng = scene.rng
    for x, y, wide, tall in rng.uniform((span[0], 0, 0.3, 0.3), (span[1], top, 1, 2), (rng.integers(6), 4)):
        scene.panel((x, z), wide, (y, y + tall), (None, scene.choose(scene.look.facades)))
    ivy, where = scene.choose(scene.look.leaves), rng.uniform(*span)
    for x, y, r in rng.normal((where, 1, 0.4), (0.8, 1.2, 0.1), (rng.choice((0, 0, 40)), 3)):
        scene.ball((x, abs(y), z), (abs(r), abs(r)), (None, shade(ivy, rng.uniform(0.7, 1.2))))


def lines(scene: Scene, here: Place, end: float) -> list[Thing]:
    """Markings: of a road ahead, of one that is crossed by the view, of parking bays."""
    rng, asphalt, reach = scene.rng, scene.choose(scene.look.asphalts), UNDERFOOT + end - scene.pavement - 1
    paint: Paint = (MARKING, shade(scene.choose(scene.look.lines, 5), rng.uniform(0.7, 1)))
    if across(here):
        z, dash = rng.uniform(0.4, 0.9) * reach, rng.uniform(1, 8)
        rows = [((x, x + dash), (z, z + 0.25)) for x in np.arange(-40, 40, dash + rng.choice((0, 2, 4)))]
    elif here.beside == ROAD and rng.random() < 0.6:
        z, bay = rng.uniform(3, 9), rng.uniform(2.3, 3)
        rows = [((x, x + 0.2), (s, s + 5)) for s in (z, z + rng.uniform(9, 16)) for x in np.arange(-40, 40, bay)]
    else:
        return [(3 * FAR, partial(markings, scene, asphalt))]
    return [(3 * FAR, partial(scene.strip, *row, paint)) for row in rows]


def cars(scene: Scene, here: Place, end: float) -> list[Thing]:
    """One car or a few, on the way."""
    rng, (left, right) = scene.rng, scene.kerbs.values()
    far = min(end - scene.pavement - 1.5, 35) if across(here) else min(end - 3, 35)
    spots = rng.uniform((left + 1, min(5, far)), (right - 1, max(5, far)), (rng.choice((1, 1, 2, 4)), 2))
    sideways = 0.8 if across(here) else 0.15
    return [(z, partial(car, scene, (x, z), rng.random() < sideways)) for x, z in spots]


def people(scene: Scene, here: Place, end: float) -> list[Thing]:
    """Some who walk by."""
    left, right = scene.kerbs.values()
    spots = scene.rng.uniform((left - 2, 3.5), (right + 2, min(end - 0.2, 14)), (scene.rng.choice((1, 1, 2, 5)), 2))
    return [(z, partial(pedestrian, scene, (x, z))) for x, z in spots]


def posts(scene: Scene, here: Place, end: float) -> list[Thing]:
    """Lamp posts or masts of one side."""
    rng, side = scene.rng, scene.rng.choice((-1, 1))
    high, arm = rng.uniform(4, 9), rng.choice((0, -side * 1.5))
    spots = np.arange(rng.uniform(3.5, min(end - 0.2, 12)), min(end, 45), rng.uniform(9, 30))
    return [(z, partial(pole, scene, (scene.kerbs[side] + side * 0.4, z), high, arm)) for z in spots]


def plates(scene: Scene, here: Place, end: float) -> list[Thing]:
    """Signs of one side."""
    rng, side = scene.rng, scene.rng.choice((-1, 1))
    spots = rng.uniform(3.8, min(end - 0.1, 13), rng.integers(1, 4))
    return [(z, partial(sign, scene, (scene.kerbs[side] + side * 0.5, z))) for z in spots]


# How likely each comes first, which classes it brings, what it is; cars and markings are on roads only.
EXTRAS: tuple[tuple[float, set[int], Callable[[Scene, Place, float], list[Thing]]], ...] = (
    (0.27, {MARKING}, lines),
    (0.27, {CAR}, cars),
    (0.1, {PEDESTRIAN}, people),
    (0.06, {POLE}, posts),
    (0.3, {POLE, SIGN}, plates),
)
