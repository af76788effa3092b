"""A folder of the user's own: what belongs to which role, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewmask.core.errors import ConfigError, DataError
from fewmask.datasets.folder.folder import Config, Folder, open_dataset

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]
CLASSES = ["sky", "road", "car"]
COLOURS = [[10, 20, 30], [128, 64, 128], [0, 0, 142]]


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Folder]:
    """``dataset(colours=...)`` -> the test's folder as a data set."""

    def make(**options: Any) -> Folder:
        settings = {"kind": "folder", "root": str(tmp_path), "classes": CLASSES, **options}
        return open_dataset(Config(**settings))

    return make


@pytest.fixture
def layout(save: Save, noise: Make, ids: Make) -> Callable[[str], None]:
    """``layout("images/a masks/a")`` saves these images and masks."""

    def make(names: str) -> None:
        for seed, name in enumerate(names.split()):
            save(f"{name}.png", ids(seed) if "masks/" in name else noise(seed))

    return make


def test_roles_and_masks(dataset: Callable[..., Folder], layout: Callable[[str], None]) -> None:
    layout("images/a masks/a images/b unlabelled/c validation/images/d validation/masks/d test/images/e test/masks/e")
    found = {s.id: (s.role, s.mask is not None) for s in dataset().samples()}
    assert found == {
        "a": ("train", True),
        "b": ("train", False),
        "c": ("train", False),
        "d": ("validation", True),
        "e": ("test", True),
    }


def test_samples_are_read_with_their_masks(dataset: Callable[..., Folder], save: Save, noise: Make, ids: Make) -> None:
    save("images/a.jpg", noise())
    save("masks/a.png", ids())
    save("unlabelled/b.png", noise(1))
    opened = dataset()
    a, b = opened.samples()
    image, mask = opened.read(a)
    assert image.shape == (12, 16, 3)
    assert mask is not None
    assert (mask == ids()).all()
    other, none = opened.read(b)
    assert none is None
    assert (other == noise(1)).all()


def test_masks_without_images_are_all_named(dataset: Callable[..., Folder], layout: Callable[[str], None]) -> None:
    layout("images/a masks/a masks/b masks/c")
    with pytest.raises(DataError) as caught:
        dataset().samples()
    lines = str(caught.value).splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["b.*. Add or remove.", "c.*. Add or remove."]
    assert all("a mask without an image" in line for line in lines)


@pytest.mark.parametrize("role", ["validation", "test"])
def test_held_out_images_need_masks(dataset: Callable[..., Folder], layout: Callable[[str], None], role: str) -> None:
    layout(f"images/a masks/a {role}/images/b {role}/images/c {role}/masks/c")
    with pytest.raises(DataError, match=rf"b\.png: no mask; expected .*{role}/masks/b\.png in the {role} set"):
        dataset().samples()


@pytest.mark.parametrize(
    "other", ["unlabelled/a", "test/images/a test/masks/a", "validation/images/a validation/masks/a"]
)
def test_one_image_in_two_roles_is_a_leak(
    dataset: Callable[..., Folder], layout: Callable[[str], None], other: str
) -> None:
    layout("images/a masks/a " + other)
    with pytest.raises(DataError, match=r"also stands as .*images/a\.png: a leak"):
        dataset().samples()


def test_a_root_without_its_folders_is_named(dataset: Callable[..., Folder], layout: Callable[[str], None]) -> None:
    with pytest.raises(DataError, match=r"images: no such folder\. Fix the path \(dataset\.root"):
        dataset().samples()
    layout("images/a")
    with pytest.raises(DataError, match="masks: no such folder"):
        dataset().samples()


def test_rgb_masks_follow_the_declared_colours(
    dataset: Callable[..., Folder], save: Save, noise: Make, ids: Make
) -> None:
    save("images/a.png", noise())
    save("masks/a.png", np.array([*COLOURS, [0, 0, 0]], np.uint8)[np.where(ids() == 255, 3, ids())])
    opened = dataset(colours=COLOURS)
    mask = opened.read(opened.samples()[0])[1]
    assert mask is not None
    assert (mask == ids()).all()
    undeclared = dataset()
    with pytest.raises(DataError, match=r"needs dataset\.colours"):
        undeclared.read(undeclared.samples()[0])


def test_another_ignore_id_becomes_255(dataset: Callable[..., Folder], save: Save, noise: Make) -> None:
    save("images/a.png", noise())
    mask = np.full((12, 16), 250, np.uint8)
    mask[0, :2] = [1, 255]
    save("masks/a.png", mask)
    opened = dataset(ignore=250)
    read = opened.read(opened.samples()[0])[1]
    assert read is not None
    assert (read.flat[0], set(read.flat[1:])) == (1, {255})
    strict = dataset()
    with pytest.raises(DataError, match="class id 250 at row 0, column 2"):
        strict.read(strict.samples()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a", "b", "a"]}, "a name stands twice"),
        ({"colours": COLOURS[:2]}, "2 colours for 3 classes"),
        ({"colours": [*COLOURS[:2], [1, 2]]}, r"expected one \[r, g, b\]"),
        ({"colours": [*COLOURS[:2], [1, 2, 256]]}, r"expected one \[r, g, b\]"),
        ({"colours": [*COLOURS[:2], [1, 2, -1]]}, r"expected one \[r, g, b\]"),
        (
            {"ignore": 0},
            r"dataset\.ignore: 0 is the id of the class 'sky'; expected 3\.\.255\. Give void pixels another id",
        ),
        ({"ignore": 2}, "2 is the id of the class 'car'"),
    ],
)
def test_classes_colours_and_ignore_are_checked(
    dataset: Callable[..., Folder], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dataset(**options)


def test_without_colours_the_palette_is_vocs(dataset: Callable[..., Folder]) -> None:
    """VOC 1..8: (128, 0, 0), (0, 128, 0), ..., and 8 is the first of the second round, (64, 0, 0)."""
    colours = dataset(classes=list("abcdefgh")).colours
    assert colours[:3] == ((128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert colours[7] == (64, 0, 0)
    assert len(set(dataset(classes=[str(n) for n in range(255)]).colours)) == 255
