"""Prediction with published models: labels and confidences of uint8 images."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fewmask.core.errors import ArtefactError
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import Header, Model, check_kind, load_model
from fewmask.nets.base.segnet import SegNet
from fewmask.stores.images import Images

BATCH = 8  # images a forward pass; on a CPU the size hardly matters, on a GPU it fills the chip at usual sizes


Confidence = Literal["auxiliary", "probability"]  # of a pixel: the auxiliary network's, or the largest probability


class Predictor:
    """A segmentation model and, optionally, the auxiliary network that judges it."""

    def __init__(self, model: Path, judge: Path | None = None, device: torch.device | str = "cpu"):
        self.device = device
        self.model: Model = load_model(model, device)
        self.judge: Model | None = load_model(judge, device) if judge else None
        check_kind(model, self.model, SegNet, "a segmentation model, such as models/auxiliary.safetensors")
        if judge and self.judge:
            check_kind(judge, self.judge, "judge", "an auxiliary network, models/auxiliary_network.safetensors")
        if self.judge and judge and self.judge.header.provenance["base"] != self.model.digest:
            raise ArtefactError(
                f"{judge}: was trained on another model than {model}. Run 'dvc repro' to train it again."
            )
        header = self.header
        self.normalise = Normalise(tuple(header.mean), tuple(header.std), device)

    @property
    def header(self) -> Header:
        return self.model.header

    def require(self, images: Images, model: Path) -> None:
        """Refuse images of another class list or size than the model was trained on.

        Raises:
            ArtefactError: with the difference.
        """
        trained = f"classes {self.header.class_names} at {list(self.header.size)}"
        given = f"classes {images.class_names} at {[int(side) for side in images.size]}"
        if trained != given:
            found = f"was trained on {trained}; the images have {given}"
            raise ArtefactError(f"{model}: {found}. Run 'dvc repro' to train it on this data set.")

    def provenance(self) -> dict[str, Any]:
        """Which weights made the labels."""
        return {"model": self.model.digest, "confidence": self.judge.digest if self.judge else None}

    @torch.inference_mode()
    def logits(self, images: np.ndarray) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, C, H, W) float32 logits; of a class that a fused network drops they are -inf."""
        x = self.normalise(torch.from_numpy(images).to(self.device))
        logits: Tensor = self.model.net(x).float()
        return logits

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, C, H, W) float32 class probabilities."""
        return self.logits(images).softmax(1)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """(B, H, W, 3) uint8 -> class ids (B, H, W) uint8 and confidence (B, H, W) float32 in 0..1.

        The confidence is the judge's, where there is one, else the largest probability.
        """
        probabilities = self.probabilities(images)
        largest, label = probabilities.max(1)
        if self.judge is not None:
            largest = self.judge.net(probabilities)[:, 0].float().sigmoid()
        return label.to(torch.uint8), largest
