"""Read every image of a data set and collect everything that is wrong with it, not only the first thing."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from fewmask.core.errors import DataError, raise_all
from fewmask.core.progress import Progress
from fewmask.datasets.base.dataset import Dataset, Sample

Read = tuple[Sample, np.ndarray, np.ndarray | None]
AHEAD = 32  # images decoded before they are asked for


def scan(dataset: Dataset, samples: list[Sample], name: str, workers: int = 2) -> Iterator[Read]:
    """Yield every image and mask in order; after the last one raise what was wrong with any.

    Raises:
        DataError: one line a problem: unreadable files, images of different sizes, a data set without images.
    """
    if not samples:
        key = dataset.key
        raise DataError(f"{key}: holds no image; expected some. Fix {key}.root in params.yaml.")
    problems: list[str] = []
    size: tuple[int, ...] | None = None
    with ThreadPoolExecutor(max(1, workers)) as pool, Progress(name, len(samples), "image") as progress:
        for number, (sample, future) in enumerate(_ahead(pool, dataset, samples), 1):
            try:
                image, mask = future.result()
            except DataError as error:
                problems.append(str(error))
                continue
            size = size or image.shape[:2]
            if image.shape[:2] != size:
                problems.append(_differs(sample, image.shape, size, dataset.key))
            elif not problems:
                yield sample, image, mask
            progress.show(number)
    raise_all(problems, DataError)


def state(samples: list[Sample]) -> list[tuple[str, int, int]]:
    """Name, bytes and time of every file of the samples: what must not change while they are read."""
    files = [file for sample in samples for file in (sample.image, sample.mask) if file]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _ahead(
    pool: ThreadPoolExecutor, dataset: Dataset, samples: list[Sample]
) -> Iterator[tuple[Sample, Future[tuple[np.ndarray, np.ndarray | None]]]]:
    waiting: deque[tuple[Sample, Future[tuple[np.ndarray, np.ndarray | None]]]] = deque()
    for sample in samples:
        waiting.append((sample, pool.submit(dataset.read, sample)))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _differs(sample: Sample, shape: tuple[int, ...], size: tuple[int, ...], key: str) -> str:
    found = f"{sample.image}: {shape[1]}x{shape[0]}; the images before it are {size[1]}x{size[0]}"
    return f"{found}. Set {key}.size: [height, width] to bring all to one size."
