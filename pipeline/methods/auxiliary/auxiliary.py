"""The auxiliary network of "Semi-supervised Semantic Segmentation using Auxiliary Network" (stage 2).

It sees the class probabilities of the frozen segmentation network and learns where their argmax is right. Its output is
the confidence that decides which pseudo-labels are kept. Stage 3a is stages/label.py and stages/filter.py. Stage 3b is
methods/supervised/supervised.py on the joined images.

Choices (the paper is silent; each is tested in tests/methods/auxiliary/test_auxiliary.py):
- gamma_k is counted once over the labelled images, without augmentation, and clipped to 1e-3..1e3;
- void pixels and padding count nowhere;
- the sum of eq. (1) is divided by the number of valid pixels, so that the rate does not depend on the image size.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.core.errors import ConfigError
from fewmask.core.masks import IGNORE
from fewmask.learning.class_weights import ClassWeightsConfig, fill_class_weights
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update, most_likely
from fewmask.learning.losses import mean_of_valid
from fewmask.methods.auxiliary.judge import Config as NetworkConfig
from fewmask.methods.auxiliary.judge import build

GAMMA_RANGE = (1e-3, 1e3)


class Config(ClassWeightsConfig):
    """``weight_c`` is that of W_k in eq. (1), which always weighs."""

    network: NetworkConfig = NetworkConfig()
    weight_c: float = Field(default=1.04, gt=1)


def auxiliary_loss(logits: Tensor, right: Tensor, target: Tensor, weight: Tensor, gamma: Tensor) -> Tensor:
    """Eq. (1): -sum W_k [gamma_k y log a + (1 - y) log(1 - a)], k the true class of the pixel, over valid pixels.

    Args:
        logits: (B, H, W); a = sigmoid(logits).
        right: (B, H, W) bool: y, whether the prediction is the true class.
        target: (B, H, W) int64 true classes, 255 = ignore.
        weight, gamma: (C,).
    """
    k = target.masked_fill(target == IGNORE, 0)
    positive = gamma[k] * F.softplus(-logits)  # -log a
    negative = F.softplus(logits)  # -log(1 - a)
    return mean_of_valid(weight[k] * torch.where(right, positive, negative), target)


def balance(positive: Tensor, negative: Tensor) -> Tensor:
    """gamma_k = negative pixels of class k / positive pixels of class k, clipped; 1 for a class without pixels.

    Args:
        positive, negative: (C,) counts of the pixels of true class k that are predicted right and wrong.
    """
    gamma = (negative / positive.clamp_min(1)).clamp(*GAMMA_RANGE)
    return torch.where(positive + negative > 0, gamma, 1.0).float()


class AuxiliaryNetwork(Learner):
    """The segmentation network S is frozen (evaluation mode); only the auxiliary network A is trained."""

    schema = Config
    weights: Tensor
    gamma: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        if task.base is None:
            raise ConfigError("--base: found none; expected the trained network that is judged. Name a model.")
        self.config, self.segmentation = config, task.base.requires_grad_(False)
        self.net = build(config.network, len(task.class_names))
        self.register_buffer("weights", torch.ones(len(task.class_names)))
        self.register_buffer("gamma", torch.ones(len(task.class_names)))

    def train(self, mode: bool = True) -> "AuxiliaryNetwork":
        super().train(mode)
        self.segmentation.eval()
        return self

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net}

    @torch.no_grad()
    def begin(self, data: LabelledData) -> None:
        fill_class_weights(self.weights, data, self.config.weight_c)
        self.segmentation.eval()
        counts = torch.zeros(2, len(self.gamma), dtype=torch.int64, device=self.gamma.device)  # wrong, right
        for x, y in data.labelled():
            valid = y != IGNORE
            right = most_likely(self.segmentation(x))[valid] == y[valid]
            counts += torch.bincount(y[valid] + len(self.gamma) * right, minlength=counts.numel()).view_as(counts)
        self.gamma.copy_(balance(positive=counts[1], negative=counts[0]))

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        probabilities = self._probabilities(batch.x_l)
        right = most_likely(probabilities) == batch.y_l  # y of eq. (1)
        logits = self.net(probabilities)[:, 0].float()
        yield Update("net", auxiliary_loss(logits, right, batch.y_l, self.weights, self.gamma))  # (1)

    @torch.no_grad()
    def _probabilities(self, x: Tensor) -> Tensor:
        """Class probabilities (B, C, H, W) of the frozen network."""
        return self.segmentation(x).float().softmax(1)

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.config.network.model_dump(), self.net
