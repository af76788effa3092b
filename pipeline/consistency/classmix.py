"""ClassMix: the pixels of some classes of one image, pasted onto another with their labels and confidences.

"ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning" (Olsson et al., WACV 2021). It is changed
as in "Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise Memory Bank"
(Alonso et al., ICCV 2021). Image i + 1 of a batch, the donor, shows n classes. Image i receives the pixels of
floor(n / 2) + 1 of these, at the same places. The first image is the donor of the last.

Choices:
- Donors are the images as they came: what a donor receives is not handed on.
- 255 is no class. Its pixels are never pasted, and a donor that shows nothing else gives nothing.
- ``background=False`` also leaves class 0 out of the n, unless the donor shows no other class. The authors' code has it
  for VOC alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fewmask.core.masks import IGNORE

CODES = 256  # 0 to 254 are classes, 255 is IGNORE


class Views(NamedTuple):
    """Images x (B, 3, H, W), labels (B, H, W) int64 with 255 = ignore, and confidence (B, H, W), 0..1."""

    x: Tensor
    labels: Tensor
    confidence: Tensor


def classmix(x: Tensor, labels: Tensor, confidence: Tensor, probability: float, background: bool = True) -> Views:
    """Mix each image of a batch, shaped as in ``Views``, with ``probability``; inputs are not written to.

    Drawn from torch's global generator on the host, never waiting for the device.

    Raises:
        RuntimeError: a label is not 0 to 255 (on CUDA: a device-side assertion).
    """
    applied = torch.rand(len(x)) < probability
    order = torch.rand(len(x), CODES).argsort(1)
    if not applied.any():
        return Views(x, labels, confidence)
    donors = labels.roll(-1, 0)
    chosen = drawn_classes(donors, order, background) & applied.to(x.device, non_blocking=True)[:, None]
    return pasted(x, labels, confidence, chosen.gather(1, donors.flatten(1)).view_as(labels))


def pasted(x: Tensor, labels: Tensor, confidence: Tensor, where: Tensor) -> Views:
    """A batch, shaped as in ``Views``, with the pixels ``where`` (B, H, W) bool of image i taken from image i + 1."""
    return Views(
        torch.where(where[:, None], x.roll(-1, 0), x),
        torch.where(where, labels.roll(-1, 0), labels),
        torch.where(where, confidence.roll(-1, 0), confidence),
    )


def drawn_classes(labels: Tensor, order: Tensor, background: bool = True) -> Tensor:
    """The first floor(n / 2) + 1 of the n classes of each map (B, H, W), in ``order`` -> (B, 256) bool.

    ``order`` (B, 256) int64, on the host, is a permutation of all codes for each image.
    """
    order, place = torch.stack([order, order.argsort(1)]).to(labels.device, non_blocking=True)
    present = torch.zeros_like(order, dtype=torch.bool).scatter_(1, labels.flatten(1), True)
    present[:, IGNORE] = False
    if not background:
        present[:, 0] &= ~present[:, 1:].any(1)
    queue = present.gather(1, order)
    first = queue & (queue.cumsum(1) <= present.sum(1, keepdim=True) // 2 + 1)
    return first.gather(1, place)
