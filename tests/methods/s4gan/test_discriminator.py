"""The discriminator: the sizes of the released one, any crop, whole channels dropped, true maps as one-hot vectors."""

import pytest
import torch
from torch.nn import functional as F

from fewmask.costs.macs import parameters
from fewmask.methods.s4gan.discriminator import Discriminator, DiscriminatorConfig, one_hot


def test_the_released_parameter_count():
    """2.78 M at 21 classes: four 4x4 convolutions with bias and one linear layer."""
    expected = sum(16 * i * o + o for i, o in ((24, 64), (64, 128), (128, 256), (256, 512))) + 513
    assert parameters(Discriminator(21, DiscriminatorConfig())) == expected == 2_778_561


@pytest.mark.parametrize(("size", "window"), [((321, 321), (20, 20)), ((256, 512), (16, 32))])
def test_the_average_is_that_of_the_released_windows(size, window):
    net = Discriminator(2, DiscriminatorConfig(width=0.05)).eval()
    pairs = torch.rand(1, 5, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = net.body(pairs)
        assert maps.shape[2:] == window
        expected = F.avg_pool2d(maps, window).flatten(1)
        torch.testing.assert_close(net(pairs)[1], expected)
        torch.testing.assert_close(net(pairs)[0], net.score(expected)[:, 0])


@pytest.mark.parametrize("size", [(16, 16), (33, 65), (96, 128)])
def test_any_crop_will_do(size):
    logits, features = Discriminator(3, DiscriminatorConfig(width=0.1))(torch.rand(2, 6, *size))
    assert logits.shape == (2,)
    assert features.shape == (2, 51)


def test_whole_channels_are_dropped_after_three_convolutions_of_four():
    net = Discriminator(3, DiscriminatorConfig(width=0.1))
    kinds = [type(module).__name__ for module in net.body]
    assert kinds == ["Conv2d", "LeakyReLU", "Dropout2d"] * 3 + ["Conv2d", "LeakyReLU"]
    torch.manual_seed(0)
    maps = net.train().body[:3](torch.rand(4, 6, 32, 32))
    dropped = (maps == 0).flatten(2).all(2)
    assert 0.2 < dropped.float().mean() < 0.8
    assert not (maps == 0)[~dropped].any()
    first, again = (net.eval()(torch.ones(1, 6, 32, 32))[0] for _ in range(2))
    assert torch.equal(first, again)


def test_one_hot_leaves_out_what_is_ignored():
    labels = torch.tensor([[[0, 2], [255, 1]]])
    expected = torch.tensor([[[[1.0, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 0]]]])
    assert torch.equal(one_hot(labels, 3), expected)
