"""A segmentation network and a tagger as one network: classes that an image does not show win no pixel.

Eq. (7) of "Semi-Supervised Semantic Segmentation with High- and Low-level Consistency": S(x)_c = 0 if G(x)_c <= tau,
else S(x)_c. S(x)_c is the probability map of class c, and G(x)_c the tagger's probability that c is in x. The rules of
pixels (Table 5) need no tagger: they drop a class that is predicted on few pixels of an image.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from fewmask.core.params import Section
from fewmask.methods.mlmt.tagger import Config as TaggerConfig
from fewmask.methods.mlmt.tagger import Tagger
from fewmask.methods.mlmt.tagger import build as build_tagger
from fewmask.nets.base.published import Model, network_module
from fewmask.nets.base.segnet import SegNet

Thresholds = list[float | int | None]  # one for each class; None: the class is never dropped


class Config(Section):
    """``network`` and ``tagger`` are the sections of both parts; ``tagger: null`` is a rule of pixels.

    ``thresholds`` has one for each class: a score to exceed, or a number of pixels to reach; null keeps the class.
    """

    name: Literal["fused"] = "fused"
    network: dict[str, Any]
    tagger: TaggerConfig | None = None
    thresholds: Thresholds


class Rule(nn.Module):
    """Which classes an image keeps: by the scores of a tagger, or without one by the pixels that the classes win."""

    bounds: Tensor

    def __init__(self, tagger: Tagger | None, thresholds: Thresholds):
        super().__init__()
        self.tagger, self.thresholds = tagger, thresholds
        reached = 0 if tagger else 1  # as many pixels as the threshold are enough, an equal score is not
        bounds = torch.tensor([-1 if each is None else each - reached for each in thresholds])
        self.register_buffer("bounds", bounds, persistent=False)

    def forward(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W), logits (B, C, H, W) -> what the thresholds are for (B, C), and kept classes (B, C) bool.

        The former are the tagger's probabilities, float32, or numbers of pixels, int64.
        """
        found = pixel_counts(logits) if self.tagger is None else self.tagger(x).float().sigmoid()
        return found, kept(found, self.bounds)


class Fused(SegNet):
    """The blocks and head of ``net``, whose logits pass ``rule``."""

    def __init__(self, net: SegNet, rule: Rule):
        super().__init__(net.blocks, net.head, net.align_corners)
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) normalised -> logits (B, C, H, W), those of dropped classes -inf."""
        logits = super().forward(x)
        return masked(logits, self.rule(x, logits)[1])


def build(config: Config, classes: int) -> Fused:
    """A network of a published model's section."""
    module = network_module(config.network["name"])
    net = module.build(module.Config.model_validate(config.network), classes)
    tagger = build_tagger(config.tagger, classes) if config.tagger else None
    return Fused(net, Rule(tagger, config.thresholds))


def fuse(model: Model, tagger: Model | None, thresholds: Thresholds) -> tuple[Config, Fused]:
    """The section and the network of published models; without a tagger, ``thresholds`` are numbers of pixels."""
    net, judge = model.net, tagger.net if tagger else None
    assert isinstance(net, SegNet)
    assert judge is None or isinstance(judge, Tagger)
    section = {"network": model.header.network, "tagger": tagger and tagger.header.network, "thresholds": thresholds}
    return Config.model_validate(section), Fused(net, Rule(judge, thresholds))


def kept(found: Tensor, bounds: float | Tensor) -> Tensor:
    """found (B, C) > bounds, a number, (C,) or (B, C) -> bool (B, C); an image where no class is keeps them all."""
    above = found > bounds
    return above | ~above.any(1, keepdim=True)


def masked(logits: Tensor, keeps: Tensor) -> Tensor:
    """Logits (B, C, H, W), -inf where keeps, bool (B, C), is false: a zero would still win against negative ones."""
    return logits.masked_fill(~keeps[:, :, None, None], -torch.inf)


def pixel_counts(logits: Tensor) -> Tensor:
    """Logits (B, C, H, W) -> pixels whose largest is class c, (B, C) int64."""
    label = logits.argmax(1)
    return torch.stack([(label == number).sum((1, 2)) for number in range(logits.shape[1])], 1)
