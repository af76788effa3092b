"""Stages 2 and 3 of "A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation" (TIP 2022).

Stage 1 is methods/supervised, and stages/label.py makes the pseudo-masks between stages. Here the network is trained
afresh by its labels, by an averaged teacher, and through a second branch. Only that branch sees the pseudo-masks.

Choices, where the paper is silent or its code differs (docs/methods/three_stage.md has them all):
- the teacher's targets are hard: no threshold unless asked for, no temperature (code);
- labelled images also have the predicted pseudo-mask as target in eq. (3) (code);
- weak views of labelled images and strong views pass through the student apart, so that neither changes the batch
  statistics of the other (ours; the code freezes them);
- only the images of L and U are strongly augmented; the weak views of labelled ones serve everywhere (paper and code);
- the averaged teacher is published and makes the next stage's pseudo-masks (code), or the student (paper).
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor, nn

from fewmask.consistency.ema import Ema
from fewmask.core.errors import ConfigError
from fewmask.core.masks import IGNORE
from fewmask.learning.batchnorm import Mode, unrecorded
from fewmask.learning.class_weights import ClassShareConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, StoredLabelsConfig, TwoDomainsConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update
from fewmask.learning.losses import cross_entropy
from fewmask.learning.schedules import linear_ramp, piecewise
from fewmask.methods.three_stage.branch import BranchConfig, with_branch
from fewmask.methods.three_stage.strong import StrongViews, draw_strong

UNCHANGED = StrongViews(operations=0, holes=0)
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
From = Annotated[tuple[Share, Decay], Field(strict=False)]  # YAML has lists


class Config(UnlabelledConfig, StoredLabelsConfig, ClassShareConfig, TwoDomainsConfig, BeginningConfig):
    """``batch`` labelled images and ``unlabelled`` of all training images make a step.

    - ``lambda_1`` and ``lambda_2`` weigh eqs. (1) and (3). 0 is the ablation without consistency (CR) or without task 2
      (T2).
    - ``strong: null`` is the ablation without strong augmentation (SA).
    - ``branch.own_blocks: 2`` in stage 3 is the ablation without N2.
    - ``decay`` lists pairs: a share of the training, and the decay from there on. ``[[0, 0]]`` is the ablation without
      averaging (EMA).
    - ``ramp`` is the share over which ``lambda_1`` rises from 0. The paper has none, but its networks begin pretrained.
      The first targets of a teacher that begins at random are noise.
    - ``threshold`` is the teacher's probability from which a pixel counts in eq. (1). The paper's is 0: all do.
    - ``weight_c`` is for eq. (2); the paper's is null.
    """

    unlabelled_pool: Literal["unlabelled", "all"] = "all"
    batch_norm: Mode = "frozen"
    lambda_1: NonNegativeFloat = 0.5
    lambda_2: NonNegativeFloat = 0.5
    ramp: Share = 0.0
    threshold: float = Field(default=0.0, ge=0, lt=1)
    branch: BranchConfig = BranchConfig()
    strong: StrongViews | None = StrongViews()
    decay: list[From] = Field(default=[(0, 0.99), (1 / 3, 0.995), (2 / 3, 0.9975), (5 / 6, 0.999)])
    publish: Literal["teacher", "student"] = "teacher"

    @model_validator(mode="after")
    def _decays_from_the_start(self) -> Self:
        begins = [begin for begin, _ in self.decay]
        if begins[:1] != [0] or begins != sorted(set(begins)):
            raise ValueError(f"decay begins at the shares {begins}; expected 0 first, then rising, such as [[0, 0.99]]")
        return self


class ThreeStage(Learner):
    """One student with two branches, one teacher without."""

    schema = Config
    weights: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task = config, task
        net = task.new_network()
        self.teacher = Ema(net, config.batch_norm)
        self.student = with_branch(net, task.network, config.branch, len(task.class_names))
        self.register_buffer("weights", torch.ones(len(task.class_names)))

    def players(self) -> dict[str, nn.Module]:
        return {"student": self.student}

    def begin(self, data: LabelledData) -> None:
        fill_class_weights(self.weights, data, self.config.weight_c, self.config.share)

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        labelled, (height, width) = len(batch.x_l), batch.x_l.shape[2:]
        strong = draw_strong(self.config.strong or UNCHANGED, len(batch.x_u), (height, width))
        segmented, branch = self._seen(batch.x_l, strong.images(batch.x_u))  # f(A x), g(A x)
        terms = {"seg": cross_entropy(segmented[:labelled], batch.y_l, self.weights)}  # (2)
        p = self.teacher(torch.cat([batch.x_l, batch.x_u]))  # f'(x); its statistics need it always
        if self.config.lambda_1:
            target = self._counted(p)
            if batch.shown_u is not None:
                target[labelled:].masked_fill_(~batch.shown_u, IGNORE)
            target = torch.cat([target[:labelled], strong.labels(target[labelled:])])  # B f'(x)
            terms["con"] = cross_entropy(segmented, target)  # (1)
        if self.config.lambda_2:
            if batch.p_l is None or batch.p_u is None:
                raise ConfigError("--labels: found none; expected pseudo-masks for eq. (3). Name a label store.")
            pseudo = torch.cat([batch.p_l, strong.labels(batch.p_u)])  # B y^
            terms["pl"] = cross_entropy(branch, pseudo)  # (3)
        lambda_1 = self.config.lambda_1 * linear_ramp(t, 0, self.config.ramp)
        lambdas = {"seg": 1.0, "con": lambda_1, "pl": self.config.lambda_2}
        yield Update.weighted("student", terms, lambdas)  # (4), (5)
        self.teacher.update(self.student.net, piecewise(t, self.config.decay))

    def _seen(self, x_l: Tensor, x_u: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both branches, (B + U, C, H, W) each, of weak labelled and strong other views, which pass apart.

        For labelled images A is the identity.
        """
        segmented, branch = self.student(x_l)
        if not len(x_u):
            return segmented, branch
        with unrecorded(self.student):
            strong = self.student(x_u)
        return torch.cat([segmented, strong[0]]), torch.cat([branch, strong[1]])

    def _counted(self, logits: Tensor) -> Tensor:
        """The teacher's logits (B, C, H, W) -> the most likely class (B, H, W) int64, 255 below the threshold."""
        confidence, target = logits.float().softmax(1).max(1)
        return target.masked_fill_(confidence < self.config.threshold, IGNORE)

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        return self.task.network, self.teacher.published(self.config.publish, self.student.net)
