"""From stores to batches: who is labelled, with which masks, and who is not. One builder for each kind of batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fewmask.core.errors import ArtefactError, DataError
from fewmask.core.masks import IGNORE
from fewmask.core.progress import warn
from fewmask.learning.batches import Batches, Pool, SourceSteps, Stream
from fewmask.learning.config import (
    FitConfig,
    JoinedConfig,
    JoinedLabelsConfig,
    StoredLabelsConfig,
    TwoDomainsConfig,
    UnlabelledConfig,
)
from fewmask.nets.base.normalise import Normalise
from fewmask.stores.images import Images, require_same_classes
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split


@dataclass(frozen=True)
class TrainingData:
    """What every builder takes: images, who of them is labelled, and the images of a source domain, if there is one.

    A true mask is read for labelled images only, and for those of the source domain, if a share of the steps is its.
    """

    images: Images
    split: Split
    normalise: Normalise
    seed: int
    source: Images | None = None
    device: torch.device | str = "cpu"


class Masked(NamedTuple):
    """Ids of images, their masks (n, H, W) uint8 and, where they have any, their tags (n, C) uint8 of 0 and 1."""

    names: list[str]
    masks: np.ndarray
    tags: np.ndarray | None = None


def labelled_batches(data: TrainingData, config: FitConfig) -> Batches:
    """Batches of the labelled images with their masks, and of unlabelled ones.

    Raises:
        DataError: no labelled pixel at all; no unlabelled image or no source domain, where the config wants one; or a
            source domain of other classes or, without views.crop, of another size.
    """
    true = _labelled(data, config)
    return _assembled(data, config, true, [_stream(data, config, true)], _unlabelled(data, config))


def joined_batches(data: TrainingData, config: JoinedLabelsConfig, store: Path) -> Batches:
    """The same, where unlabelled images count as labelled, with the pseudo-labels of a store for masks.

    Images without a single label are left out: a filter that keeps nothing gives exactly the supervised training.

    Raises:
        DataError: as ``labelled_batches``.
        ArtefactError: a store that lacks images, or is of another class list, size or split, or damaged.
    """
    true, names = _labelled(data, config), data.split.unlabelled
    joined = _informative(Masked(names, _pseudo_labels(data, store, names, _void(data, config, true))))
    return _assembled(data, config, true, _joined_streams(data, config, true, joined), _unlabelled(data, config))


def pseudo_labelled_batches(data: TrainingData, config: StoredLabelsConfig, store: Path) -> Batches:
    """The same, where every image has a pseudo-label of a store beside its mask, if it has one.

    Raises:
        DataError, ArtefactError: as ``joined_batches``.
    """
    true, names = _labelled(data, config), _names_of_unlabelled(data.split, config)
    void = _void(data, config, true)
    beside = _pseudo_labels(data, store, true.names, void)
    labels = _pseudo_labels(data, store, names, void)
    if names and (labels == IGNORE).all():
        warn(f"{store}: labels no pixel of the training images; nothing is learned from it")
    unlabelled = _pool(data.images, Masked(names, labels), data.seed, "unlabelled")
    return _assembled(data, config, true, [_stream(data, config, true, beside)], unlabelled)


def tagged_batches(data: TrainingData, config: JoinedConfig) -> Batches:
    """The same, where batches say which classes each labelled image shows.

    Unlabelled images that have tags count as labelled, too, with void masks. Left out are images whose true mask is
    void all over: nobody said what they show.

    Raises:
        DataError: as ``labelled_batches``.
    """
    true = _shown(_informative(_labelled(data, config)), data.images)
    joined = _tagged(data.images, data.split)
    return _assembled(data, config, true, _joined_streams(data, config, true, joined), _unlabelled(data, config))


def require_unlabelled(trainings: Mapping[str, FitConfig], split: Split) -> None:
    """Refuse a split without unlabelled images where trainings, by name, learn from some.

    Raises:
        DataError: with the names.
    """
    learning = {name: config for name, config in trainings.items() if isinstance(config, UnlabelledConfig)}
    wanting = [name for name, config in learning.items() if config.unlabelled and config.unlabelled_pool != "all"]
    if wanting and not split.unlabelled:
        found = f"split: no unlabelled image; expected some for {', '.join(wanting)}"
        remedy = "Add images, label fewer, set unlabelled_pool: all, or run 'dvc repro evaluate@supervised' alone."
        raise DataError(f"{found}. {remedy}")


def require_source(config: FitConfig, given: bool, found: str) -> None:
    """Refuse to learn from a source domain that is not ``given``; ``found`` says what is there instead.

    Raises:
        DataError: with the share of the steps that has nothing to learn from.
    """
    if isinstance(config, TwoDomainsConfig) and config.source and not given:
        expected = "expected a labelled data set in dataset.source. Name one there, or set source: 0."
        raise DataError(f"source: {config.source} of the steps, but {found}; {expected}")


def require_one_size(config: FitConfig, source: Sequence[int], target: Sequence[int], where: str) -> None:
    """Refuse two domains of two sizes (height, width) where no crop brings them to one.

    Raises:
        DataError: ``where`` the source domain's images are from, and both sizes.
    """
    mixed = isinstance(config, TwoDomainsConfig) and config.source and config.views.crop is None
    if mixed and tuple(source) != tuple(target):
        expected = f"expected the target's {list(target)}, as there is no views.crop"
        raise DataError(f"{where}: images of {list(source)}; {expected}. Set views.crop, or dataset.source.size.")


def _assembled(
    data: TrainingData, config: FitConfig, true: Masked, streams: Sequence[Stream], unlabelled: Pool
) -> Batches:
    """Batches of these streams, with the source domain's steps; classes that no labelled image shows are warned of."""
    names, source = data.images.class_names, _source_steps(data, config)
    stream = unlabelled, config.unlabelled if isinstance(config, UnlabelledConfig) else 0
    count = len(true.names)
    batches = Batches(streams, count, stream, config.views, data.normalise, len(names), data.device, source)
    for number in np.flatnonzero(batches.counts.per_class == 0).tolist():
        elsewhere = source and any(mask.eq(number).any() for mask in source.stream[0].masks)
        learned = "it is learned from the source domain alone" if elsewhere else "it cannot be learned"
        warn(f"class '{names[number]}' is in no labelled image; {learned}")
    return batches


