"""Which images count as labelled: seeded, nested, and covering the classes.

One random order of the images with masks is drawn from the seed. The labelled ones are its beginning, so a larger share
contains a smaller one. The order is begun with images that give every class its first few examples.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt

from fewmask.core.errors import DataError, raise_all
from fewmask.core.params import Section
from fewmask.learning.seeding import generator
from fewmask.stores.images import Images
from fewmask.stores.split import Split

Share = Annotated[float, Field(ge=0, le=1)]


class SplitConfig(Section):
    """``labelled``: a share of the images that have masks, a count, or a file of ids (one a line).

    ``cover``: how many labelled images each class gets at least, where there are as many. ``validation`` and ``test``
    are cut out of the training images only where the data set lacks these roles.
    """

    labelled: NonNegativeInt | Share | str
    cover: NonNegativeInt = 1
    validation: NonNegativeInt | Share = 0.1
    test: NonNegativeInt | Share = 0.2


@dataclass(frozen=True)
class Catalogue:
    """What a split is made from: ids and roles, in order, and the values that occur in each mask there is."""

    ids: list[str]
    roles: list[str]
    presence: dict[str, np.ndarray]
    class_names: list[str]


def make_split(images: Images, config: SplitConfig, seed: int) -> Split:
    """Divide the images of a store; errors as ``divide``."""
    masked = [name for name in images.ids if images.has_mask[images.index[name]]]
    presence = {name: np.unique(images.mask(name)) for name in masked}
    return divide(Catalogue(images.ids, images.roles, presence, images.class_names), config, seed)


def divide(data: Catalogue, config: SplitConfig, seed: int) -> Split:
    """Divide the images of a catalogue.

    Raises:
        DataError: no image to learn from or to evaluate on, or a bad list of ids.
    """
    by_role = {role: [i for i, r in zip(data.ids, data.roles, strict=True) if r == role] for role in set(data.roles)}
    train = by_role.get("train", [])
    masked = [name for name in train if name in data.presence]
    order = [masked[i] for i in generator(seed, "split").permutation(len(masked))]
    test, validation, evaluated = by_role.get("test", []), by_role.get("validation", []), "test"
    if not test and validation:
        test, validation, evaluated = validation, [], "validation"
    if not test:
        order, test = _cut(order, config.test)
        evaluated = "a part of train"
    if not validation:
        order, validation = _cut(order, config.validation)
    if not test or not order:
        found = f"{len(order)} training images with masks and {len(test)} to test on"
        raise DataError(f"dataset: {found}; expected some of both. Add masks, or fix split.test and split.validation.")
    order = covering_order(order, data.presence, len(data.class_names), config.cover)
    labelled = _labelled(order, config.labelled)
    if not any(len(_real(data.presence[name], len(data.class_names))) for name in labelled):
        found = f"the {len(labelled)} labelled masks hold only void (255)"
        raise DataError(f"split: {found}; expected class ids 0..{len(data.class_names) - 1}. Fix the masks.")
    taken = {*labelled, *validation, *test}
    unlabelled = [name for name in train if name not in taken]
    warnings = _warnings(labelled, data.presence, data.class_names, config.cover)
    return Split(seed, sorted(labelled), unlabelled, sorted(validation), sorted(test), evaluated, warnings)


def _cut(order: list[str], size: float) -> tuple[list[str], list[str]]:
    """Take a share or count off the end of the order."""
    count = min(_count(size, len(order)), len(order))
    return order[: len(order) - count], order[len(order) - count :]


def _count(size: float, total: int) -> int:
    """A share (float) of ``total``, rounded up, or a count (int); 0.07 of 100 is 7, though 0.07 * 100 > 7 in binary."""
    return math.ceil(round(size * total, 6)) if isinstance(size, float) else size


def covering_order(order: Sequence[str], presence: dict[str, np.ndarray], classes: int, cover: int) -> list[str]:
    """``order``, begun with images that give each class ``cover`` examples: the class that has fewest goes next."""
    seen = np.zeros(classes, int)
    stock = np.zeros(classes, int)
    for name in order:
        stock[_real(presence[name], classes)] += 1
    goal = np.minimum(cover, stock)
    left, first = list(order), []
    while (seen < goal).any():
        wanted = int(np.where(seen < goal, seen * (stock.max() + 1) + stock, np.iinfo(int).max).argmin())
        name = next(name for name in left if wanted in presence[name])
        left.remove(name)
        first.append(name)
        seen[_real(presence[name], classes)] += 1
    return first + left


def _real(ids: np.ndarray, classes: int) -> np.ndarray:
    return ids[ids < classes]


def _labelled(order: list[str], labelled: float | int | str) -> list[str]:
    if isinstance(labelled, str):
        return _from_file(Path(labelled), order)
    count = _count(labelled, len(order))
    if not 0 < count <= len(order):
        raise DataError(
            f"split.labelled: {labelled} asks for {count} images; expected 1..{len(order)}, those with masks."
        )
    return order[:count]


def _from_file(path: Path, known: list[str]) -> list[str]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; expected the ids of the labelled images, one a line. Fix split.labelled."
        )
    try:
        lines = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig")).splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; expected one id a line. Save it as UTF-8.") from error
    chosen: dict[str, int] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name and name not in known:
            remedy = f"expected such as '{known[0]}'. Fix the line."
            problems.append(f"{path}:{number}: '{name}' is no training image with a mask; {remedy}")
        elif name in chosen:
            problems.append(f"{path}:{number}: '{name}' stands in line {chosen[name]} already; remove one.")
        elif name:
            chosen[name] = number
    raise_all(problems, DataError)
    if not chosen:
        raise DataError(f"{path}: holds no id; expected one a line. Fill it or set split.labelled to a share.")
    return list(chosen)


def _warnings(labelled: list[str], presence: dict[str, np.ndarray], names: list[str], cover: int) -> list[str]:
    counts = np.zeros(len(names), int)
    for name in labelled:
        counts[_real(presence[name], len(names))] += 1
    few = [
        f"class '{name}' is in {n} labelled images; wanted {cover}" + (" (255 is void, not a class)" if n == 0 else "")
        for name, n in zip(names, counts, strict=True)
        if n < cover
    ]
    void = [name for name in labelled if not len(_real(presence[name], len(names)))]
    return few + ([f"{len(void)} labelled images have no labelled pixel, such as '{void[0]}'"] if void else [])
