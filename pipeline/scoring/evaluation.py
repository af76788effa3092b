"""Score a model on labelled images: the numbers of metrics/<method>.json and the tables beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from fewmask.core.params import Section, Size
from fewmask.core.progress import Progress
from fewmask.costs.macs import gmacs, parameters
from fewmask.costs.route_cost import costs_of
from fewmask.nets.base.segnet import SegNet
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.scoring.boundary import rim_counts, rim_width
from fewmask.scoring.calibration import bin_sums, expected_error
from fewmask.scoring.confusion import confusion
from fewmask.scoring.overlap import accuracy, iou, mean_over_present
from fewmask.stores.images import Images

Role = Literal["test", "validation"]


class EvaluateConfig(Section):
    """``role``: the images that are scored; validation is for choices.

    ``boundary``: width of the rims of boundary IoU as a share of the image diagonal; ``bins`` of the ECE.
    ``resolution`` (height, width) is that of the image whose cost is told; null: the working size.
    """

    role: Role = "test"
    boundary: float = Field(default=0.02, gt=0, lt=1)
    bins: PositiveInt = 15
    resolution: Size | None = None


@dataclass
class Scores:
    """Sums over images; every measure follows from them. ``matrix`` (C, C), ``rims`` (2, C), ``bins`` (3, bins)."""

    config: EvaluateConfig
    matrix: Tensor
    rims: Tensor
    bins: Tensor
    each: list[Tensor] = field(default_factory=list)  # the matrix of every image, in their order
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def empty(cls, config: EvaluateConfig, classes: int) -> "Scores":
        matrix, rims = (torch.zeros(rows, classes, dtype=torch.int64) for rows in (classes, 2))
        return cls(config, matrix, rims, torch.zeros(3, config.bins, dtype=torch.float64))

    def add(self, truth: Tensor, predicted: Tensor, confidence: Tensor) -> None:
        """Add images: truth and prediction (B, H, W) uint8, confidence (B, H, W) float32."""
        classes = len(self.matrix)
        valid = truth < classes
        each = [confusion(*pair, classes).cpu() for pair in zip(truth, predicted, strict=True)]
        self.each += each
        self.matrix += sum(each)
        width = rim_width((truth.shape[1], truth.shape[2]), self.config.boundary)
        self.rims += rim_counts(truth, predicted, classes, width).cpu()
        self.bins += bin_sums(confidence[valid], (predicted == truth)[valid], self.config.bins).cpu()

    def metrics(self) -> dict[str, Any]:
        """Measures in 0..1; None where undefined. Means are over the classes that occur in the truth."""
        matrix, rims = self.matrix.numpy(), self.rims.numpy()
        shared, union = rims.astype(float)
        boundary = np.divide(shared, union, out=np.full(len(union), np.nan), where=union > 0)
        total = matrix.sum()
        return {
            "miou": mean_over_present(iou(matrix), matrix),
            "mean_accuracy": mean_over_present(accuracy(matrix), matrix),
            "pixel_accuracy": float(np.trace(matrix) / total) if total else None,
            "boundary_iou": mean_over_present(boundary, matrix),
            "ece": expected_error(self.bins),
            "images": len(self.each),
        }

    def per_class(self, names: list[str]) -> list[dict[str, Any]]:
        """Rows class, iou, accuracy, pixels."""
        matrix = self.matrix.numpy()
        columns = zip(names, iou(matrix), accuracy(matrix), matrix.sum(1), strict=True)
        return [{"class": n, "iou": i, "accuracy": a, "pixels": p} for n, i, a, p in columns]

    def pairs(self, names: list[str]) -> list[dict[str, Any]]:
        """Rows actual, predicted, pixels, rate (share of the true class)."""
        matrix = self.matrix.numpy()
        rates = matrix / matrix.sum(1, keepdims=True).clip(min=1)
        cells = np.ndindex(*matrix.shape)
        return [
            {"actual": names[i], "predicted": names[j], "pixels": matrix[i, j], "rate": rates[i, j]} for i, j in cells
        ]

    def per_image(self, images: Sequence[str], names: list[str]) -> list[dict[str, Any]]:
        """Rows image, actual, predicted, pixels: what each image adds to ``pairs``, without zeros."""
        found = [(image, matrix.nonzero().tolist(), matrix) for image, matrix in zip(images, self.each, strict=True)]
        return [
            {"image": image, "actual": names[i], "predicted": names[j], "pixels": int(matrix[i, j])}
            for image, cells, matrix in found
            for i, j in cells
        ]


def evaluate(predictor: Predictor, images: Images, names: list[str], config: EvaluateConfig, title: str) -> Scores:
    """Predict ``names`` at the working size and compare with their masks; the labels are kept in ``labels``."""
    scores = Scores.empty(config, len(images.class_names))
    with Progress(title, len(names), "image") as progress:
        for first in range(0, len(names), BATCH):
            part = names[first : first + BATCH]
            predicted, confidence = predictor(images.stack(part))
            truth = torch.from_numpy(images.stack(part, "mask")).to(predicted.device)
            scores.add(truth, predicted, confidence)
            scores.labels.update(zip(part, predicted.cpu().numpy(), strict=True))
            progress.show(first + len(part))
    return scores


def cost(predictor: Predictor, resolution: tuple[int, int] | None, gates: Tensor | None) -> dict[str, Any]:
    """Parameters of the predicting network, and what an image of ``resolution`` costs: 10^9 multiply-accumulates.

    ``gmacs`` has every gate open; ``gmacs_min``, ``_mean`` and ``_max`` are over the evaluated images, whose ``gates``
    (N, cells, 3) a routing network opened: without any they are the same.
    """
    height, width = resolution or predictor.header.size
    net = predictor.model.net
    whole = gmacs(net, (height, width))
    saved = torch.zeros(1, dtype=torch.float64)
    if gates is not None and len(gates):
        assert isinstance(net, SegNet)
        costs = costs_of(net, (height, width))
        saved = (costs.whole - costs.executed(gates)) / 1e9
    executed = {"gmacs_min": whole - saved.max(), "gmacs_mean": whole - saved.mean(), "gmacs_max": whole - saved.min()}
    return {"parameters": parameters(net), "gmacs": whole, **executed}
