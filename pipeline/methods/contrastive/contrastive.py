"""Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise Memory Bank.

Alonso et al., ICCV 2021. A student learns from labels, and from an averaged teacher's pseudo-labels on strong views.
Two more terms minimise its entropy, and draw each pixel's feature towards those of its class in a memory. The memory
holds features of labelled images. With ``source`` a second, labelled domain joins the labelled images, but
never enters the memory (section 4.3.2).

Choices, where paper and released code differ (docs/methods/contrastive.md has them all, and the switches):
- the memory's vectors are weighted and ranked by their own attention, highest first, as in the paper. The code's
  weights are all one, and it keeps the lowest;
- the student's running statistics are those of labelled weak views. The code's are of all views in training, and are
  taken again from clean images afterwards;
- the decay of the teacher, the ramp of the pseudo-labels, the normalised entropy and the normalisers of the
  cross-entropies are the code's;
- the weak and strong views are Table 1's.
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.consistency.augment import Augment, StrongAugment, WeakAugment, augment
from fewmask.consistency.classmix import Views
from fewmask.consistency.ema import Ema
from fewmask.core.masks import IGNORE
from fewmask.learning.batchnorm import Mode, unrecorded
from fewmask.learning.config import BeginningConfig, TwoDomainsConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import cross_entropy, mean_of_valid
from fewmask.learning.schedules import cosine_decay, exponential_ramp, step_up
from fewmask.learning.views import WeakViews
from fewmask.methods.contrastive.memory import Memory
from fewmask.methods.contrastive.pixels import ContrastConfig, Pixels
from fewmask.nets.base.segnet import SegNet

Decay = Annotated[float, Field(ge=0, lt=1)]


class Crops(WeakViews):
    """What the loader draws: crops alone, since the sets of Table 1 come on top."""

    flip: float = Field(default=0, ge=0, le=1)
    shift: int = Field(default=0, ge=0, le=32)


class Config(UnlabelledConfig, TwoDomainsConfig, BeginningConfig):
    """A step has ``batch`` labelled and ``unlabelled`` other images, the others in ``augmentations`` strong views each.

    The lambdas weigh eqs. (6), (7) and (11); 0 leaves a term out, as in Table 5. ``warm_up`` counts steps. Before its
    end the contrast and the class weights are off and the pseudo-labels weigh little. The memory fills from half of it.
    """

    batch_norm: Mode = "statistics"
    views: Crops = Crops()
    weak: WeakAugment = WeakAugment()
    strong: StrongAugment = StrongAugment()
    augmentations: PositiveInt = 2
    lambda_pseudo: NonNegativeFloat = 1.0
    lambda_ent: NonNegativeFloat = 0.01
    lambda_contr: NonNegativeFloat = 0.1
    warm_up: NonNegativeInt = 2000
    pseudo_ramp: Literal["exponential", "step"] = "exponential"
    sharpening: NonNegativeFloat = 6.0
    entropy: Literal["normalised", "nats"] = "normalised"
    class_weights: Literal["median", "labels", "none"] = "median"
    decay: Literal["cosine"] | Decay = "cosine"
    contrast: ContrastConfig = ContrastConfig()
    publish: Literal["student", "teacher"] = "student"

    @model_validator(mode="after")
    def _contrasts_some_time(self) -> Self:
        if self.lambda_contr and self.warm_up >= self.steps:
            found = f"warm_up {self.warm_up} is not below steps {self.steps}, so that the contrast would never begin"
            raise ValueError(f"{found}; lower warm_up, or set lambda_contr: 0")
        return self


class Contrastive(Learner):
    """Student and teacher, the memory, and how often each class was seen."""

    schema = Config
    labelled_area: Tensor
    pseudo_area: Tensor
    images: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        classes, net = len(task.class_names), task.new_network()
        assert isinstance(net, SegNet), "every network that segments images is a SegNet"
        self.config, self.task, self.classes = config, task, classes
        self.student = Pixels(net, classes, config.contrast)
        self.teacher = Ema(self.student, config.batch_norm)
        self.memory = Memory(classes, config.contrast.memory, config.contrast.channels)
        self.register_buffer("labelled_area", torch.zeros(classes))  # of each class in all masks, in whole images
        self.register_buffer("pseudo_area", torch.zeros(classes))
        self.register_buffer("images", torch.zeros(2, dtype=torch.long))  # labelled, unlabelled

    def players(self) -> dict[str, nn.Module]:
        return {"student": self.student}

    def begin(self, data: LabelledData) -> None:
        counts = data.counts
        self.labelled_area.copy_(torch.from_numpy(counts.per_class / counts.total * data.labelled_images))
        self.images.copy_(torch.tensor([data.labelled_images, data.unlabelled_images]))

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        config, done = self.config, round(t * self.config.steps)
        contrasting = bool(config.lambda_contr) and done > config.warm_up
        labelled = self._augmented(config.weak, batch.x_l, batch.y_l, torch.ones_like(batch.y_l, dtype=torch.float))
        alone = not (config.lambda_pseudo or config.lambda_ent or config.lambda_contr)
        unlabelled = None if alone or not len(batch.x_u) else self._anchored(batch)
        weights, terms = self.class_weights(done), {}
        if unlabelled:
            features, logits = self._seen(unlabelled.x, recorded=False)
            logs = logits.float().log_softmax(1)
            terms["pseudo"] = pseudo_loss(logs, unlabelled.labels, unlabelled.confidence**config.sharpening, weights)
            terms["ent"] = entropy(logs, unlabelled.labels, config.entropy == "normalised")
            if contrasting:
                terms["contr"] = self.student.contrast(features, unlabelled.labels, self.memory)
        elif config.publish == "teacher":
            self.teacher(labelled.x)  # for its statistics
        features, logits = self._seen(labelled.x, recorded=not batch.source)
        terms["sup"] = cross_entropy(logits, labelled.labels, weights)  # (4)
        if contrasting:
            terms["contr"] = terms.get("contr", 0) + self.student.contrast(features, labelled.labels, self.memory)
        yield Update.weighted("student", terms | self._filled(), self._lambdas(done))  # (1)
        if config.lambda_contr and 2 * done > config.warm_up and not batch.source:
            self.teacher.net.remember(labelled, self.memory, len(labelled.x) * self._kept)
        self.teacher.update(self.student, decay_at(done, t, config.decay))  # (2)

    def _lambdas(self, done: int) -> dict[str, float]:
        config = self.config
        rising = exponential_ramp if config.pseudo_ramp == "exponential" else step_up  # code; paper
        lambda_pseudo = config.lambda_pseudo * rising(done, config.warm_up)
        return {"sup": 1.0, "pseudo": lambda_pseudo, "ent": config.lambda_ent, "contr": config.lambda_contr}

    def _augmented(self, config: Augment, x: Tensor, labels: Tensor, confidence: Tensor) -> Views:
        return augment(config, x, labels, confidence, self.task.normalise)

    def _seen(self, x: Tensor, recorded: bool) -> tuple[Tensor, Tensor]:
        """The student's features and logits of views of one kind: each has batch statistics of its own."""
        with nullcontext() if recorded else unrecorded(self.student):
            features, logits = self.student(x)
        return features, logits

    def _anchored(self, batch: Batch) -> Views:
        """A strong views of each unlabelled image, with what the teacher says of the image itself: eq. (5)."""
        confidence, labels = self.teacher(batch.x_u)[1].float().softmax(1).max(1)
        if batch.shown_u is not None:
            labels = labels.masked_fill(~batch.shown_u, IGNORE)
        if not batch.source:
            self._count(labels)
        times = self.config.augmentations
        copies = (part.repeat(times, *(1,) * (part.dim() - 1)) for part in (batch.x_u, labels, confidence))
        return self._augmented(self.config.strong, *copies)

    @cached_property
    def _kept(self) -> int:
        """How many vectors of a class enter the memory for each labelled image of a batch; asks the device once."""
        config = self.config.contrast
        return config.keep or max(1, round(config.memory / int(self.images[0])))

    def _filled(self) -> dict[str, Tensor]:
        """The share of the memory that is filled, for the history."""
        if not self.config.lambda_contr:
            return {}
        return {"memory": self.memory.filled.sum() / self.memory.vectors[..., 0].numel()}

    def _count(self, labels: Tensor) -> None:
        """Area of each class in about one visit of all unlabelled images: a sum that forgets at that rate."""
        pixels = labels.flatten()
        counts = pixels.new_zeros(IGNORE + 1).index_add_(0, pixels, torch.ones_like(pixels))[: self.classes]
        forgotten = len(labels) / self.images[1].clamp(min=len(labels))
        self.pseudo_area.mul_(1 - forgotten).add_(counts / labels[0].numel())

    def class_weights(self, done: int) -> Tensor | None:
        """alpha_c = sqrt(f_m / f_c) (section 4.2), f_m the median of the labelled classes, from the end of the warm-up.

        f is the area in masks and pseudo-labels (code), or in masks alone (paper). A class that is in no mask weighs as
        the rarest that is: the few pixels that a teacher takes for it would make it weigh anything.
        """
        if self.config.class_weights == "none" or done <= self.config.warm_up:
            return None
        labelled = self.labelled_area > 0
        frequency = self.labelled_area + (self.pseudo_area if self.config.class_weights == "median" else 0)
        median = frequency.where(labelled, torch.nan).nanquantile(0.5)
        weights = torch.where(labelled, (median / frequency).sqrt(), 0)
        return weights.where(labelled, weights.max())

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.teacher.published(self.config.publish, self.student).net


def decay_at(done: int, t: float, kind: float | str) -> float:
    """The teacher's decay: a constant (paper), or from 0.995 to 1 along a cosine (code); 0 at first, when it is the
    student, and little at the start."""
    wanted = 1 - 0.005 * cosine_decay(t) if isinstance(kind, str) else kind
    return min(1 - 1 / (10 * done + 1), wanted)


def pseudo_loss(logs: Tensor, labels: Tensor, confidence: Tensor, weights: Tensor | None) -> Tensor:
    """Eqs. (3), (6): log-probabilities (B, C, H, W) -> the mean over all pixels, ignored ones included as 0 (code)."""
    rows = logs.permute(0, 2, 3, 1).flatten(0, 2)
    each = F.nll_loss(rows, labels.flatten(), weights, ignore_index=IGNORE, reduction="none")
    return (each * confidence.flatten()).mean()


def entropy(logs: Tensor, labels: Tensor, normalised: bool) -> Tensor:
    """Eq. (7), the mean over pixels that are not ignored; normalised (code): in 0..1, divided by ln C."""
    mean = mean_of_valid(-(logs.exp() * logs).sum(1), labels)
    return mean / math.log(logs.shape[1]) if normalised else mean
