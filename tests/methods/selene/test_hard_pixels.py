"""Online hard example mining: which pixels are hard, and that no others count."""

import math

import pytest
import torch

from fewmask.learning.losses import cross_entropy
from fewmask.methods.selene.hard_pixels import hard_pixels, ohem_cross_entropy


def of_probabilities(*own: float) -> torch.Tensor:
    """Logits (1, 2, 1, n) that give class 1 these probabilities."""
    p = torch.tensor(own)
    return torch.stack([(1 - p).log(), p.log()])[None, :, None]


def test_worked_hard_pixels():
    """Probabilities .9, .6, .2, .8 of the labelled class, threshold .7: two pixels count, (-ln .6 - ln .2) / 2.

    Of three that have to be kept, .8 is the third: (-ln .6 - ln .2 - ln .8) / 3.
    """
    logits, target = of_probabilities(0.9, 0.6, 0.2, 0.8), torch.ones(1, 1, 4, dtype=torch.long)
    two = ohem_cross_entropy(logits, target, threshold=0.7, kept=1)
    assert two.item() == pytest.approx(-math.log(0.6 * 0.2) / 2)
    three = ohem_cross_entropy(logits, target, threshold=0.7, kept=3)
    assert three.item() == pytest.approx(-math.log(0.6 * 0.2 * 0.8) / 3)
    assert hard_pixels(logits, target, 0.7, 1).tolist() == [[[255, 1, 1, 255]]]


def test_the_kept_ones_are_of_the_batch_together():
    """One of each of two images, and both are in the first: .3 and .4; the second's .8 and .9 are easy."""
    logits = torch.cat([of_probabilities(0.4, 0.3), of_probabilities(0.8, 0.9)])
    assert hard_pixels(logits, torch.ones(2, 1, 2, dtype=torch.long), 0.1, 1).tolist() == [[[1, 1]], [[255, 255]]]


def test_hard_pixels_have_the_weight_of_their_class():
    """Class 1 of .5 and weight 3, class 0 of .25 and weight 1: (3 ln 2 + ln 4) / 4; the third is easy."""
    logits, target = of_probabilities(0.5, 0.75, 0.9), torch.tensor([[[1, 0, 1]]])
    loss = ohem_cross_entropy(logits, target, torch.tensor([1.0, 3.0]), threshold=0.7, kept=1)
    assert loss.item() == pytest.approx((3 * math.log(2) + math.log(4)) / 4)


@pytest.mark.parametrize("kept", [1, 3, 4, 100])
def test_void_is_never_hard_pixels(kept):
    """Three of four are void: the minimum cannot be kept, and the easy one is all there is."""
    logits = of_probabilities(0.9, 0.1, 0.1, 0.1).requires_grad_()
    target = torch.tensor([[[1, 255, 255, 255]]])
    loss = ohem_cross_entropy(logits, target, threshold=0.7, kept=kept)
    assert loss.item() == pytest.approx(-math.log(0.9))
    loss.backward()
    assert logits.grad[..., 1:].abs().sum() == 0


def test_no_pixel_is_no_hard_pixel():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = ohem_cross_entropy(logits, torch.full((2, 4, 4), 255), threshold=0.7, kept=2)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(("threshold", "kept"), [(1.0, 1), (0.1, 24), (0.1, 50_000)])
def test_all_pixels_may_be_hard_pixels(threshold, kept):
    """By a threshold that all are below, or as many to keep as an image has, or more."""
    torch.manual_seed(0)
    logits, target = torch.randn(2, 5, 4, 6), torch.randint(0, 5, (2, 4, 6))
    target[0, 0] = 255
    weight = torch.rand(5)
    found = ohem_cross_entropy(logits, target, weight, threshold=threshold, kept=kept)
    assert found == cross_entropy(logits, target, weight)


def test_to_be_hard_has_no_gradient():
    """It is that of cross-entropy with the easy pixels void."""
    torch.manual_seed(0)
    first, second = (torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    target = torch.randint(0, 5, (2, 4, 6))
    ohem_cross_entropy(first.requires_grad_(), target, threshold=0.1, kept=5).backward()
    chosen = hard_pixels(second, target, 0.1, 5)
    assert 10 <= (chosen != 255).sum() < 40
    cross_entropy(second.requires_grad_(), chosen).backward()
    assert torch.equal(first.grad, second.grad)
