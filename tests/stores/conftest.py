"""Everything a reader of a store believes, to compare after damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewmask.stores.images import Images
from fewmask.stores.labels import Labels


@pytest.fixture
def images_content() -> Callable[[Path], Any]:
    """Path of an image store -> all that ``Images`` tells, in plain values."""

    def read(path: Path) -> Any:
        with Images(path) as store:
            arrays = [(store.image(name).tobytes(), store.mask(name).tobytes()) for name in store.ids]
            told = (store.ids, store.roles, store.has_mask.tolist(), store.class_names, store.colours, store.size)
            told = (*told, store.extents.tolist(), store.tags.tolist())
        return told, arrays

    return read


@pytest.fixture
def labels_content() -> Callable[[Path], Any]:
    """Path of a label store -> all that ``Labels`` tells, in plain values."""

    def read(path: Path) -> Any:
        with Labels(path) as store:
            arrays = [(item.stem, item.label.tobytes(), item.code.tobytes()) for item in store]
            told = (store.stems, store.class_names, store.provenance, store.fingerprint)
            tables = [table.tobytes() for table in (store.sizes, store.histogram, store.edges)]
        return told, tables, arrays

    return read
