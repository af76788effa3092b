"""The embedded data set: scenes are drawn, not read."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fewmask.core.params import Size
from fewmask.datasets.base.dataset import DomainConfig, Sample, never_a_module
from fewmask.datasets.streets.scenes import CLASSES, COLOURS, draw

ROOT = "pipeline/datasets/streets"


class Config(DomainConfig):
    """Road scenes, the same for the same seed (scenes.py)."""

    kind: Literal["streets"]
    root: Annotated[str, never_a_module(ROOT)] = ROOT  # DVC watches what stands here; for drawn scenes, what draws them
    look: Literal["photograph", "game"] = "photograph"  # two domains: looks.py
    sparse: float = Field(default=0, ge=0, le=1)  # share of the scenes in which most classes are absent
    size: Size = (96, 128)
    train: PositiveInt = 200
    validation: NonNegativeInt = 40
    test: PositiveInt = 60
    seed: NonNegativeInt = 0
    tags: Literal["masks"] | None = None  # its root holds no file of tags


class Streets:
    """``train`` + ``validation`` + ``test`` scenes, numbered through, so that no scene is in two roles."""

    classes: tuple[str, ...] = CLASSES
    colours: tuple[tuple[int, int, int], ...] = COLOURS

    def __init__(self, config: Config, key: str):
        self.config, self.key = config, key

    def samples(self) -> list[Sample]:
        counts = {"train": self.config.train, "validation": self.config.validation, "test": self.config.test}
        roles = [role for role, count in counts.items() for _ in range(count)]
        return [Sample(f"street_{number:05d}", role) for number, role in enumerate(roles)]

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        config, index = self.config, int(sample.id.removeprefix("street_"))
        return draw(config.seed, index, config.size, config.look, config.sparse)


def open_dataset(config: Config, key: str = "dataset") -> Streets:
    """The scenes of a validated section."""
    return Streets(config, key)
