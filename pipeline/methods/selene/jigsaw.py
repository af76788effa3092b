"""Jigsaw puzzles: the tiles of a 3 x 3 grid in another order, which a network learns to recognise.

"Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles" (Noroozi & Favaro, ECCV 2016). The image
is re-assembled and seen whole, as in "Domain Generalization by Solving Jigsaw Puzzles" (Carlucci et al., CVPR 2019).

Choices:
- The 100 orders are stored. The first is the identity, so an unshuffled image has class 0. Each next one is farthest
  from its nearest among those before (Hamming distance; of equals, the one with the largest sum). The distance is 6 at
  least and 8.08 in the mean. tests/methods/selene/test_jigsaw.py draws them again.
- Where 3 does not divide a side, the last rows or columns stay where they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GRID = 3
ORDERS = """
    012345678 765023841 537860124 403682517 256178430 340716285 128457063 681534702 874201356 038674251
    210837546 701265483 476513028 627048315 185702634 352461807 843075162 523106748 831426570 264380175
    780653214 546317802 412580736 354728061 167832450 608154327 275041683 046238157 732806415 570642831
    013764582 387125640 865371024 458210673 104567238 821753406 650483721 741502368 136270845 085147362
    672358104 204816753 517423086 325681470 478035216 860214537 423871605 283546071 317054268 051637824
    106485372 568324710 642107583 850762143 734150682 613840257 435268701 502731468 184073526 748621035
    267405813 071386452 306572184 532618047 624715830 145826307 726430518 487203165 753184206 368507421
    086352741 310478652 873520614 278463150 842650371 158046732 416257380 236781504 630521487 173248560
    521364078 507132846 064817325 861045273 045163827 481706253 705312648 612875034 257034186 320184765
    074658312 431780625 562813704 720538461 815407236 148062573 684325017 307246158 263571840 253640718
"""
TABLE = torch.tensor([[int(place) for place in order] for order in ORDERS.split()])  # (100, 9) int64


class Puzzles(NamedTuple):
    """One puzzle for each image of a batch, int64: tile i is taken from place orders[i].

    ``classes`` (B,) are the rows of the table that ``orders`` (B, 9) holds.
    """

    orders: Tensor
    classes: Tensor

    def __call__(self, maps: Tensor) -> Tensor:
        """Images (B, C, H, W) or maps (B, H, W) of any type, their tiles in the puzzles' orders."""
        return reordered(maps, self.orders)


def draw_puzzles(count: int, probability: float = 1.0, device: torch.device | str = "cpu") -> Puzzles:
    """A row of the table for each of ``count`` images with ``probability``, else the identity.

    Drawn from torch's global generator on the host, never waiting for the device.
    """
    drawn, applied = torch.randint(len(TABLE), (count,)), torch.rand(count) < probability
    classes = drawn * applied
    return Puzzles(TABLE[classes].to(device, non_blocking=True), classes.to(device, non_blocking=True))


def reordered(maps: Tensor, orders: Tensor) -> Tensor:
    """Maps (B, ..., H, W) with tile i of the grid taken from place orders[:, i], (B, 9) int64."""
    height, width = (side // GRID for side in maps.shape[-2:])
    square = maps[..., : GRID * height, : GRID * width]
    tiles = square.unflatten(-1, (GRID, width)).unflatten(-3, (GRID, height))  # (B, ..., 3, h, 3, w)
    tiles = tiles.movedim((-4, -2), (1, 2)).flatten(1, 2)  # (B, 9, ..., h, w)
    taken = tiles[torch.arange(len(maps), device=maps.device)[:, None], orders]
    whole = maps.clone()
    whole[..., : GRID * height, : GRID * width] = (
        taken.unflatten(1, (GRID, GRID)).movedim((1, 2), (-4, -2)).flatten(-2).flatten(-3, -2)
    )
    return whole
