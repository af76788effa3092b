"""Batches: a pure function of (seed, step), so that a resumed training sees what an undisturbed one would have seen.

Images and masks lie in memory as uint8 (190 MB for CamVid); the weak views are made on the device.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewmask.core.masks import IGNORE
from fewmask.learning.class_weights import count_pixels
from fewmask.learning.colours import recoloured
from fewmask.learning.learner import Batch, LabelledData
from fewmask.learning.seeding import generator, torch_seed
from fewmask.learning.views import WeakViews, apply_views, draw_view
from fewmask.nets.base.normalise import Normalise


class Pool:
    """Images (N, H, W, 3) uint8 with masks (N, H, W) uint8, visited in a new random order each epoch.

    ``pseudo`` (N, H, W) uint8 are pseudo-labels beside the masks; ``extents`` say how much of each image, at the top
    left, is not padding: by default all of it. ``tags`` (N, C) of 0 and 1 are the classes that each image shows.
    """

    def __init__(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        seed: int,
        name: str,
        pseudo: np.ndarray | None = None,
        extents: Sequence[tuple[int, int]] | None = None,
        tags: np.ndarray | None = None,
    ):
        self.images, self.masks = torch.from_numpy(images), torch.from_numpy(masks)
        self.pseudo = None if pseudo is None else torch.from_numpy(pseudo)
        self.tags = None if tags is None else torch.from_numpy(tags).float()
        self.extents = extents or [(images.shape[1], images.shape[2])] * len(images)
        self.seed, self.name = seed, name
        self.orders: dict[int, np.ndarray] = {}

    def indices(self, position: int, count: int) -> list[int]:
        """Which images stand at ``position``... of the endless visiting order."""
        return [
            self._order(place // len(self.images))[place % len(self.images)]
            for place in range(position, position + count)
        ]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self.orders:
            self.orders = {key: order for key, order in self.orders.items() if key == epoch - 1}
            self.orders[epoch] = generator(self.seed, self.name, "order", epoch).permutation(len(self.images))
        return self.orders[epoch]


Stream = tuple[Pool, int]  # a pool and how many of its images a batch holds


@dataclass(frozen=True)
class SourceSteps:
    """Which steps' labelled images are the source domain's: a ``share``, evenly spread, of those before ``until``."""

    stream: Stream
    share: float
    until: int

    def before(self, step: int) -> int:
        """How many of the steps before ``step`` they are."""
        return math.floor(min(step, self.until) * self.share)


class Batches(LabelledData):
    """The one loader, the same for every method.

    Args:
        labelled: streams whose images make x_l and y_l, and z_l if their pools have tags. The first holds the images
            with true masks, and behind these, where both are one shuffled set, images with pseudo-labels or nothing
            but tags for masks.
        true: how many images carry a true mask; only these count for class weights.
        unlabelled: the stream of x_u; where the labelled images have pseudo-labels, its masks are such, too.
        source: which steps take x_l and y_l from the source domain instead, and from what; no other image is skipped.
    """

    def __init__(
        self,
        labelled: Sequence[Stream],
        true: int,
        unlabelled: Stream,
        views: WeakViews,
        normalise: Normalise,
        classes: int,
        device: torch.device | str = "cpu",
        source: SourceSteps | None = None,
    ):
        self.streams, self.unlabelled, self.source = labelled, unlabelled, source
        self.labelled_images, self.unlabelled_images = true, len(unlabelled[0].images)
        self.views, self.normalise, self.device = views, normalise, device
        self.counts = count_pixels(labelled[0][0].masks[:true].numpy(), classes)

    def __call__(self, step: int) -> Batch:
        """The batch of one step."""
        before = self.source.before(step) if self.source else 0
        if self.source and self.source.before(step + 1) > before:
            return self._batch([self.source.stream], before, step, source=True)
        return self._batch(self.streams, step - before, step)

    def _batch(self, streams: Sequence[Stream], turn: int, step: int, *, source: bool = False) -> Batch:
        """The batch of one step, the ``turn``-th for these labelled streams."""
        drawn = [self._draw(stream, turn, step) for stream in streams]
        x, maps = drawn[0] if len(drawn) == 1 else (torch.cat(parts) for parts in zip(*drawn, strict=True))
        x_u, maps_u = self._draw(self.unlabelled, step, step, shown=True)
        z_l, shown_u, joined = self._tags(streams, turn), maps_u[:, -1] != IGNORE, sum(n for _, n in streams[1:])
        if self.streams[0][0].pseudo is None:
            return Batch(x, maps[:, 0], x_u, source=source, z_l=z_l, shown_u=shown_u, joined=joined)
        p_l = torch.full_like(maps[:, 0], IGNORE) if source else maps[:, 1]
        return Batch(x, maps[:, 0], x_u, p_l, maps_u[:, 0], source, z_l, shown_u)

    def _tags(self, streams: Sequence[Stream], turn: int) -> Tensor | None:
        """Which classes the turn's images show, (B, C) float32; None where the pools have no tags."""
        rows = [pool.tags[pool.indices(turn * count, count)] for pool, count in streams if pool.tags is not None]
        return torch.cat(rows).to(self.device) if rows else None

    def _draw(self, stream: Stream, turn: int, step: int, *, shown: bool = False) -> tuple[Tensor, Tensor]:
        """Views (B, 3, h, w) of the turn's images and of their masks (B, K, h, w).

        Beside the masks stand any pseudo-labels, and last, if ``shown``, what is 0 in an image and 255 in the padding.
        """
        pool, count = stream
        numbers = pool.indices(turn * count, count) if count else []
        chosen = torch.tensor(numbers, dtype=torch.long)
        kinds = [pool.masks] if pool.pseudo is None else [pool.masks, pool.pseudo]
        images, maps = pool.images.index_select(0, chosen), [kind.index_select(0, chosen) for kind in kinds]
        maps += [torch.zeros_like(maps[0])] * shown
        size = (images.shape[1], images.shape[2])
        rng = generator(pool.seed, pool.name, "views", step)
        views = [draw_view(self.views, size, rng, pool.extents[number]) for number in numbers]
        x, y = apply_views(images.to(self.device), torch.stack(maps, 1).to(self.device), views, self.normalise)
        return self._recoloured(x, pool, step), y

    def _recoloured(self, x: Tensor, pool: Pool, step: int) -> Tensor:
        """The same images in the colours of this step, drawn apart from whatever else torch draws."""
        if self.views.colours is None or not len(x):
            return x
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(pool.seed, pool.name, "colours", step))
            return recoloured(self.views.colours, x, self.normalise)

    def labelled(self, size: int = 8) -> Iterator[tuple[Tensor, Tensor]]:
        pool, _ = self.streams[0]
        for first in range(0, self.labelled_images, size):
            part = slice(first, min(first + size, self.labelled_images))
            yield self.normalise(pool.images[part].to(self.device)), pool.masks[part].to(self.device).long()
