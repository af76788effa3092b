"""Shared fixtures: tiny stores, a params writer, and a stage run as a person runs it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from fewmask.stores.hdf5 import seal
from fewmask.stores.images import write_images
from fewmask.stores.labels import Labelled, write_labels
from tests.forks import Outcome, StageProcess

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ["sky", "road", "car"]
COLOURS = [(10, 20, 30), (128, 64, 128), (0, 0, 142)]
SIZE = (12, 16)


Row = tuple[str, str, np.ndarray, np.ndarray | None]  # id, role, image, mask


@pytest.fixture
def image_rows() -> Callable[..., list[Row]]:
    """``image_rows(train=6, ...)`` -> rows of an image store; ``bare`` training images come without a mask."""

    def make(
        train: int = 6, validation: int = 2, test: int = 2, bare: int = 0, size: tuple[int, int] = SIZE
    ) -> list[Row]:
        rng = np.random.default_rng(1)
        roles = ["train"] * train + ["bare"] * bare + ["validation"] * validation + ["test"] * test
        rows: list[Row] = []
        for number, role in enumerate(roles):
            image = rng.integers(0, 256, (*size, 3), np.uint8)
            mask = np.repeat(rng.integers(0, 3, (size[0], 1), np.uint8), size[1], 1)
            mask[0] = 255
            rows.append(
                (f"i{number:03d}", "train" if role == "bare" else role, image, None if role == "bare" else mask)
            )
        return rows

    return make


@pytest.fixture
def image_store(tmp_path: Path, image_rows: Callable[..., list[Row]]) -> Callable[..., Path]:
    """``image_store(train=6, bare=2, ...)`` or ``image_store(rows=[...])`` -> path of a published store."""

    def make(name: str = "images.h5", rows: list[Row] | None = None, **counts: int) -> Path:
        path = tmp_path / name
        chosen = image_rows(**counts) if rows is None else rows
        write_images(path, iter(chosen), len(chosen), CLASSES, COLOURS)
        return path

    return make


@pytest.fixture
def labelled() -> Callable[..., list[Labelled]]:
    """``labelled(["a", "b"])`` -> labels and codes as a network would give them, the same for the same names."""

    def make(stems: Sequence[str], size: tuple[int, int] = SIZE, classes: int = 3) -> list[Labelled]:
        rng = np.random.default_rng(2)
        pairs = [rng.integers(0, 256, (2, *size)).astype(np.uint8) for _ in stems]
        return [Labelled(stem, pair[0] % classes, pair[1]) for stem, pair in zip(stems, pairs, strict=True)]

    return make


@pytest.fixture
def label_store(tmp_path: Path, labelled: Callable[..., list[Labelled]]) -> Callable[..., Path]:
    """``label_store(["a", "b"])`` -> path of a published label store."""

    def make(stems: Sequence[str], name: str = "labels.h5", items: list[Labelled] | None = None) -> Path:
        path = tmp_path / name
        write_labels(path, items or labelled(stems), CLASSES, "f" * 64, {"model": "none"})
        return path

    return make


@pytest.fixture
def edited() -> Callable[[Path], AbstractContextManager[h5py.File]]:
    """``with edited(path) as file:`` changes a store in place and seals it again: wrong, but no accident."""

    @contextmanager
    def edit(path: Path) -> Iterator[h5py.File]:
        with h5py.File(path, "r+") as file:
            yield file
        with path.open("r+b", buffering=0) as raw:
            seal(raw)

    return edit


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[[str], Path]:
    """``write_params("seed: 0")`` -> path of a params file in the test's folder."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "params.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def start_stage(tmp_path: Path) -> Callable[..., StageProcess]:
    """``start_stage("prepare", "--out", "x.h5")`` -> the started process, in the test's folder."""
    return lambda module, *arguments: StageProcess([module, *map(str, arguments)], tmp_path)


@pytest.fixture
def run_stage(start_stage: Callable[..., StageProcess]) -> Callable[..., Outcome]:
    """``run_stage("prepare", "--out", "x.h5")`` -> exit code, standard output and error of the finished stage."""
    return lambda module, *arguments: start_stage(module, *arguments).finish()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, beside the rest: the whole graph, then a person's commands."""
    items.sort(key=lambda item: ("test_end_to_end" not in item.nodeid, "test_commands" not in item.nodeid))
