"""Pixel thresholds are chosen on the validation images alone, and the table says what a fusion drops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from fewmask.core.errors import ConfigError
from fewmask.prediction.fusion import FusionConfig, fuse, kept, pixel_counts
from fewmask.scoring.confusion import confusion
from fewmask.scoring.dropped import Recorder, average_precision, chosen_pixels, outcomes, rows


class Painted:
    """A predictor whose logits an image's red channel tells: it paints class red % 3, and next best is class 0."""

    device = torch.device("cpu")
    background: int | None = None

    def logits(self, images: np.ndarray) -> Tensor:
        classes = torch.from_numpy(images[..., 0] % 3).long()
        return (torch.eye(3)[classes] * 2 + torch.tensor([1.0, 0.5, 0.0])).permute(0, 3, 1, 2)


def picture(*counts: int) -> np.ndarray:
    """(8, 8) of classes: so many pixels of 1, so many of 2, the rest 0."""
    one, two = counts
    return np.array([1] * one + [2] * two + [0] * (64 - one - two), np.uint8).reshape(8, 8)


@pytest.fixture
def store(image_store):
    """``store((role, painted, true), ...)`` -> an open image store, its images named i0, i1, ..."""
    from fewmask.stores.images import Images

    opened = []

    def make(*rows: tuple[str, np.ndarray, np.ndarray]) -> Images:
        listed = [
            (f"i{number}", role, np.stack([painted] * 3, 2), true) for number, (role, painted, true) in enumerate(rows)
        ]
        opened.append(Images(image_store(rows=listed)))
        return opened[-1]

    yield make
    for images in opened:
        images.file.close()


def config(rule: str, *pixels: int) -> FusionConfig:
    return FusionConfig(rule=rule, pixels=list(pixels))  # type: ignore[arg-type]


