"""What params.yaml says of a training: ``FitConfig`` is for every method, the others are for those that use their keys.

A method's own section extends the ones it needs, so that a key without effect is refused as unknown.
"""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from fewmask.core.params import Section
from fewmask.learning.batchnorm import Mode
from fewmask.learning.optim import OptimiserConfig
from fewmask.learning.views import WeakViews


class FitConfig(Section):
    """What every training has."""

    steps: PositiveInt
    batch: PositiveInt  # labelled images a step
    optimiser: OptimiserConfig
    views: WeakViews = WeakViews()
    batch_norm: Mode = "trained"  # or statistics: fixed affine parameters; or frozen: these and the statistics
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where CUDA has it, else float32

    def optimiser_of(self, player: str) -> OptimiserConfig:
        """Each player has an optimiser of its own; where params have one section, all are made alike."""
        return self.optimiser


class BeginningConfig(FitConfig):
    """Of networks that may begin as an earlier model."""

    begin_with: Literal["weights", "supervised"] = "weights"  # network.weights, or those of the supervised network


class UnlabelledConfig(FitConfig):
    """Of methods that see unlabelled images.

    ``unlabelled: 0`` is the control of every method: the same training, on labelled images alone.
    """

    unlabelled: NonNegativeInt  # a step; no default, as it decides what is learned
    unlabelled_pool: Literal["unlabelled", "all"] = "unlabelled"  # who they are: U, or L and U together


class StoredLabelsConfig(FitConfig):
    """Of methods that learn from pseudo-labels in a store."""

    fixed_void: bool = False  # pseudo-labels are void where every labelled mask is: under the camera's own car


class JoinedConfig(FitConfig):
    """Of methods whose labelled images are joined by others, which have pseudo-labels or tags."""

    pseudo: NonNegativeInt | None = None  # of `batch`, how many are joined images; null: one shuffled set

    @model_validator(mode="after")
    def _leaves_true_labels(self) -> Self:
        if self.pseudo is not None and self.pseudo >= self.batch:
            raise ValueError(f"pseudo {self.pseudo} is not below batch {self.batch}; leave room for true labels")
        return self


class JoinedLabelsConfig(JoinedConfig, StoredLabelsConfig):
    """Of methods whose labelled images are joined by pseudo-labelled ones."""


class TwoDomainsConfig(FitConfig):
    """Of methods that may learn from a second, labelled domain."""

    source: float = Field(default=0, ge=0, lt=1)  # share of the steps whose labelled images are the source domain's
    source_until: float = Field(default=1, ge=0, le=1)  # share of the training after which all are the target's
