"""Pixel thresholds are chosen on the images that are named for it, and known by construction."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fewmask.core.errors import ConfigError
from fewmask.fusion.fused import kept, masked, pixel_counts
from fewmask.fusion.thresholds import FusionConfig, choose_thresholds, chosen_pixels, outcomes
from fewmask.scoring.confusion import confusion
from fewmask.stores.images import Images, write_images

Drawn = tuple[np.ndarray, np.ndarray]  # painted, true


class Painted:
    """A predictor whose logits an image's red channel tells: it paints class red % 3, and next best is class 0."""

    device = torch.device("cpu")

    def logits(self, images: np.ndarray) -> Tensor:
        classes = torch.from_numpy(images[..., 0] % 3).long()
        return (torch.eye(3)[classes] * 2 + torch.tensor([1.0, 0.5, 0.0])).permute(0, 3, 1, 2)


def picture(*counts: int) -> np.ndarray:
    """(8, 8) of classes: so many pixels of 1, so many of 2, the rest 0."""
    one, two = counts
    return np.array([1] * one + [2] * two + [0] * (64 - one - two), np.uint8).reshape(8, 8)


@pytest.fixture
def store(tmp_path) -> Iterator[Callable[..., Images]]:
    """``store((painted, true), ..., names=[...])`` -> an open image store, its images named i0, i1, ..."""
    opened: list[Images] = []

    def make(*drawn: Drawn, names: tuple[str, ...] = ("sky", "road", "car")) -> Images:
        path = tmp_path / f"{len(opened)}.h5"
        rows = [(f"i{n}", "validation", np.stack([painted] * 3, 2), true) for n, (painted, true) in enumerate(drawn)]
        write_images(path, iter(rows), len(rows), names, [(0, 0, 0)] * 3)
        opened.append(Images(path))
        return opened[-1]

    yield make
    for images in opened:
        images.file.close()


def config(rule: str, *pixels: int) -> FusionConfig:
    return FusionConfig(rule=rule, pixels=list(pixels))  # type: ignore[arg-type]


FEW_ARE_WRONG = [  # class 1 is false on 5 pixels and true on 20, class 2 is false on 12 and true on 30
    (picture(5, 0), picture(0, 0)),
    (picture(20, 0), picture(20, 0)),
    (picture(0, 12), picture(0, 0)),
    (picture(0, 30), picture(0, 30)),
]


def test_each_class_gets_the_threshold_known_by_construction(store) -> None:
    images = store(*FEW_ARE_WRONG)
    found = chosen_pixels(Painted(), images, images.ids, config("pixels_per_class", 40, 24, 16, 8, 4))
    assert found.tolist() == [0, 8, 16]  # the lowest of those that are best; class 0 is right as it is


def test_one_threshold_for_all_is_the_best_compromise(store) -> None:
    images = store(*FEW_ARE_WRONG)
    assert chosen_pixels(Painted(), images, images.ids, config("pixels", 4, 8, 16, 24, 40)).tolist() == [16] * 3
    assert chosen_pixels(Painted(), images, images.ids, config("pixels", 4, 8, 40)).tolist() == [8] * 3


def test_where_dropping_only_harms_nothing_is_dropped(store) -> None:
    images = store((picture(5, 5), picture(5, 5)))
    for rule in ("pixels", "pixels_per_class"):
        assert chosen_pixels(Painted(), images, images.ids, config(rule, 10, 20)).tolist() == [0] * 3


def test_the_background_has_no_threshold_by_any_rule(store) -> None:
    """With one, class 1 of these images would be dropped where it is false."""
    images = store(*FEW_ARE_WRONG, names=("sky", "background", "car"))
    assert choose_thresholds(Painted(), images, images.ids, config("pixels", 4, 8, 16)) == [16, None, 16]
    assert choose_thresholds(Painted(), images, images.ids, config("pixels_per_class", 4, 8, 16)) == [0, None, 16]
    assert choose_thresholds(Painted(), images, [], FusionConfig(tau=0.3)) == [0.3, None, 0.3]
    false = store(FEW_ARE_WRONG[0], names=("sky", "background", "car"))
    assert choose_thresholds(Painted(), false, false.ids, config("pixels", 10)) == [0, None, 0]


def test_no_labelled_pixel_to_choose_on_is_refused(store) -> None:
    images = store((picture(5, 5), np.full((8, 8), 255, np.uint8)))
    for names in ([], images.ids):
        with pytest.raises(ConfigError, match=r"^fusion\.rule: pixels is chosen on the validation images, which have"):
            choose_thresholds(Painted(), images, names, config("pixels", 10))


def test_images_are_predicted_once(store) -> None:
    images = store(*FEW_ARE_WRONG * 3)
    seen = []
    predictor = Painted()
    predictor.logits = lambda batch: (seen.append(len(batch)), Painted.logits(predictor, batch))[1]
    chosen_pixels(predictor, images, images.ids, config("pixels_per_class", *range(1, 60)))
    assert sum(seen) == len(images.ids)


def test_outcomes_are_those_of_each_row_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = torch.randn(4, 5, 6, generator=generator)
        truth = torch.randint(0, 5, (5, 6), generator=generator).to(torch.uint8)
        minima = torch.randint(0, 14, (9, 4), generator=generator)
        found = outcomes(logits, truth, minima)
        for matrix, minimum in zip(found, minima, strict=True):
            keeps = kept(pixel_counts(logits[None]), minimum - 1)
            label = masked(logits[None], keeps).argmax(1)[0].to(torch.uint8)
            assert torch.equal(matrix, confusion(truth, label, 4))


def test_the_default_is_the_paper_s() -> None:
    config = FusionConfig()
    assert (config.rule, config.tau) == ("scores", 0.2)
    assert config.pixels == [1000 * number for number in range(1, 13)]


@pytest.mark.parametrize("wrong", [{"tau": 1.1}, {"tau": -0.1}, {"rule": "pixel"}, {"pixels": []}, {"pixels": [-1]}])
def test_a_bad_section_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        FusionConfig(**wrong)
