"""Semi-Supervised Semantic Segmentation with High- and Low-level Consistency: the branch MLMT.

Mittal, Tatarchenko, Brox, TPAMI 2021. A multi-label mean teacher learns which classes an image shows. It learns from
the labelled images, and from unlabelled ones by agreement with its average. At prediction (fusion/fused.py) it
drops the classes that the network of methods/s4gan sees though the image does not show them.

Choices, where paper and released code differ (docs/methods/s4gan.md has them all):
- the loss is binary cross-entropy with one score a class (code; the text has a categorical one);
- the averaged network is published (code; the text fuses the student);
- without an ``encoder`` the classifier sees through the segmentation network, which has learned from masks. A small
  network that begins at random has no other knowledge (paper: a ResNet-101 with ImageNet weights);
- ``consistency: cosine`` is the code's: 1 - cosine of the logits, of unlabelled images, with a ramp. ``mse`` is the
  paper's: squared differences of the scores, of all images.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, Strict, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.consistency.augment import Augment, augment
from fewmask.consistency.ema import Ema
from fewmask.core.params import Size
from fewmask.learning.batchnorm import unrecorded
from fewmask.learning.colours import Intensity, Probability, Sigmas, Turn
from fewmask.learning.config import BeginningConfig, JoinedConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, Learner, Task, Update
from fewmask.learning.losses import binary_cross_entropy
from fewmask.learning.schedules import linear_ramp
from fewmask.learning.views import WeakViews
from fewmask.methods.mlmt.tagger import Tagger, on_encoder, on_network
from fewmask.nets.base.encoders import EncoderConfig
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.base.weights import normalisation

Share = Annotated[float, Field(ge=0, le=1)]
Ramp = Annotated[tuple[Share, Share], Strict(False)]  # YAML has lists


class Whole(WeakViews):
    """The loader's views: whole images, at most mirrored or smaller; a part might not show what the image does."""

    crop: None = None
    scales: list[Annotated[float, Field(ge=0.1, le=1)]] = Field(default=[1.0], min_length=1)
    shift: Literal[0] = 0


class StudentViews(Augment):
    """The student's views of unlabelled images (released code)."""

    resize: Literal[0] = 0
    jitter: Probability = 1.0
    brightness: Intensity = 0.4
    contrast: Intensity = 0.4
    saturation: Intensity = 0.4
    hue: Turn = 0.1
    blur: Probability = 1.0
    sigma: Sigmas = (0.1, 2.0)
    mix: Literal[0] = 0  # an image with parts of another shows other classes


class Config(UnlabelledConfig, JoinedConfig, BeginningConfig):
    """``batch`` labelled and ``unlabelled`` other images make a step.

    ``encoder``: null uses ``network``, beginning with the weights that ``begin_with`` names; otherwise an encoder of
    its own, as in the paper. ``size``: images are stretched to it; null leaves them as they are. ``lambda_cons`` weighs
    the consistency of eq. (6); 0 is the row CNN of Table 5. It rises from 0 over ``ramp``, two shares of the training.
    """

    batch_norm: Literal["trained", "statistics"] = "trained"
    encoder: EncoderConfig | None = None
    size: Size | None = None
    views: Whole = Whole()
    strong: StudentViews = StudentViews()
    lambda_cons: NonNegativeFloat = 1.0
    consistency: Literal["cosine", "mse"] = "cosine"
    ramp: Ramp = (0.1, 0.6)
    decay: float = Field(default=0.999, ge=0, lt=1)
    publish: Literal["teacher", "student"] = "teacher"

    @model_validator(mode="after")
    def _the_teacher_has_seen_images(self) -> Self:
        if not self.lambda_cons and self.publish == "teacher":
            raise ValueError("publish is teacher, and with lambda_cons 0 there is none; write publish: student")
        return self

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.encoder and self.begin_with == "supervised":
            raise ValueError("begin_with is supervised, and encoder has weights of its own; write begin_with: weights")
        return self

    @model_validator(mode="after")
    def _ramp_rises(self) -> Self:
        if self.ramp[0] > self.ramp[1]:
            raise ValueError(f"ramp is {list(self.ramp)}; expected the lower share first")
        return self


class MLMT(Learner):
    """Student and teacher."""

    schema = Config
    tagged = True

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task = config, task
        self.student = new_tagger(config, task)
        self.teacher = Ema(self.student)

    def players(self) -> dict[str, nn.Module]:
        return {"student": self.student}

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        assert batch.z_l is not None, "stages/fit.py gives every learner that is tagged its tags"
        config, z = self.config, self.student(batch.x_l).float()
        terms = {"cls": binary_cross_entropy(z, batch.z_l)}  # (6), first term
        if config.lambda_cons:
            terms |= self._consistency(batch, z)
        begin, end = config.ramp
        lambdas = {"cls": 1.0, "cons": config.lambda_cons * linear_ramp(t, begin, end - begin)}
        yield Update.weighted("student", terms, lambdas)  # (6)
        self.teacher.follow(self.student, config.decay, round(t * config.steps))

    def _consistency(self, batch: Batch, z: Tensor) -> dict[str, Tensor]:
        """Eq. (6), second term, if it has any images; ``z`` (B, C) are the student's logits of the labelled ones."""
        cosine, pairs = self.config.consistency == "cosine", []
        if len(batch.x_u):
            with unrecorded(self.student):
                student = self.student(self._strong(batch.x_u)).float()
            pairs.append((student, self.teacher(mirrored(batch.x_u)).float()))
        if not cosine or not pairs:  # without unlabelled images for the teacher's batch statistics
            pairs.insert(0, (z, self.teacher(mirrored(batch.x_l)).float()))
        student, teacher = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        if not cosine:
            return {"cons": F.mse_loss(student.sigmoid(), teacher.sigmoid())}
        return {"cons": (1 - F.cosine_similarity(student, teacher)).mean()} if len(batch.x_u) else {}

    def _strong(self, x: Tensor) -> Tensor:
        labels = x.new_zeros((len(x), *x.shape[2:]), dtype=torch.long)
        return augment(self.config.strong, x, labels, labels.float(), self.task.normalise).x

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        config = self.config
        network = config.encoder.model_dump(mode="json") if config.encoder else self.task.network
        size = list(config.size) if config.size else None
        published = self.teacher.published(config.publish, self.student)
        return {"name": "tagger", "network": {**network, "weights": None}, "size": size}, published


def new_tagger(config: Config, task: Task) -> Tagger:
    """A tagger that looks with an encoder of its own, or with a new segmentation network."""
    classes = len(task.class_names)
    if config.encoder is None:
        net = task.new_network()
        assert isinstance(net, SegNet), "every network that segments images is a SegNet"
        return on_network(net, classes, config.size)
    tagger = on_encoder(config.encoder, classes, config.size)
    tagger.rescale((task.normalise.mean, task.normalise.std), normalisation(config.encoder))
    return tagger


def mirrored(x: Tensor) -> Tensor:
    """x (B, 3, H, W) with every image as likely as not left to right; drawn on the host, from torch's generator."""
    flipped = (torch.rand(len(x)) < 0.5).to(x.device, non_blocking=True)
    return torch.where(flipped[:, None, None, None], x.flip(3), x)
