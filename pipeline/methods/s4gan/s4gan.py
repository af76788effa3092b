"""Semi-Supervised Semantic Segmentation with High- and Low-level Consistency: the branch s4GAN.

Mittal, Tatarchenko, Brox, TPAMI 2021. The segmentation network S and a discriminator D play against each other. D tells
true maps from predicted ones. S matches the features that D has of true maps. S also learns from its own predictions
for the images on which it deceives D. The other branch is methods/mlmt; fusion/fused.py joins the two at prediction.

Choices, where paper and released code differ (docs/methods/s4gan.md has them all):
- the true pairs are the labelled images of the same step, as in eqs. (1), (2), (5) (code: drawn once more);
- D sees all images as colours in 0..1. The code stretches them by the range of their batch, and true ones by the range
  of another batch, which reveals them;
- eq. (2) is the mean absolute difference (code); ``norm: l2`` is its Euclidean length (paper, maybe);
- the losses are means over pixels (code), not sums; the padding of a view is no target (ours);
- without unlabelled images, the control, D has no map to judge and is not trained.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from fewmask.core.masks import IGNORE
from fewmask.learning.batchnorm import Mode
from fewmask.learning.class_weights import ClassWeightsConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, TwoDomainsConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update, most_likely
from fewmask.learning.losses import binary_cross_entropy, cross_entropy
from fewmask.learning.optim import OptimiserConfig
from fewmask.methods.s4gan.discriminator import Discriminator, DiscriminatorConfig, one_hot


class PlayerOptimiser(OptimiserConfig):
    """The paper's, in whatever params leave out."""

    name: Literal["sgd", "adam", "adamw"] = "adam"
    lr: PositiveFloat = 1e-4
    beta_2: float = Field(default=0.99, ge=0, lt=1)


class PlayerConfig(DiscriminatorConfig):
    """The second player and its own optimiser."""

    optimiser: PlayerOptimiser = PlayerOptimiser()


class Config(UnlabelledConfig, ClassWeightsConfig, TwoDomainsConfig, BeginningConfig):
    """``lambda_fm`` and ``lambda_st`` weigh eqs. (2) and (3); 0 leaves a term out, as in Table 6.

    - ``gamma``: what is above it teaches S; 1 stops all. ``gate`` says what is compared with it: D's score of an image,
      or the ``confidence`` of S, the mean over an image of its largest probabilities, or each of these ``pixels``.
    - ``adversarial: standard`` is the row SGAN of Table 6: S learns to make D take its maps for true, with the weight
      ``lambda_fm``.
    - ``weight_c`` is for eq. (1); the paper's is null.
    """

    batch_norm: Mode = "statistics"
    discriminator: PlayerConfig = PlayerConfig()
    adversarial: Literal["feature_matching", "standard"] = "feature_matching"
    norm: Literal["l1", "l2"] = "l1"
    lambda_fm: NonNegativeFloat = 0.1
    lambda_st: NonNegativeFloat = 1.0
    gate: Literal["discriminator", "confidence", "pixels"] = "discriminator"
    gamma: float = Field(default=0.6, ge=0, le=1)

    def optimiser_of(self, player: str) -> OptimiserConfig:
        return self.discriminator.optimiser if player == "discriminator" else self.optimiser


class S4GAN(Learner):
    """S and D; the published network is S."""

    schema = Config
    weights: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task, self.classes = config, task, len(task.class_names)
        self.net = task.new_network()
        self.discriminator = Discriminator(self.classes, config.discriminator)
        self.register_buffer("weights", torch.ones(self.classes))

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net, "discriminator": self.discriminator}

    def begin(self, data: LabelledData) -> None:
        fill_class_weights(self.weights, data, self.config.weight_c)

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        config, count = self.config, len(batch.x_l)
        s_l = self.net(batch.x_l)
        ce = cross_entropy(s_l, batch.y_l, self.weights)  # (1)
        if not len(batch.x_u):
            yield Update("net", ce, {"ce": ce.detach()})
            return
        s_u = self.net(batch.x_u).float()  # apart: batch statistics of their own
        real = self._pairs(one_hot(batch.y_l, self.classes), batch.x_l)  # y_l (+) x_l
        fake = self._pairs(s_u.softmax(1), batch.x_u)  # S(x_u) (+) x_u
        deceived, phi_u = self.discriminator(fake)
        judged, phi = self.discriminator(torch.cat([real, fake.detach()]))  # serves (2) and (5)
        y_star = most_likely(s_u.detach())
        if batch.shown_u is not None:
            y_star = y_star.masked_fill(~batch.shown_u, IGNORE)
        passed = self._judged(deceived.detach(), s_u.detach(), y_star != IGNORE) > config.gamma
        y_star = y_star.masked_fill(~passed, IGNORE)
        if config.adversarial == "standard":
            fm = towards(deceived, 1)
        else:
            fm = matching(phi[:count].detach(), phi_u, config.norm)  # (2)
        st = cross_entropy(s_u, y_star)  # (3): 0 where none passes
        loss = ce + config.lambda_fm * fm + config.lambda_st * st  # (4)
        terms = {"ce": ce, "fm": fm, "st": st, "gate": passed.float().mean()}
        yield Update("net", loss, {name: term.detach() for name, term in terms.items()})
        d = (towards(judged[:count], 1) + towards(judged[count:], 0)) / 2  # (5), of the maps from before that step
        scores = judged.detach().float().sigmoid()
        terms = {"d": d.detach(), "d_real": scores[:count].mean(), "d_fake": scores[count:].mean()}
        yield Update("discriminator", d, terms)

    def _judged(self, deceived: Tensor, s_u: Tensor, shown: Tensor) -> Tensor:
        """What gamma is compared with, of an image (U, 1, 1) or of each pixel (U, H, W); 0 in padding."""
        if self.config.gate == "discriminator":
            return deceived.float().sigmoid()[:, None, None]
        confidence = s_u.softmax(1).amax(1) * shown
        if self.config.gate == "pixels":
            return confidence
        return confidence.sum((1, 2), keepdim=True) / shown.sum((1, 2), keepdim=True).clamp_min(1)

    def _pairs(self, maps: Tensor, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) beside their images (B, 3, H, W), colours in 0..1, whoever made the maps."""
        return torch.cat([maps, self.task.normalise.colours(x)], 1)

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.net


def matching(real: Tensor, fake: Tensor, norm: str) -> Tensor:
    """Eq. (2): features (B, D) and (U, D) -> the distance of their means, a scalar."""
    difference = real.float().mean(0) - fake.float().mean(0)
    return difference.abs().mean() if norm == "l1" else torch.linalg.vector_norm(difference)


def towards(logits: Tensor, target: int) -> Tensor:
    """Binary cross-entropy of logits (B,) that all should say ``target``."""
    scores = logits.float()
    return binary_cross_entropy(scores, torch.full_like(scores, target))
