"""From stores to batches: who is labelled, with which masks, and who is not."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fewmask.core.errors import ArtefactError, DataError
from fewmask.core.masks import IGNORE
from fewmask.core.progress import warn
from fewmask.learning.batches import Batches, Pool, SourceSteps, Stream
from fewmask.learning.fit import FitConfig
from fewmask.nets.base.normalise import Normalise
from fewmask.stores.images import Images, require_same_classes
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split


class Masked(NamedTuple):
    """Ids of images, their masks (n, H, W) uint8 and, where they have any, their tags (n, C) uint8 of 0 and 1."""

    names: list[str]
    masks: np.ndarray
    tags: np.ndarray | None = None


def open_batches(  # noqa: PLR0913
    images: Images,
    split: Split,
    config: FitConfig,
    normalise: Normalise,
    *,
    seed: int,
    join: Path | None = None,
    labels: Path | None = None,
    source: Images | None = None,
    tags: bool = False,
    device: torch.device | str = "cpu",
) -> Batches:
    """Batches of a split.

    A true mask is read for labelled images only, and for those of the source domain, if a share of the steps is its.

    Args:
        join: a label store whose images count as labelled, with pseudo-labels for masks. Images without a single label
            are left out, so that a filter that keeps nothing gives exactly the supervised training.
        labels: a label store that gives every training image a pseudo-label beside its mask, if it has one.
        source: the images of the source domain, not read where ``config.source`` is 0.
        tags: batches say which classes each labelled image shows, and unlabelled images that have tags count as
            labelled, too, with void masks. Left out are those whose true mask is void all over: nobody said what they
            show. Not together with the three above, of whose images nobody says it.

    Raises:
        DataError: no labelled pixel at all, unlabelled images or a source domain are wanted and there are none, or the
            source domain has other classes or, without views.crop, another size.
        ArtefactError: a store that lacks training images, or is of another class list, size or split, or damaged.
    """
    assert not tags or not (join or labels or source)
    true = Masked(list(split.labelled), _true_masks(images, split.labelled))
    if config.unlabelled and not split.unlabelled and config.unlabelled_pool != "all":
        raise DataError(
            "split: no unlabelled image, nothing to learn from beside the labelled ones. Add images, "
            "set unlabelled_pool: all, or run 'dvc repro evaluate@supervised' alone."
        )
    void = (true.masks == IGNORE).all(0) if config.fixed_void else np.zeros(images.size, bool)
    beside = _pseudo_labels(labels, true.names, split, images, void) if labels else None
    joined = Masked([], true.masks[:0])
    if tags:
        true, joined = _shown(_informative(true), images), _tagged(images, split)
    if join:
        joined = _informative(Masked(split.unlabelled, _pseudo_labels(join, split.unlabelled, split, images, void)))
    batches = Batches(
        _streams(images, true, joined, beside, config, seed),
        len(true.names),
        (_unlabelled(images, split, config, labels, void, seed), config.unlabelled),
        config.views,
        normalise,
        len(images.class_names),
        device,
        _source_steps(source, images, config, seed) if config.source else None,
    )
    for number in np.flatnonzero(batches.counts.per_class == 0).tolist():
        elsewhere = batches.source and any(mask.eq(number).any() for mask in batches.source.stream[0].masks)
        learned = "it is learned from the source domain alone" if elsewhere else "it cannot be learned"
        warn(f"class '{images.class_names[number]}' is in no labelled image; {learned}")
    return batches


def no_source(share: float, found: str) -> DataError:
    """What to say where ``share`` of the steps has no source domain to learn from."""
    remedy = "Name one there, or set source: 0."
    return DataError(
        f"source: {share} of the steps, but {found}; expected a labelled data set in dataset.source. {remedy}"
    )


def _source_steps(source: Images | None, images: Images, config: FitConfig, seed: int) -> SourceSteps:
    if source is None or not source.ids:
        found = f"{source.path} holds no image" if source else "the stage is given no --source"
        raise no_source(config.source, found)
    require_same_classes(source.class_names, images.class_names)
    if source.size != images.size and config.views.crop is None:
        sizes = f"images of {list(source.size)}; expected the target's {list(images.size)}, as there is no views.crop"
        raise DataError(f"{source.path}: {sizes}. Set views.crop, or dataset.source.size.")
    pool = _pool(source, Masked(source.ids, _true_masks(source, source.ids)), seed, "source")
    return SourceSteps((pool, config.batch), config.source, round(config.source_until * config.steps))


def _true_masks(images: Images, names: Sequence[str]) -> np.ndarray:
    masks = images.stack(names, "mask")
    if not (masks < len(images.class_names)).any():
        raise DataError(
            f"{images.path}: the {len(names)} labelled images have no labelled pixel; expected some. Mend the masks."
        )
    return masks


def _streams(
    images: Images, true: Masked, joined: Masked, beside: np.ndarray | None, config: FitConfig, seed: int
) -> list[Stream]:
    """One shuffled set of true and joined images, or, where params ask for it, a fixed number of each."""
    if config.pseudo is None or not joined.names:
        tags = None if true.tags is None or joined.tags is None else np.concatenate([true.tags, joined.tags])
        both = Masked(true.names + joined.names, np.concatenate([true.masks, joined.masks]), tags)
        return [(_pool(images, both, seed, "labelled", beside), config.batch)]
    labelled, more = _pool(images, true, seed, "labelled", beside), _pool(images, joined, seed, "joined")
    return [(labelled, config.batch - config.pseudo), (more, config.pseudo)]


def _shown(masked: Masked, images: Images) -> Masked:
    """The same, tagged with the classes that each mask shows."""
    classes = np.arange(len(images.class_names))
    return masked._replace(tags=np.stack([np.isin(classes, mask) for mask in masked.masks]).astype(np.uint8))


def _tagged(images: Images, split: Split) -> Masked:
    """The unlabelled images that have tags, with void masks: their true ones are never read."""
    names = [name for name in split.unlabelled if name in images.tagged]
    tags = images.tags[[images.index[name] for name in names]]
    return Masked(names, np.full((len(names), *images.size), IGNORE, np.uint8), tags)


def _unlabelled(
    images: Images, split: Split, config: FitConfig, labels: Path | None, void: np.ndarray, seed: int
) -> Pool:
    """The images of x_u, U or L and U together, with pseudo-labels or void; their true masks are never read."""
    everyone = [*split.labelled, *split.unlabelled] if config.unlabelled_pool == "all" else list(split.unlabelled)
    names = everyone if config.unlabelled else []
    if labels:
        maps = _pseudo_labels(labels, names, split, images, void)
        if names and (maps == IGNORE).all():
            warn(f"{labels}: labels no pixel of the training images; nothing is learned from it")
    else:
        maps = np.full((len(names), *images.size), IGNORE, np.uint8)
    return _pool(images, Masked(names, maps), seed, "unlabelled")


def _pool(images: Images, masked: Masked, seed: int, title: str, beside: np.ndarray | None = None) -> Pool:
    extents = [images.extent(name) for name in masked.names]
    return Pool(images.stack(masked.names), masked.masks, seed, title, beside, extents, masked.tags)


def _pseudo_labels(path: Path, names: list[str], split: Split, images: Images, void: np.ndarray) -> np.ndarray:
    """The labels (n, H, W) uint8 that a store gives to ``names``, 255 where ``void`` (H, W) says so."""
    with Labels(path) as store:
        store.require(names, images, split.digest)
        stack = [np.where(void, np.uint8(IGNORE), _known(store, name)) for name in names]
    return np.stack(stack) if stack else np.zeros((0, *images.size), np.uint8)


def _known(store: Labels, name: str) -> np.ndarray:
    """The label of one image, every id in it a class or void."""
    label = store.label(name)
    wrong = label[(label >= len(store.class_names)) & (label != IGNORE)]
    if len(wrong):
        raise ArtefactError(
            f"{store.path}: image '{name}' is labelled {wrong[0]}; expected ids below {len(store.class_names)}, or "
            f"{IGNORE}. Run 'dvc repro' to make it again."
        )
    return label


def _informative(masked: Masked) -> Masked:
    """Those images whose mask labels something."""
    kept = (masked.masks != IGNORE).any((1, 2))
    return Masked([name for name, keep in zip(masked.names, kept, strict=True) if keep], masked.masks[kept])
