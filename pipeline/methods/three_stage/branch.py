"""The multi-task network of "A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation" (Fig. 1).

A second branch, for a second task, leaves a segmentation network's backbone; prediction uses the first alone.

Choices: own blocks have no batch norm; in the authors' code it is frozen at its initial identity. The code draws their
weights from N(0, 0.01), which leaves a narrow block nearly dead; here each layer keeps the scale of what it is given.
The branch has C outputs (the paper), not C + 1 (the code, one never a target).
"""

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fewmask.core.errors import ConfigError
from fewmask.core.params import Section
from fewmask.nets.base.published import network_module
from fewmask.nets.base.segnet import Backbone, SegNet, measured, run_blocks

UNITS = 3  # bottlenecks of an own block, as many as conv5 has


class BranchConfig(Section):
    """``own_blocks`` is k of N - k shared ones: 1 is a head of its own, 2 a last block and a head (Table VII).

    ``width`` multiplies the channels of own blocks; the paper's conv6 is half as wide as conv5.
    """

    own_blocks: PositiveInt = 1
    width: PositiveFloat = Field(default=0.5, le=4)


class TwoBranches(nn.Module):
    """f and g: x -> logits of the segmentation network ``net`` and of the branch, both at the input's size."""

    def __init__(self, net: SegNet, shared: int, blocks: nn.ModuleList, head: nn.Module):
        super().__init__()
        self.net, self.shared, self.own_blocks, self.own_head = net, shared, blocks, head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W) -> two times (B, C, H, W); the shared blocks run once."""
        features = self.net.features(x)
        shared = features[: self.shared]
        own = run_blocks(self.own_blocks, shared[-1])
        logits = self.net.head(features), self.own_head([*shared, *own])
        first, second = (self.net.enlarged(each, x.shape[2:]) for each in logits)
        return first, second


def with_branch(net: nn.Module, network: dict[str, Any], config: BranchConfig, classes: int) -> TwoBranches:
    """Grow a second branch, freshly initialised, on ``net``, which was built from the section ``network``.

    Raises:
        ConfigError: more own blocks than the network can share the rest of.
    """
    assert isinstance(net, SegNet), "every network that segments images is a SegNet"
    backbone = measured(net.blocks)
    count = len(backbone.blocks)
    shared = count - (config.own_blocks - 1)
    if shared < 1:
        raise ConfigError(
            f"branch.own_blocks: found {config.own_blocks}; '{network['name']}' has {count} block(s) and a head, and "
            f"the first block must be shared: expected at most {count}. Lower it."
        )
    module = network_module(network["name"])
    channels = backbone.channels[:shared] + [max(4, round(c * config.width)) for c in backbone.channels[shared:]]
    strides = [1, *(after // before for before, after in pairwise(backbone.strides))]
    own = [
        residual_block(channels[i - 1], channels[i], strides[i], _rate(backbone.blocks[i]))
        for i in range(shared, count)
    ]
    head = module.head(
        module.Config.model_validate(network), Backbone(backbone.blocks, channels, backbone.strides), classes
    )
    return TwoBranches(net, shared, nn.ModuleList(own), head)


def residual_block(inputs: int, outputs: int, stride: int, rate: int) -> nn.Sequential:
    """conv6: x (B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
    units = [Bottleneck(inputs, outputs, stride, rate, conv(inputs, outputs, 1, stride))]
    units += [Bottleneck(outputs, outputs, 1, rate, nn.Identity()) for _ in range(UNITS - 1)]
    return nn.Sequential(*units)


class Bottleneck(nn.Module):
    """1x1, dilated 3x3, 1x1 and a skip connection, without batch norm; the first skip of a block is a 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int, rate: int, skip: nn.Module):
        super().__init__()
        planes = max(1, outputs // 4)
        self.body = nn.Sequential(
            conv(inputs, planes, 1, stride, into="relu"),
            nn.ReLU(inplace=True),
            conv(planes, planes, 3, 1, rate, into="relu"),
            nn.ReLU(inplace=True),
            conv(planes, outputs, 1),
        )
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.body(x) + self.skip(x))


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, rate: int = 1, into: Literal["relu", "linear"] = "linear"
) -> nn.Conv2d:
    """A convolution without bias, whose weights keep the mean square of a map through it and what it leads ``into``."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, rate * (kernel // 2), rate, bias=False)
    nn.init.kaiming_normal_(made.weight, nonlinearity=into)
    return made


def _rate(block: nn.Module) -> int:
    """The dilation of the block that an own one stands beside."""
    return max(layer.dilation[0] for layer in block.modules() if isinstance(layer, nn.Conv2d))
