"""From stores to batches: who is labelled, with which masks, and who is not."""

from pathlib import Path

import numpy as np
import torch

from pipeline.core.errors import DataError
from pipeline.datasets.split import Split
from pipeline.learning.batches import Batches, Pool, Stream
from pipeline.learning.fit import FitConfig
from pipeline.stores.hdf5 import IGNORE
from pipeline.stores.images import Images
from pipeline.stores.labels import Labels
from pipeline.views.weak import Normalise


def open_batches(
    images: Images,
    split: Split,
    config: FitConfig,
    normalise: Normalise,
    *,
    seed: int,
    join: Path | None = None,
    device: torch.device | str = "cpu",
) -> Batches:
    """Batches of a split; the images of the label store ``join`` count as labelled, with pseudo-labels for masks.

    A true mask is read for labelled images only. Joined images without a single label are left out, so that a filter
    that keeps nothing gives exactly the supervised training.

    Raises:
        DataError: no labelled pixel at all, or unlabelled images are wanted and there are none.
    """
    classes = len(images.class_names)
    names, masks = list(split.labelled), images.stack(split.labelled, "mask")
    if not (masks < classes).any():
        raise DataError(
            f"{images.path}: the {len(names)} labelled images have no labelled pixel; expected some. Mend the masks."
        )
    more, pseudo = _pseudo_labelled(join, split, images.class_names) if join else ([], masks[:0])
    if config.unlabelled and not split.unlabelled:
        raise DataError(
            "split: no unlabelled image, nothing to learn from beside the labelled ones. Add images, "
            "or run 'dvc repro evaluate@supervised' alone."
        )
    others = split.unlabelled if config.unlabelled else []
    blank = np.full((len(others), *images.size), IGNORE, np.uint8)
    return Batches(
        _streams(images, (names, masks), (more, pseudo), config, seed),
        len(names),
        (Pool(images.stack(others), blank, seed, "unlabelled"), config.unlabelled),
        config.views,
        normalise,
        classes,
        device,
    )


Masked = tuple[list[str], np.ndarray]  # image ids and their masks (n, H, W) uint8


def _streams(images: Images, true: Masked, pseudo: Masked, config: FitConfig, seed: int) -> list[Stream]:
    """One shuffled set of true and pseudo-labelled images, or, where params ask for it, a fixed number of each."""
    if config.pseudo is None or not pseudo[0]:
        true = true[0] + pseudo[0], np.concatenate([true[1], pseudo[1]])
        return [(Pool(images.stack(true[0]), true[1], seed, "labelled"), config.batch)]
    labelled, joined = (
        Pool(images.stack(true[0]), true[1], seed, "labelled"),
        Pool(images.stack(pseudo[0]), pseudo[1], seed, "joined"),
    )
    return [(labelled, config.batch - config.pseudo), (joined, config.pseudo)]


def _pseudo_labelled(path: Path, split: Split, class_names: list[str]) -> Masked:
    """Unlabelled images in which the store labels something, and their pseudo-masks (n, H, W) uint8."""
    with Labels(path) as store:
        store.require(split.unlabelled, class_names)
        pairs = [(name, store.label(name)) for name in split.unlabelled]
    kept = [(name, label) for name, label in pairs if (label != IGNORE).any()]
    shape = tuple(pairs[0][1].shape) if pairs else (0, 0)
    masks = np.stack([label for _, label in kept]) if kept else np.zeros((0, *shape), np.uint8)
    return [name for name, _ in kept], masks
