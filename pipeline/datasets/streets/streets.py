"""The embedded data set as a source: scenes are drawn, not read."""

import numpy as np

from fewmask.datasets.base.dataset import Sample, StreetsConfig
from fewmask.datasets.streets.scenes import CLASSES, COLOURS, draw


class Streets:
    """``train`` + ``validation`` + ``test`` scenes, numbered through, so that no scene is in two roles."""

    classes: tuple[str, ...] = CLASSES
    colours: tuple[tuple[int, int, int], ...] = COLOURS

    def __init__(self, config: StreetsConfig):
        self.config = config

    def samples(self) -> list[Sample]:
        counts = {"train": self.config.train, "validation": self.config.validation, "test": self.config.test}
        roles = [role for role, count in counts.items() for _ in range(count)]
        return [Sample(f"street_{number:05d}", role) for number, role in enumerate(roles)]

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        config, index = self.config, int(sample.id.removeprefix("street_"))
        return draw(config.seed, index, config.size, config.look, config.sparse)
