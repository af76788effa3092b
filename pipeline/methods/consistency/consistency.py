"""Weak-to-strong consistency: FixMatch for segmentation, with the options of UniMatch.

A student learns from labels, and on strong views of an unlabelled image from what its averaged teacher says of the
weak view. "FixMatch" (Sohn et al., NeurIPS 2020); "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation" (Yang et al., CVPR 2023), here UniMatch. The averaged teacher is that of "Mean teachers" (Tarvainen and
Valpola, NeurIPS 2017).

Choices, where these differ or are silent (docs/methods/consistency.md has them all):
- labelled and strong views pass through the student apart, so that neither changes the batch statistics of the other;
- the teacher sees weak views alone, those on which the published network is scored, and keeps its own statistics;
- the padding of a view is no target, and class weights are for true labels alone;
- a mixed image takes labels and confidences along, and is mixed before its colours change.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from fewmask.consistency.augment import StrongViews, augment
from fewmask.consistency.classmix import Views
from fewmask.consistency.ema import Ema
from fewmask.core.masks import IGNORE
from fewmask.learning.class_weights import ClassWeightsConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import cross_entropy, mean_of_valid
from fewmask.learning.schedules import linear_ramp


class Config(UnlabelledConfig, ClassWeightsConfig, BeginningConfig):
    """``lambda_u`` weighs what unlabelled images teach.

    - ``threshold``: the teacher's probability from which a pixel is a target; 0 takes all.
    - ``strong_views`` of each unlabelled image. UniMatch has two.
    - ``ramp`` is the share of the training over which ``lambda_u`` rises from 0.
    - ``decay`` is that of the teacher; at the start it is 1 - 1 / (step + 1), if that is less.
    """

    strong: StrongViews = StrongViews()
    strong_views: PositiveInt = 1
    threshold: float = Field(default=0.95, ge=0, lt=1)
    lambda_u: NonNegativeFloat = 1.0
    ramp: float = Field(default=0.0, ge=0, le=1)
    decay: float = Field(default=0.996, ge=0, lt=1)
    publish: Literal["teacher", "student"] = "teacher"


class Consistency(Learner):
    """A student and its averaged teacher."""

    schema = Config
    weights: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task, self.student = config, task, task.new_network()
        self.teacher = Ema(self.student, config.batch_norm)
        self.register_buffer("weights", torch.ones(len(task.class_names)))

    def players(self) -> dict[str, nn.Module]:
        return {"student": self.student}

    def begin(self, data: LabelledData) -> None:
        fill_class_weights(self.weights, data, self.config.weight_c)

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        config = self.config
        p = self.teacher(torch.cat([batch.x_l, batch.x_u]))  # its statistics are of labelled images, too
        terms = {"sup": cross_entropy(self.student(batch.x_l), batch.y_l, self.weights)}
        if len(batch.x_u):
            confidence, labels = p[len(batch.x_l) :].float().softmax(1).max(1)
            if batch.shown_u is not None:
                labels = labels.masked_fill(~batch.shown_u, IGNORE)
            views = self._strong(batch.x_u, labels, confidence)
            kept = (views.confidence >= config.threshold) & (views.labels != IGNORE)
            terms["unsup"] = self._unsupervised(views, kept)
            terms["kept"] = mean_of_valid(kept.float(), views.labels)
        lambdas = {"sup": 1.0, "unsup": config.lambda_u * linear_ramp(t, 0, config.ramp)}
        yield Update.weighted("student", terms, lambdas)
        self.teacher.follow(self.student, config.decay, round(t * config.steps))

    def _strong(self, x: Tensor, labels: Tensor, confidence: Tensor) -> Views:
        """``strong_views`` of each image, with the targets of its weak view moved along."""
        copies = (part.repeat(self.config.strong_views, *(1,) * (part.dim() - 1)) for part in (x, labels, confidence))
        return augment(self.config.strong, *copies, self.task.normalise)

    def _unsupervised(self, views: Views, kept: Tensor) -> Tensor:
        """Cross-entropy of the kept pixels, divided by all pixels that are not padding (FixMatch, eq. (4))."""
        target = views.labels.masked_fill(~kept, IGNORE)
        loss = cross_entropy(self.student(views.x), target)  # the mean over kept pixels
        return loss * kept.sum() / (views.labels != IGNORE).sum().clamp_min(1)

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.teacher.published(self.config.publish, self.student)
