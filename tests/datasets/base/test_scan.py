"""Every problem in one run."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewmask.core.errors import DataError
from fewmask.datasets.base.dataset import Sample
from fewmask.datasets.base.scan import AHEAD, scan


class Drawn:
    """A data set of small images; what ``bad`` names cannot be read, and early images take longer than late ones."""

    key = "dataset.source"
    classes = ("a", "b")
    colours = ((0, 0, 0), (1, 1, 1))

    def __init__(self, bad: dict[str, object]):
        self.bad = bad
        self.reads = 0

    def samples(self) -> list[Sample]:
        return [Sample(f"{number:03d}", "train", Path(f"{number:03d}.png")) for number in range(100)]

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        self.reads += 1
        time.sleep(0.002 if int(sample.id) % 2 == 0 else 0)
        found = self.bad.get(sample.id, (2, 3))
        if isinstance(found, Exception):
            raise found
        return np.full((*found, 3), int(sample.id), np.uint8), None


def test_images_come_in_order_however_long_each_takes() -> None:
    dataset = Drawn({})
    found = [(sample.id, int(image[0, 0, 0])) for sample, image, _ in scan(dataset, dataset.samples(), "test")]
    assert found == [(f"{number:03d}", number) for number in range(100)]


def test_only_a_few_are_read_ahead() -> None:
    dataset = Drawn({})
    reading = scan(dataset, dataset.samples(), "test")
    next(reading)
    assert dataset.reads <= AHEAD + 3
    reading.close()


def test_every_problem_is_told_at_once_after_the_last_image() -> None:
    dataset = Drawn({"003": DataError("x: bad"), "050": DataError("y: bad"), "099": (3, 2)})
    yielded = []
    with pytest.raises(DataError) as caught:
        yielded += [sample.id for sample, _, _ in scan(dataset, dataset.samples(), "test")]
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["x: bad", "y: bad"]
    assert lines[2].startswith("099.png: 2x3; the images before it are 3x2. Set dataset.source.size: [")
    assert len(lines) == 3


def test_an_error_of_ours_is_not_taken_for_the_persons() -> None:
    dataset = Drawn({"003": ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        list(scan(dataset, dataset.samples(), "test"))


def test_a_data_set_without_images_is_told(capsys: Callable[..., object]) -> None:
    with pytest.raises(DataError, match=r"dataset\.source: holds no image; expected some\. Fix dataset\.source\.root"):
        list(scan(Drawn({}), [], "test"))
