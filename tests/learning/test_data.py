"""Who is labelled, with which masks: true masks of labelled images alone, pseudo-labels for the joined ones."""

import numpy as np
import pytest

from pipeline.core.errors import ArtefactError, DataError
from pipeline.datasets.split import Split
from pipeline.learning.data import open_batches
from pipeline.learning.fit import FitConfig
from pipeline.stores.images import Images
from pipeline.stores.labels import Labelled
from pipeline.views.weak import Normalise

UNIT = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3)
STILL = {"scales": [1.0], "flip": 0.0, "shift": 0}


def config(**changes) -> FitConfig:
    return FitConfig.model_validate({"steps": 1, "batch": 4, "optimiser": {"lr": 0.1}, "views": STILL, **changes})


@pytest.fixture
def images(image_store):
    with Images(image_store(train=6, validation=1, test=1)) as store:
        yield store


@pytest.fixture
def split(images):
    return Split(0, images.ids[:2], images.ids[2:6], images.ids[6:7], images.ids[7:], "test")


def constant(stems, value, size=(12, 16)) -> list[Labelled]:
    return [Labelled(stem, np.full(size, value, np.uint8), np.zeros(size, np.uint8)) for stem in stems]


def test_joined_images_are_one_shuffled_set_and_count_for_no_weight(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 2))
    alone = open_batches(images, split, config(), UNIT, seed=0)
    joined = open_batches(images, split, config(), UNIT, seed=0, join=store)
    ((pool, count),) = joined.streams
    assert (len(pool.images), count) == (6, 4)
    assert (pool.masks[2:] == 2).all()
    assert np.array_equal(pool.masks[:2].numpy(), images.stack(split.labelled, "mask"))
    assert joined.counts.per_class.tolist() == alone.counts.per_class.tolist()
    assert joined.counts.total == alone.counts.total


def test_a_fixed_number_of_pseudo_labelled_images_a_batch(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 2))
    batches = open_batches(images, split, config(pseudo=1), UNIT, seed=0, join=store)
    y = batches(0).y_l
    assert len(y) == 4
    assert (y[3] == 2).all()
    true = images.stack(split.labelled, "mask").tolist()
    assert all(mask.tolist() in true for mask in y[:3])


def test_joining_nothing_gives_the_supervised_batches(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 255))
    alone = open_batches(images, split, config(), UNIT, seed=0)
    for pseudo in (None, 2):
        joined = open_batches(images, split, config(pseudo=pseudo), UNIT, seed=0, join=store)
        assert all((joined(step).x_l == alone(step).x_l).all() for step in range(3))
        assert all((joined(step).y_l == alone(step).y_l).all() for step in range(3))


def test_a_store_of_another_split_or_class_list_is_refused_before_training(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled[1:], 0))
    with pytest.raises(ArtefactError, match=r"lacks 1 of 4 images, such as 'i002'"):
        open_batches(images, split, config(), UNIT, seed=0, join=store)
    images.class_names = ["sky", "road", "lorry"]
    with pytest.raises(ArtefactError, match=r"expected .*lorry"):
        open_batches(images, split, config(), UNIT, seed=0, join=store)


def test_masks_without_a_label_are_refused(image_store, image_rows):
    rows = [(name, role, image, np.full_like(mask, 255)) for name, role, image, mask in image_rows(train=2)]
    with Images(image_store(rows=rows)) as images, pytest.raises(DataError, match="no labelled pixel"):
        open_batches(images, Split(0, images.ids[:2], [], [], [], "test"), config(), UNIT, seed=0)


def test_unlabelled_images_are_wanted_but_there_are_none(images, split):
    bare = Split(0, split.labelled, [], split.validation, split.test, "test")
    with pytest.raises(DataError, match="no unlabelled image"):
        open_batches(images, bare, config(unlabelled=2), UNIT, seed=0)
