"""Online hard example mining (Shrivastava et al., CVPR 2016), for pixels: SELENE's supervised loss on Cityscapes."""

from pydantic import Field, PositiveInt
from torch import Tensor

from fewmask.core.masks import IGNORE
from fewmask.core.params import Section
from fewmask.learning.losses import cross_entropy


class OhemConfig(Section):
    """Of the supervised loss: pixels whose class has at most this probability, ``kept`` an image at least."""

    threshold: float = Field(default=0.7, gt=0, lt=1)
    kept: PositiveInt = 50_000


def ohem_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, *, threshold: float, kept: int
) -> Tensor:
    """Cross-entropy of hard pixels alone.

    A valid pixel counts if the probability of its class is at most ``threshold``, or among the ``kept`` lowest of each
    image, over the batch together: no fewer than that count.

    Args:
        logits, target, weight: as in ``cross_entropy``.
    """
    return cross_entropy(logits, hard_pixels(logits.detach(), target, threshold, kept), weight)


def hard_pixels(logits: Tensor, target: Tensor, threshold: float, kept: int) -> Tensor:
    """The target (B, H, W), 255 where a pixel is neither hard nor one of ``kept`` times B."""
    valid = target != IGNORE
    own = logits.float().softmax(1).gather(1, target.masked_fill(~valid, 0)[:, None])[:, 0]
    own = own.masked_fill(~valid, 2.0)
    least = own.flatten().topk(min(kept * len(own), own.numel()), largest=False).values[-1]
    return target.masked_fill(own > least.clamp_min(threshold), IGNORE)
