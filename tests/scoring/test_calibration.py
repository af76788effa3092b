"""Expected calibration error."""

import pytest
import torch

from fewmask.scoring.calibration import bin_sums, expected_error


def sums(confidence: list[float], right: list[bool], bins: int) -> torch.Tensor:
    return bin_sums(torch.tensor(confidence), torch.tensor(right), bins)


def test_by_hand() -> None:
    """Two bins. Below 0.5: 0.25 wrong, 0.45 right: mean confidence 0.35, accuracy 0.5, gap 0.15, 2 of 5 pixels.

    From 0.5: 0.5 right, 0.75 right, 1.0 wrong: 0.75 against 2/3, gap 1/12, 3 of 5. ECE = 0.4 * 0.15 + 0.6 / 12 = 0.11.
    """
    found = sums([0.25, 0.45, 0.5, 0.75, 1.0], [False, True, True, True, False], 2)
    torch.testing.assert_close(found, torch.tensor([[2, 3], [0.7, 2.25], [1, 2]], dtype=torch.float64))
    assert expected_error(found) == pytest.approx(0.11)


def test_sums_of_parts_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence, right = torch.rand(1000, generator=generator), torch.rand(1000, generator=generator) < 0.5
    parts = bin_sums(confidence[:300], right[:300], 15) + bin_sums(confidence[300:], right[300:], 15)
    torch.testing.assert_close(parts, bin_sums(confidence, right, 15))


def test_a_calibrated_prediction_has_none_and_a_boaster_all() -> None:
    assert expected_error(sums([0.75] * 4, [True, True, True, False], 10)) == 0
    assert expected_error(sums([1.0] * 4, [False] * 4, 10)) == 1


def test_over_no_pixel_it_is_undefined() -> None:
    assert expected_error(sums([], [], 15)) is None
