"""DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs.

DeepLabv2 (Chen et al., TPAMI 2017), at a single scale and without the CRF, as the semi-supervised papers use it. It has
a ResNet dilated to output stride 8. On its last features, each rate has one 3x3 convolution to the classes; these are
summed.

Choices:
- ``head_rates: [6, 12, 18, 24]`` is the papers'. Their code runs [6, 12], because it returns inside the loop that sums.
  It keeps the unused convolutions among its parameters. Here a rate that is not listed does not exist, and is not taken
  from a published head.
- ``layout: caffe`` is the authors' residual network; torchvision's weights were trained in the other.
- The head's weights start from N(0, 0.01), its biases from PyTorch's default. An encoder without weights keeps
  torchvision's initialisation (the code: also N(0, 0.01)).
- The code always fixes the affine parameters of batch norm. Here a training's ``batch_norm`` fixes them.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fewmask.core.progress import say
from fewmask.nets.base.encoders import EncoderConfig, encoder_backbone
from fewmask.nets.base.segnet import Backbone, Head, SegNet
from fewmask.nets.base.weights import NAMED, State, fill, normalisation, read_state

__all__ = ["Config", "build", "normalisation"]

STD = 0.01  # of the head's initial weights
WRAPPERS = re.compile(r"^(module\.|Scale\.)+")  # data parallelism; the network at one of several scales
PUBLISHED_HEAD, PUBLISHED_RATES = "layer5.conv2d_list.", (6, 12, 18, 24)


class Config(EncoderConfig):
    """Encoder and head.

    A file of ``weights`` may also hold a whole network, in the layout of the published COCO checkpoint.
    """

    name: Literal["deeplabv2"] = "deeplabv2"
    encoder: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet101"
    output_stride: Literal[8, 16, 32] = 8
    layout: Literal["torchvision", "caffe"] = "caffe"
    head_rates: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = (6, 12, 18, 24)  # YAML: a list


class Classifier(Head):
    """Parallel 3x3 convolutions at several rates, summed."""

    def __init__(self, inputs: int, classes: int, rates: tuple[int, ...]):
        super().__init__()
        branches = [nn.Conv2d(inputs, classes, 3, padding=rate, dilation=rate) for rate in rates]
        for branch in branches:
            nn.init.normal_(branch.weight, std=STD)
        self.channels = inputs
        self.branches = nn.ModuleList(branches)

    def embed(self, features: list[Tensor]) -> Tensor:
        """Features of every block -> the last (B, inputs, h, w)."""
        return features[-1]

    def score(self, embedding: Tensor) -> Tensor:
        """(B, inputs, h, w) -> logits (B, classes, h, w)."""
        first, *others = (branch(embedding) for branch in self.branches)
        return sum(others, first)


def build(config: Config, classes: int) -> SegNet:
    """x (B, 3, H, W) -> logits (B, classes, H, W)."""
    encoder, published = _states(config)
    made = encoder_backbone(config, encoder)
    top = head(config, made, classes)
    if published:
        _fill_head(top, config, published, classes)
    return SegNet(made.blocks, top, align_corners=True)


def head(config: Config, backbone: Backbone, classes: int) -> Head:
    return Classifier(backbone.channels[-1], classes, config.head_rates)


def _states(config: Config) -> tuple[State | None, State]:
    """What the weights' file holds for the encoder and for the head; no file, or none of a head: None, nothing."""
    if config.weights is None or config.weights in NAMED:
        return None, {}
    state = {WRAPPERS.sub("", key): value for key, value in read_state(config.weights).items()}
    top = {key.removeprefix(PUBLISHED_HEAD): state[key] for key in state if key.startswith(PUBLISHED_HEAD)}
    return {key: state[key] for key in state if not key.startswith(PUBLISHED_HEAD)}, top


def _fill_head(head: nn.Module, config: Config, state: State, classes: int) -> None:
    """Fill each branch from that of its rate in a file, where classes and rates fit; else say that none was filled."""
    source, rates = config.weights, config.head_rates
    found = max((len(value) for value in state.values() if value.dim()), default=0)
    if found != classes or not set(rates) <= set(PUBLISHED_RATES):
        say(
            f"{source}: its head has {found} classes at the rates {list(PUBLISHED_RATES)}, the network's {classes} at "
            f"{list(rates)}; the encoder was filled, the head starts anew."
        )
        return
    names = {str(i): f"branches.{rates.index(rate)}" for i, rate in enumerate(PUBLISHED_RATES) if rate in rates}
    unused = {str(i) for i in range(len(PUBLISHED_RATES))} - set(names)
    parts = {key: key.partition(".") for key in state}
    named = {f"{names.get(i, i)}.{kind}": state[key] for key, (i, _, kind) in parts.items() if i not in unused}
    fill(head, named, f"{source}: its head")
