"""The contract between a method and the training loop.

A learner's ``step`` is a generator. Each ``yield Update(player, loss, terms)`` asks the loop for one optimiser step of
that player. What stands after a ``yield`` runs after that step, as in a pytest fixture. The loop (fit.py) owns
optimisers, rates, backward, precision, the finite check, checkpoints and progress.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from fewmask.nets.base.normalise import Normalise


@dataclass(frozen=True)
class Batch:
    """Weak views of one step: x_l (B, 3, H, W), y_l (B, H, W) int64 with 255 = ignore, x_u (U, 3, H, W), U may be 0.

    Where the stage is given a store of pseudo-labels, p_l (B, H, W) and p_u (U, H, W) are those of the same views.
    ``source``: x_l and y_l are the source domain's, for which there are no pseudo-labels (p_l is void). Where the stage
    asks for tags, z_l (B, C) float32 is 1 for each class that the labelled image shows, in the view or not, else 0.
    Where a fixed number of images is joined to the labelled ones, they are the last ``joined`` of x_l and y_l.
    shown_u (U, H, W) bool is true where x_u shows its image, and false in the padding of its view.
    """

    x_l: Tensor
    y_l: Tensor
    x_u: Tensor
    p_l: Tensor | None = None
    p_u: Tensor | None = None
    source: bool = False
    z_l: Tensor | None = None
    shown_u: Tensor | None = None
    joined: int = 0


@dataclass(frozen=True)
class Update:
    """One optimiser step of ``player`` down the gradient of ``loss`` (scalar); ``terms`` are logged (detached)."""

    player: str
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def weighted(cls, player: str, terms: dict[str, Tensor], lambdas: dict[str, float], suffix: str = "") -> Self:
        """The loss is the sum of ``terms`` times their ``lambdas``; a term without one is only logged.

        All are logged, under their names followed by ``suffix``.
        """
        loss = torch.stack([lambdas[name] * term for name, term in terms.items() if name in lambdas]).sum()
        return cls(player, loss, {name + suffix: term.detach() for name, term in terms.items()})


@dataclass(frozen=True)
class PixelCounts:
    """Of the labelled masks, not augmented: pixels of each class (C,), of all classes and void, and of the images in
    which each class occurs (C,); int64."""

    per_class: np.ndarray
    total: int
    where_present: np.ndarray


@dataclass(frozen=True)
class Task:
    """What a learner is made from, beside its own section of params.yaml.

    ``network`` is the validated section of the segmentation network and ``new_network()`` a fresh one, initialised from
    the seed; ``normalise`` is what makes its input of bytes; ``base`` is an already trained network, where dvc.yaml
    gives the stage one.
    """

    class_names: list[str]
    network: dict[str, Any]
    new_network: Callable[[], nn.Module]
    normalise: Normalise
    base: nn.Module | None = None


class LabelledData:
    """What a learner may look at before its first step: the target's images, never the source domain's."""

    counts: PixelCounts
    labelled_images: int  # with true masks
    unlabelled_images: int  # of which x_u are drawn; 0 where there are none

    def labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        """x (b, 3, H, W) and y (b, H, W) of the labelled images with true masks, in order, not augmented."""
        raise NotImplementedError


class Learner(nn.Module):
    """One method, made as ``Kind(config, task)``. Everything that must survive a restart is in ``state_dict()``."""

    schema: type[Any]  # the schema of the method's section, an extension of ``config.FitConfig``
    tagged: bool = False  # whether it learns from z_l: which classes an image shows

    def players(self) -> dict[str, nn.Module]:
        """Trainable parts by name; each gets an optimiser of its own."""
        raise NotImplementedError

    def begin(self, data: LabelledData) -> None:
        """Called once, before the first step of a fresh training; results belong into buffers.

        The players are in training mode, and have to be again afterwards.
        """

    def step(self, batch: Batch, t: float) -> Iterator[Update]:
        """One training step; ``t`` is the share of training done, 0..1."""
        raise NotImplementedError

    def result(self) -> tuple[dict[str, Any], nn.Module]:
        """What is published: the ``network`` section that rebuilds it, and the module."""
        raise NotImplementedError


def most_likely(scores: Tensor) -> Tensor:
    """Scores or probabilities (B, C, H, W) -> class ids (B, H, W) int64.

    On a CPU ``max`` is 14 times faster than ``argmax`` in this layout.
    """
    return scores.max(1).indices
