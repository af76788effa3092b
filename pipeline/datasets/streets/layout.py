"""What is in a drawn street, and where: houses and trees, furniture, traffic, people."""

from collections.abc import Callable
from functools import partial

import numpy as np

from fewmask.datasets.streets.canvas import FAR, NEAR, Scene
from fewmask.datasets.streets.looks import Pair
from fewmask.datasets.streets.objects import car, ground, house, pedestrian, pole, sign, skyline, tree

Thing = tuple[float, Callable[[], None]]  # farthest z, how to paint it


def terrace(scene: Scene, side: int, woods: tuple[float, ...]) -> list[Thing]:
    """What stands along one side of the street: houses, gaps, groups of trees."""
    rng, z, things = scene.rng, scene.rng.uniform(NEAR, 8), list[Thing]()
    x = scene.kerbs[side] + side * (scene.pavement + rng.choice((0, 0, 3)))
    wooded = rng.choice(woods)
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


def street(scene: Scene) -> list[Thing]:
    """A street with all that may be in one."""
    skyline(scene, scene.rng.random() < 0.5)
    ground(scene)
    things = traffic(scene) + walkers(scene)
    for side in scene.kerbs:
        things += terrace(scene, side, scene.look.woods) + furniture(scene, side)
    return things
