"""Boundary IoU."""

import pytest
import torch

from fewmask.scoring.boundary import rim, rim_counts, rim_width


def picture(text: str) -> torch.Tensor:
    """``"001 001"`` -> (1, 2, 3) uint8; ``.`` is void."""
    rows = [[255 if pixel == "." else int(pixel) for pixel in row] for row in text.split()]
    return torch.tensor([rows], dtype=torch.uint8)


def test_the_rim_is_what_lies_near_another_label_or_the_border() -> None:
    found = rim(picture("00000 00000 00000 00000 00000"), 1)[0]
    assert found.tolist() == [[not (0 < y < 4 and 0 < x < 4) for x in range(5)] for y in range(5)]
    found = rim(picture("000000 000000 000011 000011 000000 000000"), 1)[0]
    inside = [(y, x) for y in range(6) for x in range(6) if not found[y, x]]
    assert inside == [(y, x) for y in (1, 2, 3, 4) for x in (1, 2)]


def test_a_wider_rim_holds_a_narrower_one() -> None:
    labels = torch.randint(0, 3, (2, 20, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    narrow, wide = rim(labels, 1), rim(labels, 3)
    assert (wide | ~narrow).all()
    assert wide.sum() > narrow.sum()


def test_counts_by_hand() -> None:
    """Width 1 on five by five. In the truth column 4 is of class 1, in the prediction columns 3 and 4.

    Class 1: truth rim 5 (column 4); predicted rim 10 (columns 3, 4, all of column 3 lies next to column 2).
    Shared 5, union 10. Class 0: truth rim = column 0 (5) + rows 0, 4 of columns 1..3 (6) + inner column 3 (3) = 14;
    predicted rim = column 0 (5) + rows 0, 4 of columns 1, 2 (4) + inner column 2 (3) = 12. Shared: column 0 and rows
    0, 4 of columns 1, 2 = 9. Union 14 + 12 - 9 = 17.
    """
    truth, predicted = picture("00001 " * 5), picture("00011 " * 5)
    assert rim_counts(truth, predicted, 2, 1).tolist() == [[9, 5], [17, 10]]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_perfect_prediction_scores_1(width: int) -> None:
    labels = torch.randint(0, 4, (3, 9, 11), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    shared, union = rim_counts(labels, labels, 4, width)
    assert (shared == union).all()
    assert (union > 0).all()


def test_void_pixels_count_for_neither() -> None:
    truth, predicted = picture("0... 0... 0011 0011"), picture("0111 0111 0011 0011")
    shared, union = rim_counts(truth, predicted, 2, 1)
    assert (shared == union).all()


def test_an_error_inside_a_segment_does_not_lower_it_but_the_shifted_edge_does() -> None:
    truth = torch.zeros(1, 40, 40, dtype=torch.uint8)
    truth[:, :, 20:] = 1
    shifted = torch.zeros_like(truth)
    shifted[:, :, 23:] = 1
    shared, union = rim_counts(truth, shifted, 2, 1)
    plain = [(truth == c).logical_and(shifted == c).sum() / (truth == c).logical_or(shifted == c).sum() for c in (0, 1)]
    assert all(s / u < p - 0.05 for s, u, p in zip(shared, union, plain, strict=True))


def test_the_width_follows_the_diagonal() -> None:
    """0.02 of the diagonal 600 of 360x480 is 12; never less than one pixel."""
    assert rim_width((360, 480), 0.02) == 12
    assert rim_width((3, 4), 0.02) == 1
