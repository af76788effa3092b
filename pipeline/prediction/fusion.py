"""Late fusion of a segmentation network and a classifier of whole images: classes that an image lacks are not painted.

Eq. (7) of "Semi-Supervised Semantic Segmentation with High- and Low-level Consistency": S(x)_c = 0 if G(x)_c <= tau,
else S(x)_c, where S(x)_c is the probability map of class c and G(x)_c the classifier's probability that c is in x.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.core.params import Section
from fewmask.methods.mlmt.tagger import Tagger
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import check_kind, load_model
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import BACKGROUND

TAU = 0.2  # the paper's, by cross-validation


class FusionConfig(Section):
    """``rule`` says by what a class is dropped from an image: its classifier score (eq. 7), or its predicted pixels.

    ``tau`` is the threshold on scores. ``pixels``, and 0, are those to choose from on the validation images: one for
    all classes, or one for each.
    """

    rule: Literal["scores", "pixels", "pixels_per_class"] = "scores"
    tau: float = Field(default=TAU, ge=0, le=1)
    pixels: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(default=list(range(1000, 13000, 1000)), min_length=1)


def require_validation(rule: str, labelled: bool) -> None:
    """Refuse a rule whose thresholds are chosen on the validation images, where these have no ``labelled`` pixel.

    Raises:
        ConfigError: with what to set.
    """
    if rule != "scores" and not labelled:
        found = f"fusion.rule: {rule} is chosen on the validation images, which have no labelled pixel"
        raise ConfigError(f"{found}. Set rule: scores, or give the data set or split.validation some with masks.")


def kept(scores: Tensor, threshold: float | Tensor, background: int | None) -> Tensor:
    """Scores (B, C) > threshold, a number or (C,) -> bool (B, C).

    The background is always kept, and all classes are in an image of which none would be.
    """
    found = scores > threshold
    if background is not None:
        found[:, background] = True
    found[~found.any(1)] = True
    return found


def fuse(logits: Tensor, kept: Tensor) -> Tensor:
    """Logits (B, C, H, W) and the kept classes, bool (B, C) -> probabilities (B, C, H, W) of sum 1, of dropped ones 0.

    The logit of a dropped class is -inf: a zero would still win where all others are negative.
    """
    return masked(logits, kept).softmax(1)


def masked(logits: Tensor, kept: Tensor) -> Tensor:
    """Logits (B, C, H, W) with -inf where kept, bool (B, C), is false."""
    return logits.masked_fill(~kept[:, :, None, None], -torch.inf)


class FusedPredictor(Predictor):
    """A segmentation model and a tagger that was trained apart, on the same classes at the same size.

    Where ``pixels`` (C,) int64 is given, a class is dropped from an image in which it is predicted on fewer pixels, and
    the tagger does not run.
    """

    def __init__(self, model: Path, tagger: Path, tau: float = TAU, device: torch.device | str = "cpu"):
        super().__init__(model, device=device)
        self.tagger = load_model(tagger, device)
        check_kind(tagger, self.tagger, Tagger, "a tagger, such as models/mlmt.safetensors")
        header, other = self.header, self.tagger.header
        remedy = "Run 'dvc repro' to train both on one data set."
        if other.class_names != header.class_names:
            found = f"knows the classes {other.class_names}; {model} has {header.class_names}"
            raise ArtefactError(f"{tagger}: {found}. {remedy}")
        if other.size != header.size:
            raise ArtefactError(f"{tagger}: was trained at {other.size}; {model} at {header.size}. {remedy}")
        self.tau = tau
        self.pixels: Tensor | None = None
        self.normalise_tagger = Normalise(tuple(other.mean), tuple(other.std), device)

    @property
    def background(self) -> int | None:
        """The class that is never dropped."""
        names = self.header.class_names
        return names.index(BACKGROUND) if BACKGROUND in names else None

    @property
    def networks(self) -> list[nn.Module]:
        return [self.model.net, self.tagger.net] if self.pixels is None else [self.model.net]

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "tagger": self.tagger.digest}

    def decide(self, images: np.ndarray, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, 3) uint8 and their logits (B, C, H, W) -> scores (B, C) float32, kept classes bool (B, C).

        The score is what the threshold is for: the tagger's probability, or the number of predicted pixels.
        """
        if self.pixels is not None:
            counts = pixel_counts(logits)
            return counts.float(), kept(counts, self.pixels - 1, self.background)
        x = self.normalise_tagger(torch.from_numpy(images).to(self.device))
        scores = self.tagger.net(x).float().sigmoid()
        return scores, kept(scores, self.tau, self.background)

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, C, H, W) float32 class probabilities, of dropped classes 0."""
        logits = self.logits(images)
        return fuse(logits, self.decide(images, logits)[1])


def pixel_counts(logits: Tensor) -> Tensor:
    """Logits (B, C, H, W) -> pixels whose largest is class c, (B, C) int64."""
    classes = logits.shape[1]
    return torch.stack([torch.bincount(label.flatten(), minlength=classes) for label in logits.argmax(1)])
