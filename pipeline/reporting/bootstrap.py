"""How far a difference between two methods may be due to the images and seeds that were drawn: a paired bootstrap."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewmask.core.errors import DataError
from fewmask.scoring.overlap import iou

ROUNDS = 2000
LEVEL = 95.0


@dataclass(frozen=True)
class ByImage:
    """What one model made of each image: ``matrices`` (N, C, C) int64, row = truth, of the ``images``, sorted."""

    images: list[str]
    matrices: np.ndarray

    @classmethod
    def read(cls, table: str) -> "ByImage":
        """From the text of details/images.csv. Classes are sorted by name; those that nobody saw are left out.

        Raises:
            ValueError, KeyError: it is no such table.
        """
        rows = list(csv.DictReader(io.StringIO(table)))
        classes = sorted({row[key] for row in rows for key in ("actual", "predicted")})
        images = sorted({row["image"] for row in rows})
        found = np.zeros((len(images), len(classes), len(classes)), np.int64)
        place, of = ({name: number for number, name in enumerate(names)} for names in (images, classes))
        for row in rows:
            found[place[row["image"]], of[row["actual"]], of[row["predicted"]]] += int(row["pixels"])
        return cls(images, found)

    def miou(self, weights: np.ndarray) -> np.ndarray:
        """mIoU (R,) of all images together, each counted ``weights`` (R, N) times; NaN where nothing is counted."""
        count, classes, _ = self.matrices.shape
        summed = (weights @ self.matrices.reshape(count, -1)).reshape(-1, classes, classes)
        present = summed.sum(2) > 0
        total = np.where(present, iou(summed), 0).sum(1)
        return np.divide(total, present.sum(1), out=np.full(len(total), np.nan), where=present.any(1))

    def miou_of_all(self) -> float:
        """Each image once."""
        return float(self.miou(np.ones((1, len(self.images)), np.int64))[0])


Pair = tuple[ByImage, ByImage]  # a method and its control


def interval(pairs: Sequence[Pair], rounds: int = ROUNDS) -> dict[str, Any]:
    """The mean difference in mIoU, method less control, over the seeds' ``pairs``, and where the middle 95 % lie.

    A percentile bootstrap (Efron and Tibshirani 1993). Each round draws seeds and images with replacement. Both sides
    and all seeds see the same draw of an image, so that what makes it hard for everybody widens nothing, and images
    that seeds share are not counted as different ones.

    Raises:
        DataError: the two of a pair were scored on different images.
    """
    for method, control in pairs:
        if method.images != control.images:
            found = f"{len(method.images)} and {len(control.images)} images, not the same ones"
            raise DataError(f"details/images.csv: {found}; expected both scored alike. Run 'dvc repro' for both.")
    rng, names = np.random.default_rng(0), sorted({name for method, _ in pairs for name in method.images})
    seeds = rng.multinomial(len(pairs), [1 / len(pairs)] * len(pairs), rounds) / len(pairs)  # (R, seeds)
    drawn = rng.multinomial(len(names), [1 / len(names)] * len(names), rounds)  # (R, images)
    place = {name: number for number, name in enumerate(names)}
    by_seed = []
    for method, control in pairs:
        weights = drawn[:, [place[name] for name in method.images]]
        by_seed.append(method.miou(weights) - control.miou(weights))
    whole = [method.miou_of_all() - control.miou_of_all() for method, control in pairs]
    rest = (100 - LEVEL) / 2
    low, high = np.nanpercentile((seeds * np.stack(by_seed, 1)).sum(1), [rest, 100 - rest]).tolist()
    return {"mean": float(np.mean(whole)), "low": low, "high": high, "values": whole, "level": LEVEL, "rounds": rounds}
