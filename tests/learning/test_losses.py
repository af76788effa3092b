"""Worked values and properties of the losses that methods share."""

import math

import pytest
import torch
from torch.nn import functional as F

from fewmask.learning.losses import cross_entropy, mean_of_valid


def test_worked_weighted_mean():
    """Two pixels, two classes, weights 1 and 3; logits (0, 0) and (0, ln 3).

    Pixel 1, class 0: -ln 1/2 = 0.6931, weight 1. Pixel 2, class 1: -ln 3/4 = 0.2877, weight 3.
    (0.6931 + 3 * 0.2877) / 4 = 0.3890.
    """
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]])
    target = torch.tensor([[[0, 1]]])
    loss = cross_entropy(logits, target, torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((math.log(2) + 3 * math.log(4 / 3)) / 4)


def test_equals_the_library_where_that_is_defined():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 6, 7))
    target[0, :3] = 255
    weight = torch.rand(5)
    expected = F.cross_entropy(logits, target, weight, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, target, weight), expected)
    torch.testing.assert_close(cross_entropy(logits, target), F.cross_entropy(logits, target, ignore_index=255))


def test_no_pixel_gives_zero_loss_and_zero_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 4, 4), 255), torch.ones(3))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_ignored_pixels_do_not_matter():
    torch.manual_seed(0)
    logits, target = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    target[0, 0] = 255
    before = cross_entropy(logits, target)
    logits[:, :, 0] = 1e6
    assert cross_entropy(logits, target) == before


def test_a_mean_is_of_valid_pixels_and_0_of_none():
    """(1 + 3) / 2; what is ignored may be anything, and has no gradient."""
    each = torch.tensor([[[1.0, math.inf, 3.0]]], requires_grad=True)
    mean = mean_of_valid(each, torch.tensor([[[0, 255, 1]]]))
    assert mean.item() == 2
    mean.backward()
    assert each.grad.tolist() == [[[0.5, 0, 0.5]]]
    assert mean_of_valid(each, torch.full((1, 1, 3), 255)).item() == 0
