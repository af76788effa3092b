"""What the ways that images take through a routing network cost, in share of the whole network with every gate open.

Of a cell's gates a (keep, up, down) the expected cost is max(a) of its convolution and a of each path. The executed one
has 1[a > 0] in place of a. Beside it stands what always runs: stem, gates, decoder (Li et al., section 3.3).
"""

import torch
from torch import Tensor, nn

from fewmask.costs.macs import macs
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.routing.cells import PATHS
from fewmask.nets.routing.routing import encoder_of


class Costs(nn.Module):
    """Multiply-accumulates of one image, float64: of the cells' convolutions ``ops`` (cells,), of their ``paths``
    (cells, 3), and of all that ``always`` runs. A module, so that it moves with the learner that has it."""

    ops: Tensor
    paths: Tensor

    def __init__(self, ops: Tensor, paths: Tensor, always: float):
        super().__init__()
        self.register_buffer("ops", ops, persistent=False)
        self.register_buffer("paths", paths, persistent=False)
        self.always = always
        self.whole = always + float(ops.sum() + paths.sum())  # with every gate open

    def of(self, gates: Tensor) -> Tensor:
        """Gates (B, cells, 3) -> multiply-accumulates (B,) float64: differentiable, exact where gates are 0 or 1."""
        gates = gates.double()
        return self.always + (gates.amax(2) * self.ops).sum(1) + (gates * self.paths).sum((1, 2))

    def executed(self, gates: Tensor) -> Tensor:
        """Gates (B, cells, 3) -> what is really computed of each image, (B,) float64."""
        return self.of(gates > 0)


def costs_of(net: SegNet, size: tuple[int, int]) -> Costs:
    """The costs of a network of cells at the size (H, W)."""
    encoder = encoder_of(net)
    assert encoder is not None, "only a routing network has cells"
    counts = macs(net, size)
    names = [f"blocks.0.layers.{i}.{j}" for i, layer in enumerate(encoder.layers) for j in range(len(layer))]  # type: ignore[arg-type]
    ops, *paths = (
        torch.tensor([counts.get(f"{name}.{part}", 0.0) for name in names], dtype=torch.float64, device="cpu")
        for part in ("op", *PATHS)
    )
    each = torch.stack(paths, 1)
    return Costs(ops, each, counts[""] - float(ops.sum() + each.sum()))
