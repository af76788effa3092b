"""Pixels as vectors: which pixels of a batch are contrasted with the memory, and which enter it."""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fewmask.consistency.classmix import Views
from fewmask.core.masks import IGNORE
from fewmask.core.params import Section
from fewmask.methods.contrastive.attention import ClassAttention, scores_of
from fewmask.methods.contrastive.contrast_loss import contrastive_loss
from fewmask.methods.contrastive.groups import sample
from fewmask.methods.contrastive.memory import Memory
from fewmask.nets.base.segnet import SegNet

Share = Annotated[float, Field(ge=0, le=1)]


class ContrastConfig(Section):
    """The contrastive term and its memory.

    - ``memory``: psi, the vectors of a class in the memory.
    - ``keep``: how many vectors of a class enter for each labelled image of a batch. Null is the paper's: psi over the
      number of labelled images, at least 1.
    - ``confidence``: phi of the feature quality filter.
    - ``max_pixels_per_class``: draws so many pixels of each class anew every step. Null takes all.
    """

    channels: PositiveInt = 256
    memory: PositiveInt = 256
    keep: PositiveInt | None = None
    confidence: Share = 0.95
    memory_attention: Literal["paper", "ones"] = "paper"
    rank: Literal["highest", "legacy_lowest", "random"] = "highest"
    attention_input: Literal["unit", "raw"] = "unit"
    max_pixels_per_class: PositiveInt | None = None


class Pixels(nn.Module):
    """A segmentation network with the heads and the attention that only training needs."""

    def __init__(self, net: SegNet, classes: int, config: ContrastConfig):
        super().__init__()
        channels = config.channels
        self.net, self.classes, self.config = net, classes, config
        self.project = mlp(net.head.channels, channels)  # g
        self.predict = mlp(channels, channels)  # q
        self.attention = ClassAttention(classes, channels, channels)  # S of p
        self.memory_attention = ClassAttention(classes, channels, channels)  # S of z'

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W) -> V = f^-(x) (B, D, h, w) and logits (B, C, H, W)."""
        return self.net.embedded(x)

    def contrast(self, features: Tensor, labels: Tensor, memory: Memory) -> Tensor:
        """Eq. (11) of the student's pixels that have a label; features V (B, D, h, w), labels (B, H, W) int64."""
        config, small = self.config, nearest(labels, features).flatten()
        if config.max_pixels_per_class:
            drawn = sample(small, self.classes, config.max_pixels_per_class)
            rows = drawn[drawn >= 0]
        else:
            rows = (small != IGNORE).nonzero().squeeze(1)
        if len(rows) < 2:  # too few for batch norm
            return features.sum() * 0
        vectors = self.predict(self.project(vectors_of(features, rows)))  # P = q(g(V))
        memory_attention = self.memory_attention if config.memory_attention == "paper" else None
        unit = config.attention_input == "unit"
        return contrastive_loss(vectors, small[rows], memory, self.attention, memory_attention, unit=unit)

    @torch.no_grad()
    def remember(self, views: Views, memory: Memory, count: int) -> None:
        """The teacher's features of labelled pixels that it classifies rightly and surely enter the memory.

        Of each class the ``count`` that its attention ranks highest, at most.
        """
        config = self.config
        features, logits = self(views.x)
        confidence, predicted = logits.float().softmax(1).max(1)
        labels, confidence, predicted = (nearest(m, features).flatten() for m in (views.labels, confidence, predicted))
        rows = ((predicted == labels) & (confidence > config.confidence)).nonzero().squeeze(1)  # FQF
        if len(rows) < 2:  # too few for batch norm
            return
        vectors, labels = self.project(vectors_of(features, rows)).float(), labels[rows]  # Z' = g(V)
        if config.rank == "highest":
            scores = scores_of(self.memory_attention, vectors, labels, unit=True)
        elif config.rank == "legacy_lowest":
            scores = -scores_of(self.attention, vectors, labels, unit=False)
        else:
            scores = torch.rand(len(labels)).to(labels.device)
        memory.push(vectors, labels, scores, count)


def mlp(inputs: int, channels: int) -> nn.Sequential:
    """Projection and prediction head (section 4.2): Linear, batch norm, ReLU, Linear; (P, inputs) -> (P, channels).

    Batch norm has no running statistics: the heads are never used for prediction.
    """
    return nn.Sequential(
        nn.Linear(inputs, channels),
        nn.BatchNorm1d(channels, track_running_stats=False),
        nn.ReLU(inplace=True),
        nn.Linear(channels, channels),
    )


def nearest(maps: Tensor, features: Tensor) -> Tensor:
    """Maps (B, H, W) of any type -> (B, h, w), the size of ``features``."""
    rows, columns = (
        (torch.arange(small, device=maps.device) * 2 + 1) * large // (2 * small)
        for small, large in zip(features.shape[2:], maps.shape[1:], strict=True)
    )
    return maps[:, rows[:, None], columns]


def vectors_of(features: Tensor, rows: Tensor) -> Tensor:
    """The chosen pixels (P,) of features (B, D, h, w) -> (P, D)."""
    return features.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, rows)
