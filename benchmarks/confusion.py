"""Confusion counts of 20 masks of 360x480, mask by mask, against torchmetrics and np.bincount."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from benchmarks.inputs import CLASSES, maps
from benchmarks.timing import Bench, Result, take_turns
from fewmask.learning.views import IGNORE
from fewmask.scoring.confusion import confusion


def noisy_masks(count: int) -> tuple[Tensor, Tensor]:
    """Truth and predictions (N, 360, 480) uint8: coherent blobs, 10 % of the predicted pixels at random, some void."""
    rng = np.random.default_rng(0)
    truth = np.stack([label for label, _ in maps(count)])
    noise = rng.random(truth.shape) < 0.1
    predicted = np.where(noise, rng.integers(0, CLASSES, truth.shape, np.uint8), truth)
    void = maps(count)[0][1] < 0.5
    return torch.from_numpy(np.where(void, np.uint8(IGNORE), truth)), torch.from_numpy(predicted)


def bincount_int64(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The form that released code uses, on int64."""
    valid = (truth >= 0) & (truth < CLASSES)
    joint = CLASSES * truth[valid] + predicted[valid]
    return np.bincount(joint, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def measure(bench: Bench) -> list[Result]:
    """Mask by mask, as an evaluation meets them."""
    truth, predicted = noisy_masks(20)
    pairs = list(zip(truth, predicted, strict=True))
    wide = [(y.long(), p.long()) for y, p in pairs]
    arrays = [(y.numpy(), p.numpy()) for y, p in wide]
    metric = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORE)

    def ours() -> Tensor:
        return sum((confusion(y, p, CLASSES) for y, p in pairs), torch.zeros(CLASSES, CLASSES, dtype=torch.int64))

    def torchmetrics() -> Tensor:
        metric.reset()
        for y, p in wide:
            metric.update(p, y)
        return metric.compute()

    def bincount() -> np.ndarray:
        return sum((bincount_int64(y, p) for y, p in arrays), np.zeros((CLASSES, CLASSES), int))

    assert torch.equal(ours(), torchmetrics()) and np.array_equal(ours().numpy(), bincount()), "counts differ"
    turns = take_turns(bench.some(15), ours=ours, torchmetrics=torchmetrics, bincount=bincount)
    return [
        turns.against("20 masks 360x480, against torchmetrics", "torchmetrics", least=40),
        turns.against("20 masks 360x480, against np.bincount on int64", "bincount", least=20),
    ]
