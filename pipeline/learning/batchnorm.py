"""What a training does to the batch norms of a network: whose statistics it has, and which parts of them are fixed.

The papers that start from ImageNet or COCO differ in this, and rarely say it. The input's scale belongs to it: batch
statistics hide a wrong one, frozen statistics do not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.core.params import Section
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.base.weights import NAMED

Mode = Literal["trained", "statistics", "frozen"]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def set_batch_norm(net: nn.Module, mode: Mode) -> None:
    """``trained``: no change. ``statistics``: affine parameters fixed. ``frozen``: these, and evaluation mode.

    Of a segmentation network only the backbone is meant, which is what weights were loaded into; its head is new.
    ``net.train()`` ends the evaluation mode; call this again after it.
    """
    if mode == "trained":
        return
    rows = [module.blocks for module in net.modules() if isinstance(module, SegNet)]
    for module in nn.ModuleList(rows or [net]).modules():
        if isinstance(module, BATCH_NORMS):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            if mode == "frozen":
                module.eval()


@contextmanager
def unrecorded(net: nn.Module) -> Iterator[None]:
    """Inside the block batch norms normalise by their batch, and leave their running statistics as they are.

    For views that a published network is not scored on: strong ones, puzzles, another domain's images.
    """
    recording = [module for module in net.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    for module in recording:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in recording:
            module.track_running_stats = True


def require_sense(network: Section, mode: Mode, key: str = "network") -> None:
    """Refuse to freeze statistics that belong to nothing; ask this where a network starts from its section's weights.

    Raises:
        ConfigError: no weights, or weights that know another scale of the input.
    """
    if mode != "frozen":
        return
    weights, encoder = getattr(network, "weights", None), getattr(network, "encoder", "")
    if weights is None:
        raise ConfigError(
            f"{key}.weights: found null with 'batch_norm: frozen', expected weights, since the statistics of an "
            "untrained network mean nothing; name weights, or write 'batch_norm: trained'."
        )
    if getattr(network, "input", "auto") == "caffe" and (weights in NAMED or encoder.startswith("timm:")):
        whose = f"timm's {encoder.removeprefix('timm:')}" if encoder.startswith("timm:") else f"{weights}'s"
        raise ConfigError(
            f"{key}.input: found caffe (0..255) with 'batch_norm: frozen', expected auto, since the statistics of "
            f"{whose} weights belong to images in 0..1; write 'input: auto', or 'batch_norm: statistics'."
        )
