"""Supervised training with class-weighted cross-entropy: every method's baseline and first stage.

With ``--join STORE`` (stages/fit.py) the images of a label store count as labelled, with their pseudo-labels as masks.
That is stage 3 of the auxiliary-network paper, "retrain using all images". ``strong`` and ``weight_pseudo`` treat such
images in another way than the paper.

Choices (the paper is silent): learning/class_weights.py has those of the class weights.
"""

from collections.abc import Iterator
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from fewmask.consistency.augment import StrongViews, augment
from fewmask.consistency.ema import Ema
from fewmask.learning.batchnorm import unrecorded
from fewmask.learning.class_weights import ClassShareConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, JoinedLabelsConfig, TwoDomainsConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import cross_entropy


class Config(ClassShareConfig, JoinedLabelsConfig, TwoDomainsConfig, BeginningConfig):
    """The classes weigh by default. With a ``decay``, such as 0.996, the average of the network is published.

    Of the ``pseudo`` joined images of a batch, ``strong`` makes other views, which the network sees in a pass of their
    own. ``weight_pseudo: false`` lets the classes weigh in true masks alone.
    """

    weight_c: float | None = Field(default=1.1, gt=1)
    weight_pseudo: bool = True
    strong: StrongViews | None = None
    decay: float | None = Field(default=None, ge=0, lt=1)

    @model_validator(mode="after")
    def _know_who_is_joined(self) -> Self:
        if self.pseudo is None and (self.strong is not None or not self.weight_pseudo):
            raise ValueError(
                "strong and weight_pseudo: false are for joined images; set pseudo, their number in a batch"
            )
        return self


class Supervised(Learner):
    """One network, one loss."""

    schema = Config
    weights: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task, self.net = config, task, task.new_network()
        self.average = None if config.decay is None else Ema(self.net, config.batch_norm)
        self.register_buffer("weights", torch.ones(len(task.class_names)))

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net}

    def begin(self, data: LabelledData) -> None:
        fill_class_weights(self.weights, data, self.config.weight_c, self.config.share)

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        yield Update("net", self._loss(batch))
        if self.average is not None and self.config.decay is not None:
            self.average(batch.x_l)  # for its statistics
            self.average.follow(self.net, self.config.decay, round(t * self.config.steps))

    def _loss(self, batch: Batch) -> Tensor:
        """One mean over all pixels; or, where only true masks weigh, that of each kind of image by its number."""
        true, joined = len(batch.x_l) - batch.joined, batch.joined
        logits, y = self._strong(batch) if self.config.strong and joined else (self.net(batch.x_l), batch.y_l)
        if self.config.weight_pseudo or not joined:
            return cross_entropy(logits, y, self.weights)
        first, second = cross_entropy(logits[:true], y[:true], self.weights), cross_entropy(logits[true:], y[true:])
        return (true * first + joined * second) / (true + joined)

    def _strong(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, C, H, W) and labels (B, H, W) of weak true and strong joined images, which pass apart."""
        assert self.config.strong is not None
        (x, x_j), (y, y_j) = (part.split([len(part) - batch.joined, batch.joined]) for part in (batch.x_l, batch.y_l))
        views = augment(self.config.strong, x_j, y_j, torch.ones_like(y_j, dtype=x_j.dtype), self.task.normalise)
        logits = self.net(x)
        with unrecorded(self.net):
            return torch.cat([logits, self.net(views.x)]), torch.cat([y, views.labels])

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.net if self.average is None else self.average.net
