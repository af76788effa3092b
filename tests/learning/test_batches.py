"""Batches are a function of (seed, step); every image comes once an epoch; true masks alone are counted."""

import numpy as np
import torch

from pipeline.learning.batches import Batches, Pool, count_pixels
from pipeline.views.weak import Normalise, WeakViews

UNIT = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3)


def pool(count: int, seed: int = 0, name: str = "labelled") -> Pool:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    return Pool(images, np.arange(count, dtype=np.uint8)[:, None, None] % 3 * np.ones((1, 4, 6), np.uint8), seed, name)


def batches(count: int = 5, batch: int = 2, seed: int = 0) -> Batches:
    still = WeakViews(scales=[1.0], flip=0, shift=0)
    return Batches([(pool(count, seed), batch)], 3, (pool(4, seed, "unlabelled"), 3), still, UNIT, 3)


def test_each_image_once_an_epoch_and_in_another_order_the_next():
    one = pool(7)
    epochs = [one.indices(start, 7) for start in (0, 7)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 2
    assert epochs[0] != epochs[1]
    assert one.indices(5, 4) == epochs[0][5:] + epochs[1][:2]


def test_a_batch_larger_than_the_pool_wraps():
    assert batches(count=3, batch=8)(0).x_l.shape == (8, 3, 4, 6)


def test_a_function_of_seed_and_step():
    first, second = batches(), batches()
    second(0), second(1)
    assert torch.equal(first(2).x_l, second(2).x_l)
    assert torch.equal(first(2).x_u, second(2).x_u)
    assert not all(torch.equal(first(step).x_l, batches(seed=1)(step).x_l) for step in range(4))


def test_images_keep_their_masks():
    batch = batches()(3)
    assert torch.equal(batch.x_l[:, 0].round().long() % 3, batch.y_l)
    assert batch.y_l.dtype == torch.int64


def test_labelled_gives_true_masks_only_in_order():
    x, y = next(batches().labelled())
    assert x[:, 0, 0, 0].round().tolist() == [0, 1, 2]
    assert y[:, 0, 0].tolist() == [0, 1, 2]
    assert batches().counts.total == 3 * 24


def test_counts():
    """Class 0: 3 pixels in one image; class 1: 2 pixels in both; void 3; images of 4 pixels."""
    counts = count_pixels(np.array([[[0, 0], [0, 1]], [[1, 255], [255, 255]]], np.uint8), 3)
    assert counts.per_class.tolist() == [3, 2, 0]
    assert counts.where_present.tolist() == [4, 8, 0]
    assert counts.total == 8
