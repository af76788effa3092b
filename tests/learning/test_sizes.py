"""What is too small for a layer is refused before it runs, and nothing else is."""

import pytest
import torch
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.learning.sizes import sizes_checked


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_needs_two_values_a_channel_to_learn_from(count, training):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train(training)
    with sizes_checked(net):
        if count == 1 and training:
            with pytest.raises(ConfigError, match=r"batch: too small for batch norm .* \[1, 4, 1, 1\], one value a"):
                net(torch.zeros(1, 3, 1, 1))
        else:
            assert net(torch.zeros(count, 3, 1, 1)).shape == (count, 4, 1, 1)


def test_batch_norm_without_running_statistics_needs_them_always():
    net = nn.BatchNorm1d(4, track_running_stats=False).eval()
    with sizes_checked(net), pytest.raises(ConfigError, match="batch: too small"):
        net(torch.zeros(1, 4))


LAYERS = [
    nn.AvgPool2d(2),
    nn.AvgPool2d(2, ceil_mode=True),
    nn.AvgPool2d(3, stride=2, padding=1),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.MaxPool2d(2, dilation=2),
    nn.MaxPool2d(4, stride=3, ceil_mode=True),
    nn.Conv2d(1, 1, 4, stride=2, padding=1),
    nn.Conv2d(1, 1, 3, dilation=2),
    nn.Conv2d(1, 1, (1, 3), padding=(0, 1)),
    nn.Conv2d(1, 1, 3, padding="same"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (3, 2), (4, 4), (5, 5)])
def test_a_window_is_refused_exactly_where_pytorch_refuses_it(layer, size):
    x = torch.zeros(1, 1, *size)
    try:
        layer(x)
    except RuntimeError:
        with sizes_checked(layer), pytest.raises(ConfigError, match=r"views.crop, size or dataset.size: what this"):
            layer(x)
    else:
        with sizes_checked(layer):
            layer(x)


def test_layers_are_asked_inside_the_block_alone():
    net = nn.BatchNorm2d(4)
    with sizes_checked(net):
        pass
    with pytest.raises(ValueError, match="more than 1 value"):
        net(torch.zeros(1, 4, 1, 1))
