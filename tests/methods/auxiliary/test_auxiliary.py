"""Worked values of the auxiliary loss and its weights, and what the learner may and may not touch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fewmask.learning.class_weights import class_share, class_weights, count_pixels
from fewmask.learning.learner import Batch, LabelledData, Task
from fewmask.methods.auxiliary.auxiliary import AuxiliaryNetwork, Config, auxiliary_loss, balance
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET

CAMVID = {  # pixels of the 367 training masks; p and weights to the digits of the published statistics
    "sky": (10682767, 0.16845, 4.205, 5.282),
    "building": (14750079, 0.23259, 3.483, 4.148),
    "pole": (623349, 0.00983, 9.596, 20.564),
    "road": (20076880, 0.31658, 2.872, 3.279),
    "pavement": (2845085, 0.04486, 7.392, 12.277),
    "tree": (6166762, 0.09724, 5.555, 7.776),
    "sign": (743859, 0.01173, 9.441, 19.827),
    "fence": (714595, 0.01127, 9.479, 20.001),
    "car": (3719877, 0.05866, 6.791, 10.628),
    "pedestrian": (405385, 0.00639, 9.891, 22.052),
    "bicyclist": (184967, 0.00292, 10.208, 23.797),
}
PIXELS = 63_417_600


def test_weights_of_camvid():
    share = torch.tensor([row[0] / PIXELS for row in CAMVID.values()])
    torch.testing.assert_close(share, torch.tensor([row[1] for row in CAMVID.values()]), atol=6e-6, rtol=0)
    for c, column in ((1.1, 2), (1.04, 3)):
        expected = torch.tensor([row[column] for row in CAMVID.values()])
        torch.testing.assert_close(class_weights(share, c), expected, atol=2e-3, rtol=0)


def test_void_is_in_the_denominator_of_the_class_share():
    """One 2x2 mask, two pixels of class 0, one of class 1, one void: p = 1/2, 1/4. Class 2 is in no image."""
    masks = np.array([[[0, 0], [1, 255]], [[0, 0], [0, 0]]], np.uint8)
    counts = count_pixels(masks, 3)
    assert class_share(counts, "global").tolist() == [6 / 8, 1 / 8, 0]
    assert class_share(counts, "present").tolist() == [6 / 8, 1 / 4, 0]


def test_eq_1_worked():
    """Three pixels: right of class 0 (logit 0), wrong of class 1 (logit ln 3, a = 3/4), void.

    W = (2, 5), gamma = (0.5, 9): 2 * 0.5 * -ln 1/2 = 0.6931;  5 * -ln(1 - 3/4) = 6.9315;  void counts nowhere.
    Mean over the two valid pixels: 3.8123.
    """
    logits = torch.tensor([[[0.0, math.log(3), 50.0]]])
    right = torch.tensor([[[True, False, True]]])
    target = torch.tensor([[[0, 1, 255]]])
    loss = auxiliary_loss(logits, right, target, torch.tensor([2.0, 5.0]), torch.tensor([0.5, 9.0]))
    assert loss.item() == pytest.approx((math.log(2) + 5 * math.log(4)) / 2)


def test_eq_1_uses_the_true_class_not_the_predicted_one():
    """A wrong pixel of class 1 must weigh W_1 whatever was predicted; swapping the weights changes the loss."""
    logits, right, target = torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, dtype=torch.bool), torch.ones(1, 1, 1).long()
    gamma = torch.ones(2)
    loss = auxiliary_loss(logits, right, target, torch.tensor([2.0, 5.0]), gamma)
    assert loss.item() == pytest.approx(5 * math.log(2))


def test_loss_is_finite_where_the_sigmoid_saturates_and_zero_over_nothing():
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    right = torch.tensor([[[False, True]]])
    loss = auxiliary_loss(logits, right, torch.zeros(1, 1, 2).long(), torch.ones(1), torch.ones(1))
    assert loss.item() == pytest.approx(200.0)
    nothing = auxiliary_loss(logits, right, torch.full((1, 1, 2), 255), torch.ones(1), torch.ones(1))
    assert nothing.item() == 0


def test_minimum_of_eq_1_is_one_half_at_the_class_s_own_accuracy():
    """With gamma = FN/TP the best constant a for a class is 1/2: gamma pi / (gamma pi + 1 - pi), pi its recall."""
    right = torch.arange(10)[None, None] < 8  # recall 0.8, gamma 0.25
    gamma = balance(torch.tensor([8]), torch.tensor([2]))
    grid = torch.linspace(-3, 3, 601)
    target = torch.zeros(1, 1, 10).long()
    losses = [auxiliary_loss(torch.full((1, 1, 10), float(z)), right, target, torch.ones(1), gamma) for z in grid]
    assert grid[torch.stack(losses).argmin()].abs() < 0.02


@pytest.mark.parametrize(
    ("positive", "negative", "gamma"),
    [(90, 10, 1 / 9), (10, 90, 9.0), (50, 0, 1e-3), (0, 50, 50.0), (0, 5000, 1e3), (0, 0, 1.0)],
)
def test_gamma_and_its_edges(positive, negative, gamma):
    assert balance(torch.tensor([positive]), torch.tensor([negative])).item() == pytest.approx(gamma)


class Fixed(nn.Module):
    """A segmentation network that answers class 0 wherever the first channel is positive, else class 1."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        self.norm(x)
        return torch.stack([x[:, 0], -x[:, 0]], 1)


class Data(LabelledData):
    def __init__(self, x, y):
        self.pair, self.counts = (x, y), count_pixels(y.numpy().astype(np.uint8), 2)

    def labelled(self):
        yield self.pair


@pytest.fixture
def learner():
    torch.manual_seed(0)
    config = Config.model_validate({"steps": 1, "batch": 1, "optimiser": {"lr": 0.1}, "network": {"width": 0.1}})
    task = Task(["a", "b"], {}, lambda: nn.Identity(), Normalise(*IMAGENET), Fixed())
    return AuxiliaryNetwork(config, task)


def test_gamma_is_counted_over_the_labelled_images(learner):
    """Class 0: 3 of 4 pixels right; class 1: 1 of 3 right; one void pixel. gamma = 1/3 and 2."""
    x = torch.full((1, 3, 2, 4), 1.0)
    y = torch.zeros(1, 2, 4, dtype=torch.long)
    x[0, 0, 0, 0] = -1  # a wrong pixel of class 0
    y[0, 1] = torch.tensor([1, 1, 1, 255])
    x[0, 0, 1, 2] = -1  # the right pixel of class 1
    learner.begin(Data(x, y))
    torch.testing.assert_close(learner.gamma, torch.tensor([1 / 3, 2.0]))
    torch.testing.assert_close(learner.weights, class_weights(torch.tensor([4 / 8, 3 / 8]), 1.04))


def test_the_segmentation_network_stays_as_it_is(learner):
    learner.train()
    before = {name: value.clone() for name, value in learner.segmentation.state_dict().items()}
    batch = Batch(torch.randn(2, 3, 16, 16), torch.randint(0, 2, (2, 16, 16)), torch.zeros(0, 3, 16, 16))
    (update,) = learner.step(batch, 0.0)
    update.loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in learner.segmentation.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.segmentation.parameters())
    assert any(parameter.grad is not None for parameter in learner.net.parameters())