def few_are_wrong(role: str = "validation") -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Class 1 is false on 5 pixels and true on 20, class 2 is false on 12 and true on 30."""
    return [
        (role, picture(5, 0), picture(0, 0)),
        (role, picture(20, 0), picture(20, 0)),
        (role, picture(0, 12), picture(0, 0)),
        (role, picture(0, 30), picture(0, 30)),
    ]


def test_each_class_gets_the_threshold_known_by_construction(store) -> None:
    images = store(*few_are_wrong())
    found = chosen_pixels(Painted(), images, images.ids, config("pixels_per_class", 40, 24, 16, 8, 4))
    assert found.tolist() == [0, 8, 16]  # the lowest of those that are best; class 0 is right as it is


def test_one_threshold_for_all_is_the_best_compromise(store) -> None:
    images = store(*few_are_wrong())
    assert chosen_pixels(Painted(), images, images.ids, config("pixels", 4, 8, 16, 24, 40)).tolist() == [16] * 3
    assert chosen_pixels(Painted(), images, images.ids, config("pixels", 4, 8, 40)).tolist() == [8] * 3


def test_where_dropping_only_harms_nothing_is_dropped(store) -> None:
    images = store(("validation", picture(5, 5), picture(5, 5)))
    for rule in ("pixels", "pixels_per_class"):
        assert chosen_pixels(Painted(), images, images.ids, config(rule, 10, 20)).tolist() == [0] * 3


def test_no_labelled_pixel_to_choose_on_is_refused(store) -> None:
    images = store(("validation", picture(5, 5), np.full((8, 8), 255, np.uint8)))
    for names in ([], images.ids):
        with pytest.raises(
            ConfigError, match=r"fusion\.rule: pixels is chosen on the validation images, which have no"
        ):
            chosen_pixels(Painted(), images, names, config("pixels", 10))


def test_images_are_predicted_once(store) -> None:
    images = store(*few_are_wrong() * 3)
    seen = []
    predictor = Painted()
    predictor.logits = lambda batch: (seen.append(len(batch)), Painted.logits(predictor, batch))[1]
    chosen_pixels(predictor, images, images.ids, config("pixels_per_class", *range(1, 60)))
    assert sum(seen) == len(images.ids)


@pytest.mark.parametrize("background", [None, 1])
def test_outcomes_are_those_of_each_row_by_itself(background: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = torch.randn(4, 5, 6, generator=generator)
        truth = torch.randint(0, 5, (5, 6), generator=generator).to(torch.uint8)
        minima = torch.randint(0, 14, (9, 4), generator=generator)
        found = outcomes(logits, truth, minima, background)
        for matrix, minimum in zip(found, minima, strict=True):
            keeps = kept(pixel_counts(logits[None]), minimum - 1, background)
            label = fuse(logits[None], keeps).argmax(1)[0].to(torch.uint8)
            assert torch.equal(matrix, confusion(truth, label, 4))


def test_worked_average_precision() -> None:
    """Ranks 1 and 3 have the class: (1/1 + 2/3) / 2. Equal scores share the rank of the last of them."""
    scores = np.array([0.9, 0.1, 0.5, 0.7])
    assert average_precision(scores, np.array([1, 0, 1, 0], bool)) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.array([1, 0, 0, 1], bool)) == 1
    assert average_precision(np.full(4, 0.5), np.array([1, 0, 0, 0], bool)) == 0.25
    assert average_precision(scores, np.zeros(4, bool)) is None


def test_worked_table() -> None:
    """Two images, both with the background, one with class a, none with class b."""
    scores = np.array([[0.9, 0.1, 0.8], [0.1, 0.3, 0.1]])
    keeps = np.array([[1, 0, 1], [1, 1, 0]], bool)
    present = np.array([[1, 1, 0], [1, 0, 0]], bool)
    found = rows(["background", "a", "b"], [None, 0.2, 0.2], scores, keeps, present)
    assert {row.pop("class"): list(row.values()) for row in found} == {
        "background": [None, 2, 0, 0, 1.0],
        "a": [0.2, 1, 1, 1, 0.5],
        "b": [0.2, 0, 1, 0, None],
    }


def recorder(class_names: list[str], decisions: list[tuple[list[float], list[int]]]) -> Recorder:
    """One that has predicted an image for each of ``decisions``, scores and kept classes."""
    made = Recorder.__new__(Recorder)
    made.model = SimpleNamespace(header=SimpleNamespace(class_names=class_names))  # type: ignore[assignment]
    made.tau, made.pixels = 0.2, None
    made.decisions = [(np.array(scores), np.array(keeps, bool)) for scores, keeps in decisions]
    return made


def test_a_table_has_each_decision_beside_the_mask_of_its_image(store) -> None:
    """Class 1 is in the first image alone and dropped there, class 2 in the last alone and kept there."""
    images = store(
        ("test", picture(0, 0), picture(9, 0)), ("test", picture(0, 0), picture(0, 0)), ("test", *[picture(0, 9)] * 2)
    )
    decisions = [([0.9, 0.1, 0.1], [1, 0, 0]), ([0.9, 0.0, 0.1], [1, 0, 0]), ([0.9, 0.9, 0.5], [1, 1, 1])]
    found = recorder(images.class_names, decisions).table(images, images.ids)
    assert [list(row.values())[2:] for row in found] == [[3, 0, 0, 1.0], [1, 2, 1, 0.5], [1, 2, 0, 1.0]]
    assert [row["threshold"] for row in found] == [0.2] * 3


@pytest.mark.parametrize("pixels", [None, [7, 8, 9]])
def test_a_table_has_no_threshold_for_the_background(store, pixels: list[int] | None) -> None:
    images = store(("test", picture(5, 5), picture(5, 5)))
    made = recorder(["sky", "background", "car"], [([0.9, 0.1, 0.9], [1, 1, 1])])
    made.pixels = None if pixels is None else torch.tensor(pixels)
    expected = [0.2, None, 0.2] if pixels is None else [7, None, 9]
    assert [row["threshold"] for row in made.table(images, images.ids)] == expected
