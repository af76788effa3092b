"""CutMix: a rectangle of one image, pasted onto another at its place, with its labels and confidences.

"CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (Yun et al., ICCV 2019). Sizes
are those that UniMatch (Yang et al., CVPR 2023) draws: 2 to 40 % of the image, sides from 0.3 to 1 / 0.3 as long as
each other. Image i + 1 of a batch gives to image i, and the first to the last.
"""

import torch
from torch import Tensor

from fewmask.consistency.classmix import Views, pasted

AREA = (0.02, 0.4)
ASPECT = (0.3, 1 / 0.3)


def cutmix(x: Tensor, labels: Tensor, confidence: Tensor, probability: float) -> Views:
    """Mix each image of a batch, shaped as in ``Views``, with ``probability``; inputs are not written to.

    Drawn from torch's global generator on the host, never waiting for the device.
    """
    applied, numbers = torch.rand(len(x)) < probability, torch.rand(4, len(x))
    if not applied.any():
        return Views(x, labels, confidence)
    boxes = drawn_boxes(numbers, labels.shape[1], labels.shape[2]) & applied[:, None, None]
    return pasted(x, labels, confidence, boxes.to(x.device, non_blocking=True))


def drawn_boxes(numbers: Tensor, height: int, width: int) -> Tensor:
    """Rectangles (B, H, W) bool by ``numbers`` (4, B) of 0..1: area, aspect, and where they lie.

    A side longer than the image's is cut to it.
    """
    area = (AREA[0] + (AREA[1] - AREA[0]) * numbers[0]) * height * width
    aspect = ASPECT[0] + (ASPECT[1] - ASPECT[0]) * numbers[1]
    rows = (area * aspect).sqrt().round().clamp(1, height)
    columns = (area / aspect).sqrt().round().clamp(1, width)
    top, left = (numbers[2] * (height - rows + 1)).floor(), (numbers[3] * (width - columns + 1)).floor()
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None]
    inside_y = (y >= top[:, None, None]) & (y < (top + rows)[:, None, None])
    return inside_y & (x >= left[:, None, None]) & (x < (left + columns)[:, None, None])
