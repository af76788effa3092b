"""Supervised training with class-weighted cross-entropy: every method's baseline and first stage.

With ``--join STORE`` (stages/fit.py) the images of a label store count as labelled, with their pseudo-labels as masks.
That is stage 3 of the auxiliary-network paper, "retrain using all images", and needs no code of its own.

Choices (the paper is silent): weights come only from the images with true masks, once, before training. p_k has void in
its denominator (``global``), as in the code of the weights' source, Paszke et al. 2016.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.learning.fit import FitConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import class_share, class_weights, cross_entropy


class Config(FitConfig):
    """``weight_c`` is c of W_k = 1/ln(c + p_k); null weighs all classes alike."""

    weight_c: float | None = Field(default=1.1, gt=1)
    share: Literal["global", "present"] = "global"


class Supervised(Learner):
    """One network, one loss."""

    schema = Config
    weights: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task, self.net = config, task, task.new_network()
        self.register_buffer("weights", torch.ones(len(task.class_names)))

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net}

    def begin(self, data: LabelledData) -> None:
        if self.config.weight_c is not None:
            share = class_share(data.counts, self.config.share)
            self.weights.copy_(class_weights(share, self.config.weight_c))

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        yield Update("net", cross_entropy(self.net(batch.x_l), batch.y_l, self.weights))

    def predict(self, x: Tensor) -> Tensor:
        return self.net(x).float().softmax(1)

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.net
