"""Who passes: by hand, and with thresholds that follow each class."""

import pytest
import torch

from fewmask.methods.consistency.class_thresholds import DECAY, Thresholds

LABELS = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]]])
CONFIDENCE = torch.tensor([[[0.99, 0.97, 0.96, 0.2, 0.8, 0.7, 0.6, 0.3]]])
VALID = torch.ones_like(LABELS, dtype=torch.bool)


def test_without_a_share_there_is_one_threshold():
    kept = Thresholds(3, 0.96, 0.0)(LABELS, CONFIDENCE, VALID)
    assert kept.tolist() == [[[True, True, True, False] + 4 * [False]]]


@pytest.mark.parametrize(("share", "level"), [(0.25, 0.8), (0.5, 0.7), (0.75, 0.6), (1.0, 0.3)])
def test_a_class_keeps_its_share(share, level):
    thresholds = Thresholds(3, 0.95, share)
    kept = thresholds(LABELS, CONFIDENCE, VALID)[0, 0]
    assert kept[4:].sum() == 4 * share
    assert kept[:4].tolist() == [True, True, True, share == 1]  # three quarters pass anyway
    torch.testing.assert_close(thresholds.levels(), torch.tensor([0.2 if share == 1 else 0.95, level, 0.95]))


def test_what_is_not_valid_counts_for_nothing():
    thresholds = Thresholds(3, 0.95, 0.5)
    thresholds(LABELS, CONFIDENCE, torch.zeros_like(VALID))
    assert thresholds.levels().tolist() == pytest.approx([0.95] * 3)  # nobody was seen


def test_earlier_batches_are_forgotten_slowly():
    thresholds = Thresholds(3, 0.95, 0.5)
    for _ in range(2):
        thresholds(LABELS, CONFIDENCE, VALID)
    assert thresholds.counts.sum() == pytest.approx(8 + 8 * DECAY)