def _labelled(data: TrainingData, config: FitConfig) -> Masked:
    """The labelled images; unlabelled ones that are wanted must be there."""
    true = Masked(list(data.split.labelled), _true_masks(data.images, data.split.labelled))
    require_unlabelled({"this training": config}, data.split)
    return true


def _names_of_unlabelled(split: Split, config: FitConfig) -> list[str]:
    """Who x_u are: U, or L and U together; nobody where nothing learns from them."""
    if not isinstance(config, UnlabelledConfig) or not config.unlabelled:
        return []
    return [*split.labelled, *split.unlabelled] if config.unlabelled_pool == "all" else list(split.unlabelled)


def _unlabelled(data: TrainingData, config: FitConfig) -> Pool:
    """The images of x_u with void masks: their true ones are never read."""
    names = _names_of_unlabelled(data.split, config)
    void = np.full((len(names), *data.images.size), IGNORE, np.uint8)
    return _pool(data.images, Masked(names, void), data.seed, "unlabelled")


def _stream(data: TrainingData, config: FitConfig, masked: Masked, beside: np.ndarray | None = None) -> Stream:
    """One shuffled set, from which all labelled images of a batch are drawn."""
    return _pool(data.images, masked, data.seed, "labelled", beside), config.batch


def _joined_streams(data: TrainingData, config: JoinedConfig, true: Masked, joined: Masked) -> list[Stream]:
    """One shuffled set of true and joined images, or, where params ask for it, a fixed number of each."""
    if config.pseudo is None or not joined.names:
        tags = None if true.tags is None or joined.tags is None else np.concatenate([true.tags, joined.tags])
        both = Masked(true.names + joined.names, np.concatenate([true.masks, joined.masks]), tags)
        return [_stream(data, config, both)]
    labelled, more = (
        _pool(data.images, masked, data.seed, title) for masked, title in ((true, "labelled"), (joined, "joined"))
    )
    return [(labelled, config.batch - config.pseudo), (more, config.pseudo)]


def _source_steps(data: TrainingData, config: FitConfig) -> SourceSteps | None:
    """The source domain's share of the steps; it is not read where there is none."""
    if not isinstance(config, TwoDomainsConfig) or not config.source:
        return None
    source, images = data.source, data.images
    require_source(config, source is not None, "the stage is given no --source")
    assert source is not None
    require_source(config, bool(source.ids), f"{source.path} holds no image")
    require_same_classes(source.class_names, images.class_names)
    require_one_size(config, source.size, images.size, str(source.path))
    pool = _pool(source, Masked(source.ids, _true_masks(source, source.ids)), data.seed, "source")
    return SourceSteps((pool, config.batch), config.source, round(config.source_until * config.steps))


def _pool(images: Images, masked: Masked, seed: int, title: str, beside: np.ndarray | None = None) -> Pool:
    extents = [images.extent(name) for name in masked.names]
    return Pool(images.stack(masked.names), masked.masks, seed, title, beside, extents, masked.tags)


def _true_masks(images: Images, names: Sequence[str]) -> np.ndarray:
    masks = images.stack(names, "mask")
    if not (masks < len(images.class_names)).any():
        raise DataError(
            f"{images.path}: the {len(names)} labelled images have no labelled pixel; expected some. Fix the masks."
        )
    return masks


def _informative(masked: Masked) -> Masked:
    """Those images whose mask labels something."""
    kept = (masked.masks != IGNORE).any((1, 2))
    return Masked([name for name, keep in zip(masked.names, kept, strict=True) if keep], masked.masks[kept])


def _shown(masked: Masked, images: Images) -> Masked:
    """The same, tagged with the classes that each mask shows."""
    classes = np.arange(len(images.class_names))
    return masked._replace(tags=np.stack([np.isin(classes, mask) for mask in masked.masks]).astype(np.uint8))


def _tagged(images: Images, split: Split) -> Masked:
    """The unlabelled images that have tags, with void masks: their true ones are never read."""
    names = [name for name in split.unlabelled if name in images.tagged]
    tags = images.tags[[images.index[name] for name in names]]
    return Masked(names, np.full((len(names), *images.size), IGNORE, np.uint8), tags)


def _void(data: TrainingData, config: StoredLabelsConfig, true: Masked) -> np.ndarray:
    """Where pseudo-labels are void, whatever a store says: (H, W) bool."""
    return (true.masks == IGNORE).all(0) if config.fixed_void else np.zeros(data.images.size, bool)


def _pseudo_labels(data: TrainingData, path: Path, names: list[str], void: np.ndarray) -> np.ndarray:
    """The labels (n, H, W) uint8 that a store gives to ``names``, 255 where ``void`` (H, W) says so."""
    with Labels(path) as store:
        store.require(names, data.images, data.split.digest)
        stack = [np.where(void, np.uint8(IGNORE), _known(store, name)) for name in names]
    return np.stack(stack) if stack else np.zeros((0, *data.images.size), np.uint8)


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
