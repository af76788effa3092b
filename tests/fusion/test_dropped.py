"""The table says what a fused network dropped from each image."""

import numpy as np
import pytest
import torch

from fewmask.fusion.dropped import average_precision, recorded, rows
from fewmask.fusion.fused import Config, Fused, build
from fewmask.methods.mlmt import tagger
from fewmask.nets.dsnet import dsnet
from fewmask.stores.images import Images

SMALL = dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]).model_dump()


@pytest.fixture
def net() -> Fused:
    section = Config(network=SMALL, tagger=tagger.Config(network=SMALL), thresholds=[0.2, None, 0.4])
    return build(section, 3).eval()


def test_worked_average_precision() -> None:
    """Ranks 1 and 3 have the class: (1/1 + 2/3) / 2. Equal scores share the rank of the last of them."""
    scores = np.array([0.9, 0.1, 0.5, 0.7])
    assert average_precision(scores, np.array([1, 0, 1, 0], bool)) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.array([1, 0, 0, 1], bool)) == 1
    assert average_precision(np.full(4, 0.5), np.array([1, 0, 0, 0], bool)) == 0.25
    assert average_precision(scores, np.zeros(4, bool)) is None


def test_worked_table(net: Fused, image_store) -> None:
    """Class 1 is in the first image alone and dropped there, class 2 in the last alone and kept there."""
    masks = [np.zeros((8, 8), np.uint8) for _ in range(3)]
    masks[0][0, :5], masks[2][0, :5] = 1, 2
    listed = [(f"i{n}", "test", np.zeros((8, 8, 3), np.uint8), mask) for n, mask in enumerate(masks)]
    seen = [
        (np.array([[0.9, 0.1, 0.1], [0.9, 0.0, 0.1]]), np.array([[1, 0, 0], [1, 0, 0]], bool)),
        (np.array([[0.9, 0.9, 0.5]]), np.array([[1, 1, 1]], bool)),
    ]
    with Images(image_store(rows=listed)) as images:
        found = {row.pop("class"): list(row.values()) for row in rows(net, seen, images, images.ids)}
    assert found == {"sky": [0.2, 3, 0, 0, 1.0], "road": [None, 1, 2, 1, 0.5], "car": [0.4, 1, 2, 0, 1.0]}


@torch.no_grad()
def test_the_decisions_of_the_block_are_recorded_in_order(net: Fused) -> None:
    x = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    net(x)
    with recorded(net) as seen:
        outputs = [net(x[:2]), net(x[2:])]
    net(x)
    assert [found.shape for found, _ in seen] == [(2, 3), (1, 3)]
    for (found, keeps), part, output in zip(seen, (x[:2], x[2:]), outputs, strict=True):
        assert torch.equal(torch.from_numpy(found), net.rule.tagger(part).sigmoid())
        assert torch.equal(torch.from_numpy(keeps), (output > -torch.inf).all((2, 3)))
    with recorded(dsnet.build(dsnet.Config(**SMALL), 3)) as seen:
        assert seen == []
