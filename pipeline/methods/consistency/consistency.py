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
from torch.nn import functional as F

from fewmask.consistency.augment import StrongViews, augment
from fewmask.consistency.classmix import Views
from fewmask.consistency.ema import Ema
from fewmask.core.masks import IGNORE
from fewmask.learning.batchnorm import unrecorded
from fewmask.learning.class_weights import ClassWeightsConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import cross_entropy, mean_of_valid, valid_weight
from fewmask.learning.schedules import linear_ramp
from fewmask.methods.consistency.class_thresholds import Thresholds
from fewmask.nets.base.segnet import Levels, SegNet, maps_of


class Config(UnlabelledConfig, ClassWeightsConfig, BeginningConfig):
    """``lambda_u`` weighs what unlabelled images teach.

    - ``threshold``: the teacher's probability from which a pixel is a target; 0 takes all.
    - ``class_share``: of every class that the teacher predicts, at least this share of pixels is taken.
    - ``strong_views`` of each unlabelled image. UniMatch has two.
    - ``dropout``: the probability with which channels of the weak view's features are dropped, in a view of its own;
      UniMatch's is 0.5. 0 leaves that view out.
    - ``ramp`` is the share of the training over which ``lambda_u`` rises from 0.
    - ``decay`` is that of the teacher; at the start it is 1 - 1 / (step + 1), if that is less.
    """

    strong: StrongViews = StrongViews()
    strong_views: PositiveInt = 1
    dropout: float = Field(default=0.0, ge=0, lt=1)
    threshold: float = Field(default=0.95, ge=0, lt=1)
    class_share: float = Field(default=0.0, ge=0, le=1)
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
        self.config, self.task = config, task
        net = task.new_network()
        assert isinstance(net, SegNet), "every network that segments images is a SegNet"
        self.student = net
        self.teacher = Ema(self.student, config.batch_norm)
        self.thresholds = Thresholds(len(task.class_names), config.threshold, config.class_share)
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
            terms |= self._unlabelled(batch, p[len(batch.x_l) :].float().softmax(1))
        lambda_u = config.lambda_u * linear_ramp(t, 0, config.ramp)
        yield Update.weighted("student", terms, {"sup": 1.0, "unsup": lambda_u, "drop": lambda_u})
        self.teacher.follow(self.student, config.decay, round(t * config.steps))

    def _unlabelled(self, batch: Batch, p: Tensor) -> dict[str, Tensor]:
        """The terms of the unlabelled images, of which the teacher says p (U, C, H, W); padding counts for nothing."""
        confidence, labels = p.max(1)
        shown = torch.ones_like(labels, dtype=torch.bool) if batch.shown_u is None else batch.shown_u
        sure = self.thresholds(labels, confidence, shown)
        weak = Views(batch.x_u, labels.masked_fill(~shown, IGNORE), sure.float())
        strong = self._strong(weak)
        with unrecorded(self.student):
            terms = {"unsup": masked_cross_entropy(self.student(strong.x), strong)}
            if self.config.dropout:
                terms["drop"] = masked_cross_entropy(self._dropped(weak.x), weak)
        return terms | {"kept": mean_of_valid(weak.confidence, weak.labels)}

    def _strong(self, weak: Views) -> Views:
        """``strong_views`` of each image, with the targets of its weak view moved along."""
        times = self.config.strong_views
        x, labels, sure = (part.repeat(times, *(1,) * (part.dim() - 1)) for part in weak)
        return augment(self.config.strong, x, labels, sure, self.task.normalise)

    def _dropped(self, x: Tensor) -> Tensor:
        """Logits (U, C, H, W) of x (U, 3, H, W) with channels of its features dropped (UniMatch, section 3.2)."""
        features = [self._without_channels(of_block) for of_block in self.student.features(x)]
        return self.student.enlarged(self.student.head(features), x.shape[2:])

    def _without_channels(self, of_block: Tensor | Levels) -> Tensor | Levels:
        dropped = [F.dropout2d(features, self.config.dropout) for features in maps_of(of_block)]
        return of_block._replace(maps=dropped) if isinstance(of_block, Levels) else dropped[0]

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.teacher.published(self.config.publish, self.student)


def masked_cross_entropy(logits: Tensor, views: Views) -> Tensor:
    """Cross-entropy of the pixels with confidence 1, divided by all that are not ignored (FixMatch, eq. (4))."""
    target = views.labels.masked_fill(views.confidence < 1, IGNORE)
    kept, all_of_them = (valid_weight(labels, None) for labels in (target, views.labels))
    return cross_entropy(logits, target) * kept / all_of_them.clamp_min(1)
