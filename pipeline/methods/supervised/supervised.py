"""Supervised training with class-weighted cross-entropy: every method's baseline and first stage.

With ``--join STORE`` (stages/fit.py) the images of a label store count as labelled, with their pseudo-labels as masks.
That is stage 3 of the auxiliary-network paper, "retrain using all images", and needs no code of its own.

Choices (the paper is silent): learning/class_weights.py has those of the class weights.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.consistency.ema import Ema
from fewmask.learning.class_weights import ClassShareConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, JoinedLabelsConfig, TwoDomainsConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import cross_entropy


class Config(ClassShareConfig, JoinedLabelsConfig, TwoDomainsConfig, BeginningConfig):
    """The classes weigh by default. With a ``decay``, such as 0.996, the average of the network is published."""

    weight_c: float | None = Field(default=1.1, gt=1)
    decay: float | None = Field(default=None, ge=0, lt=1)


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
        yield Update("net", cross_entropy(self.net(batch.x_l), batch.y_l, self.weights))
        if self.average is not None and self.config.decay is not None:
            self.average(batch.x_l)  # for its statistics
            self.average.follow(self.net, self.config.decay, round(t * self.config.steps))

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.net if self.average is None else self.average.net
