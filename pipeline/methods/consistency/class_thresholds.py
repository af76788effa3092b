"""Which pixels are sure enough to be targets: one threshold, or a lower one for classes that would keep too little.

A class-wise threshold that follows the training is the idea of "FlexMatch" (Zhang et al., NeurIPS 2021). There it
follows how often a class passes. Here, as classes differ in area by orders of magnitude, it is a quantile of the
class's own confidences.
"""

import torch
from torch import Tensor, nn

BINS = 200  # of 0..1; a level is exact to half a percent
DECAY = 0.99  # of the histograms a step: about the last hundred batches count


class Thresholds(nn.Module):
    """``threshold`` for all classes, or less for those of which less than a ``share`` of their pixels would pass it.

    The state is a histogram of confidences for each predicted class, which forgets.
    """

    counts: Tensor

    def __init__(self, classes: int, threshold: float, share: float):
        super().__init__()
        self.threshold, self.share = threshold, share
        self.register_buffer("counts", torch.zeros(classes, BINS))

    def forward(self, labels: Tensor, confidence: Tensor, valid: Tensor) -> Tensor:
        """Count the ``valid`` pixels, and say which pass; all (B, H, W): int64, 0..1, bool -> bool."""
        if not self.share:
            return confidence >= self.threshold
        bins = (confidence * BINS).long().clamp(0, BINS - 1)
        cells = (labels * BINS + bins).flatten()
        self.counts.mul_(DECAY).view(-1).index_add_(0, cells, valid.flatten().to(self.counts.dtype))
        return confidence >= self.levels()[labels]

    def levels(self) -> Tensor:
        """The threshold of each class, (C,): the highest edge of a bin that a ``share`` of its pixels reaches."""
        reached = self.counts.flip(1).cumsum(1).flip(1) >= self.share * self.counts.sum(1, keepdim=True)
        edges = (reached.sum(1) - 1) / BINS  # the lowest bin is reached by all
        return edges.clamp(max=self.threshold).where(self.counts.sum(1) > 0, self.threshold)
