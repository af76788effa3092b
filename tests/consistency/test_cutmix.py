"""CutMix: rectangles of the right sizes, pasted with all that belongs to them."""

import pytest
import torch

from fewmask.consistency.cutmix import AREA, cutmix, drawn_boxes


def test_a_box_by_hand():
    """Area 0.21 of 10 x 40, aspect 1: sides of sqrt(84), rounded; in the middle of the room that is left."""
    numbers = torch.tensor([[0.5], [(1 - 0.3) / (1 / 0.3 - 0.3)], [0.5], [0.5]])
    (box,) = drawn_boxes(numbers, 10, 40)
    assert box.any(1).nonzero().flatten().tolist() == list(range(1, 10))  # floor(0.5 * 2) = 1
    assert box.any(0).nonzero().flatten().tolist() == list(range(16, 25))  # floor(0.5 * 32) = 16
    assert box.sum() == 81


def test_boxes_are_rectangles_within_the_image_and_of_all_sizes():
    boxes = drawn_boxes(torch.rand(4, 2000, generator=torch.Generator().manual_seed(0)), 30, 40)
    areas = boxes.flatten(1).sum(1)
    assert torch.equal(areas, boxes.any(2).sum(1) * boxes.any(1).sum(1))
    share = areas / 1200
    assert AREA[0] * 0.7 < share.min() < 0.05
    assert 0.35 < share.max() < AREA[1] * 1.1


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_pixels_labels_and_confidences_are_of_one_donor(probability):
    count = 4
    number = torch.arange(count).float()
    x = number[:, None, None, None].expand(count, 3, 12, 16)
    labels, confidence = x[:, 0].long(), x[:, 0] / 10
    torch.manual_seed(0)
    views = cutmix(x, labels, confidence, probability)
    assert torch.equal(views.x[:, 0].long(), views.labels)
    torch.testing.assert_close(views.confidence, views.labels / 10)
    donors = (number + 1) % count
    taken = views.labels == donors[:, None, None]
    assert torch.equal(taken | (views.labels == labels), torch.ones_like(taken))
    assert taken.any().item() == (probability == 1)
