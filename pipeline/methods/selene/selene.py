"""SELENE: "Self Semi Supervised Neural Architecture Search for Semantic Segmentation" (Pauletto et al., 2022).

A network learns from labels, from puzzles that it recognises, and from a second network. That is its average (mean
teacher) or a peer (co-teaching). Any segmentation network can. The paper's is nets/routing, whose gates are its
architecture.

Choices, where the paper is silent or misprinted (docs/methods/selene.md has them all):
- eq. (4) as printed has the teacher's output in the supervised loss, which gives the student no gradient: here p^s_l;
- eq. (3) is a mean over pixels and classes, not a sum. Eqs. (3), (5), (6) are means over labelled and unlabelled images
  together. lambda_2 has its value for such means in the code that the paper builds on;
- one puzzle is drawn for each image, not all 100. Student and teacher, or both peers, see the same one;
- labelled and unlabelled images pass through a network together. Where these are puzzles, the published network's
  running statistics are taken from the images as they are.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from math import ceil
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.consistency.ema import Ema
from fewmask.core.errors import ConfigError
from fewmask.core.masks import IGNORE
from fewmask.core.params import Section
from fewmask.costs.route_cost import Costs, costs_of
from fewmask.learning.batchnorm import unrecorded
from fewmask.learning.class_weights import ClassWeightsConfig, fill_class_weights
from fewmask.learning.config import BeginningConfig, TwoDomainsConfig, UnlabelledConfig
from fewmask.learning.learner import Batch, LabelledData, Learner, Task, Update, most_likely
from fewmask.learning.losses import cross_entropy, mean_of_valid
from fewmask.learning.schedules import linear_ramp
from fewmask.methods.selene.hard_pixels import OhemConfig, ohem_cross_entropy
from fewmask.methods.selene.jigsaw import TABLE, draw_puzzles
from fewmask.methods.selene.pretext import Solver
from fewmask.nets.base.segnet import Features, Levels, SegNet, maps_of
from fewmask.nets.routing.routing import encoder_of

LAMBDA_2 = {"none": 0.0, "mean_teacher": 100.0, "co_teaching": 5.0}  # the paper's; on VOC 0.5 to 1.5 for co-teaching
NOMINAL = (512, 512)  # where views are whole images: shares of cost hardly depend on the size
PLAIN = 100  # last steps in which images as they are give the statistics: all else weighs less than 0.0001 then


class BudgetConfig(Section):
    """weight (E / C - share)^2: E is the expected cost of the routes, C the cost of the network with all gates open.

    It is off until ``begin``, a share of the training, and then rises to ``weight`` within ``ramp``. ``cost: executed``
    counts what is open, with the gradient of the expected cost. ``expected``, with weight 0.8, is Li et al.'s: it
    bounds the gates and not the computation.
    """

    share: float = Field(gt=0, le=1)
    weight: PositiveFloat = 10.0
    begin: float = Field(default=0.4, ge=0, lt=1)
    ramp: float = Field(default=0.02, ge=0, le=1)
    cost: Literal["expected", "executed"] = "executed"


class Config(UnlabelledConfig, ClassWeightsConfig, TwoDomainsConfig, BeginningConfig):
    """``semi`` and ``jigsaw`` choose the row of Tables 1 to 4; ``network`` is a section like the top level's.

    - ``lambda_1`` weighs the puzzles. A share ``shuffled`` of the images is shuffled; the others stay as they are.
    - ``lambda_2`` weighs eq. (3) or (6). Null is the paper's: 100 for the mean teacher, 5 (Cityscapes) for co-teaching.
    - ``ramp`` is the share of the training over which ``lambda_2`` rises from 0. The paper has none, but its networks
      begin pretrained.
    - ``ohem`` restricts the supervised loss to hard pixels (Cityscapes). ``budget`` makes gates close.
    - ``weight_c``: the paper's is null.
    """

    network: dict[str, Any] = Field(default={})
    semi: Literal["none", "mean_teacher", "co_teaching"] = "mean_teacher"
    jigsaw: bool = True
    lambda_1: PositiveFloat = 0.1
    lambda_2: NonNegativeFloat | None = None
    ramp: float = Field(default=0, ge=0, le=1)
    shuffled: float = Field(default=1.0, gt=0, le=1)
    decay: float = Field(default=0.99, ge=0, lt=1)
    publish: Literal["student", "teacher"] = "student"
    ohem: OhemConfig | None = None
    budget: BudgetConfig | None = None

    def lambda_2_at(self, t: float) -> float:
        """What lambda_2 is when the share ``t`` of the training is done."""
        whole = LAMBDA_2[self.semi] if self.lambda_2 is None else self.lambda_2
        return whole * linear_ramp(t, 0, self.ramp)

    @model_validator(mode="after")
    def _networks_make_sense(self) -> Self:
        if self.publish == "teacher" and self.semi != "mean_teacher":
            raise ValueError(f"publish is teacher, and semi: {self.semi} has none; write publish: student")
        if self.semi == "co_teaching" and self.begin_with == "supervised":
            found = "begin_with is supervised, so that both peers would begin alike and agree in everything"
            raise ValueError(f"{found}; write begin_with: weights")
        return self


class Selene(Learner):
    """One network, or a student with its teacher, or two peers; the first peer is published."""

    schema = Config
    weights: Tensor

    def __init__(self, config: Config, task: Task):
        super().__init__()
        self.config, self.task = config, task
        self.net = self._new()
        self.peer = self._new() if config.semi == "co_teaching" else None
        if self.peer is not None and _equal(_net(self.net), _net(self.peer)):
            found = "network.weights: fills the whole network, so that both peers would begin alike"
            raise ConfigError(f"{found}; expected weights of its backbone alone, or null. Change it.")
        self.teacher = Ema(_net(self.net), config.batch_norm) if config.semi == "mean_teacher" else None
        self.costs = _costs(_net(self.net), config)
        self.register_buffer("weights", torch.ones(len(task.class_names)))

    def _new(self) -> nn.Module:
        net = self.task.new_network()
        assert isinstance(net, SegNet), "every network that segments images is a SegNet"
        return Solver(net, len(TABLE)) if self.config.jigsaw else net

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net} | ({"peer": self.peer} if self.peer is not None else {})

    def begin(self, data: LabelledData) -> None:
        fill_class_weights(self.weights, data, self.config.weight_c)

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        (plain, y), labelled = self._seen(batch), len(batch.y_l)
        puzzles = draw_puzzles(len(plain), self.config.shuffled, plain.device) if self.config.jigsaw else None
        x, y = (puzzles(plain), puzzles(y)) if puzzles else (plain, y)
        with unrecorded(self) if puzzles else nullcontext():
            features = {name: _net(player).features(x) for name, player in self.players().items()}
            logits = {name: self._logits(name, of, x) for name, of in features.items()}
            p_t = self.teacher(x).float().softmax(1) if self.teacher is not None else None
        for name in self.players():
            terms = {"sup": self._supervised(logits[name][:labelled], y[:labelled])}  # (1), (7)
            if puzzles:
                terms["jig"] = self._puzzled(name, features[name], puzzles.classes, labelled)
            if p_t is not None:
                terms["mt"] = mean_of_valid((logits[name].float().softmax(1) - p_t).square().mean(1), y)  # (3)
            if self.peer is not None:
                other = most_likely(logits["peer" if name == "net" else "net"])
                terms["cps"] = cross_entropy(logits[name], other.masked_fill(y == IGNORE, IGNORE))  # (5), (6)
            terms |= self._budget(features[name])
            yield Update.weighted(name, terms, self._lambdas(t), "" if name == "net" else "_peer")  # (8)
        if self.teacher is not None:
            self.teacher.update(_net(self.net), self.config.decay)  # (2)
        if puzzles and round(t * self.config.steps) >= self.config.steps - PLAIN:
            with torch.no_grad():
                self.result()[1](plain)  # for its statistics

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The images that are looked at, labelled ones first, and their masks, (B + U, H, W) int64.

        In place of the masks that unlabelled images lack, 0 is the image and 255 the padding of its view.
        """
        if (self.config.semi == "none" and not self.config.jigsaw) or not len(batch.x_u):
            return batch.x_l, batch.y_l
        y_u = batch.y_l.new_zeros((len(batch.x_u), *batch.y_l.shape[1:]))
        if batch.shown_u is not None:
            y_u = y_u.masked_fill(~batch.shown_u, IGNORE)
        return torch.cat([batch.x_l, batch.x_u]), torch.cat([batch.y_l, y_u])

    def _logits(self, name: str, features: Features, x: Tensor) -> Tensor:
        net = _net(self.players()[name])
        return net.enlarged(net.head(features), x.shape[2:])

    def _puzzled(self, name: str, features: Features, classes: Tensor, labelled: int) -> Tensor:
        """The pretext loss of section 3.1: the mean over labelled images plus that over any others."""
        solver = self.players()[name]
        assert isinstance(solver, Solver)
        each = F.cross_entropy(solver.top_down(maps_of(features[-1])).float(), classes, reduction="none")
        return torch.stack([part.mean() for part in each.split([labelled, len(each) - labelled]) if len(part)]).sum()

    def _supervised(self, logits: Tensor, y: Tensor) -> Tensor:
        ohem = self.config.ohem
        if ohem is None:
            return cross_entropy(logits, y, self.weights)
        return ohem_cross_entropy(logits, y, self.weights, threshold=ohem.threshold, kept=ohem.kept)

    def _budget(self, features: Features) -> dict[str, Tensor]:
        """The squared distance of the routes' share of the cost from the budget, if there is one; and that share."""
        levels = features[-1]
        if self.costs is None or not isinstance(levels, Levels):
            return {}
        expected, executed = (
            count(levels.gates).mean().float() / self.costs.whole for count in (self.costs.of, self.costs.executed)
        )
        terms = {"cost": expected.detach(), "open": executed}
        budget = self.config.budget
        if budget is None:
            return terms
        share = expected if budget.cost == "expected" else executed + expected - expected.detach()
        return {"budget": (share - budget.share).square(), **terms}

    def _lambdas(self, t: float) -> dict[str, float]:
        """Of eq. (8), and of the budget; the terms without one are only logged."""
        lambda_2, budget = self.config.lambda_2_at(t), self.config.budget
        lambda_b = 0.0 if budget is None else budget.weight * linear_ramp(t, budget.begin, budget.ramp)
        return {"sup": 1.0, "jig": self.config.lambda_1, "mt": lambda_2, "cps": lambda_2, "budget": lambda_b}

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        net = _net(self.net)
        return self.task.network, self.teacher.published(self.config.publish, net) if self.teacher else net


def _net(player: nn.Module) -> SegNet:
    """The segmentation network of a player."""
    net = player.net if isinstance(player, Solver) else player
    assert isinstance(net, SegNet)
    return net


def _equal(net: nn.Module, other: nn.Module) -> bool:
    """Whether all parameters are; on no device nobody can tell."""
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(not one.is_meta and torch.equal(one, two) for one, two in pairs)


def _costs(net: SegNet, config: Config) -> Costs | None:
    """The costs of a routing network at the size of the views.

    Raises:
        ConfigError: a budget for another network, or one below what always runs.
    """
    encoder = encoder_of(net)
    if config.budget is not None and (encoder is None or encoder.fixed):
        raise ConfigError("budget: the network has no gates to close; expected routing without paths. Remove budget.")
    if encoder is None or encoder.fixed:
        return None
    costs = costs_of(net, config.views.crop or NOMINAL)
    least = costs.always / costs.whole
    if config.budget is not None and config.budget.share < least:
        raise ConfigError(
            f"budget.share: found {config.budget.share}; stem, gates and decoder always run and are {least:.3f} of the "
            f"cost with every gate open. Set a share of {ceil(1000 * least) / 1000} or more."
        )
    return costs
