"""One byte a confidence, and yet every usual threshold decides each pixel as float32 would."""

import numpy as np
import pytest

from fewmask.stores.codes import COUNT, EDGES, USUAL, encode, minimum_code, thresholds

F = np.float32


@pytest.fixture(scope="module")
def confidences() -> np.ndarray:
    """Random float32, sharp ones near 0 and 1, and each edge with its two neighbours."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 8, 50_000)
    ends = np.array([0, 1, np.nextafter(F(0), F(1)), np.nextafter(F(1), F(0))])
    around = [np.nextafter(EDGES, F(0)), EDGES, np.nextafter(EDGES, F(1))]
    return np.concatenate([rng.random(50_000), 1 / (1 + np.exp(-logits)), *around, ends]).astype(F)


def test_edges_are_255_strictly_increasing_floats_inside_0_and_1() -> None:
    assert EDGES.shape == (COUNT,) == (255,)
    assert EDGES.dtype == np.float32
    assert (np.diff(EDGES) > 0).all()
    assert EDGES[0] > 0
    assert EDGES[-1] < 1


def test_the_usual_thresholds_are_these() -> None:
    assert USUAL.tolist() == [round(n / 100, 2) for n in range(30, 100)] + [0.968, 0.995]


def test_a_code_is_the_number_of_edges_not_above(confidences: np.ndarray) -> None:
    sample = confidences[:: len(confidences) // 400]
    assert encode(sample).tolist() == [int((p >= EDGES).sum()) for p in sample]
    assert encode(confidences).dtype == np.uint8
    assert encode(confidences[:12].reshape(2, 6)).shape == (2, 6)


@pytest.mark.parametrize("threshold", [float(t) for t in USUAL])
def test_a_usual_threshold_decides_as_float32_would(confidences: np.ndarray, threshold: float) -> None:
    code, effective = minimum_code(threshold)
    assert effective == pytest.approx(threshold, abs=1e-7)
    assert ((encode(confidences) >= code) == (confidences >= F(threshold))).all()


@pytest.mark.parametrize("number", range(0, 255, 6))
def test_every_edge_is_a_threshold_that_decides_exactly(confidences: np.ndarray, number: int) -> None:
    code, effective = minimum_code(float(EDGES[number]))
    assert code == number + 1
    assert F(effective) == EDGES[number]
    assert ((encode(confidences) >= code) == (confidences >= EDGES[number])).all()


@pytest.mark.parametrize("threshold", [1e-9, 0.001, 0.31234, 0.895, 0.9001, 0.98765, 0.999])
def test_another_threshold_snaps_up_to_the_next_edge(confidences: np.ndarray, threshold: float) -> None:
    """Up, so that no kept pixel is below what was asked for."""
    code, effective = minimum_code(threshold)
    assert effective > threshold
    assert not ((threshold <= EDGES) & (F(effective) > EDGES)).any()
    kept = confidences[encode(confidences) >= code]
    assert kept.min() >= F(threshold)


@pytest.mark.parametrize("threshold", [0, 0.0, -1, -0.0])
def test_nothing_is_asked_for_all_are_kept(confidences: np.ndarray, threshold: float) -> None:
    assert minimum_code(threshold) == (0, 0.0)
    assert (encode(confidences) >= 0).all()


@pytest.mark.parametrize("threshold", [1, 1.0, 1.5, float(np.nextafter(F(1), F(0))), 0.99999999])
def test_certainty_is_asked_for_none_is_kept(confidences: np.ndarray, threshold: float) -> None:
    """A sigmoid saturates at exactly 1 in float32; T >= 1 keeps not even those."""
    assert minimum_code(threshold) == (256, 1.0)
    assert encode(np.array([1.0], F))[0] == 255


def test_nan_is_no_confidence() -> None:
    """Sorted, it would come after every edge: the highest code. The infinities are the ends."""
    assert encode(np.array([[np.nan, 0.9], [np.inf, -np.inf]], F)).tolist() == [[0, encode(F(0.9))], [255, 0]]


def test_thresholds_lists_what_each_least_code_means() -> None:
    listed = thresholds()
    assert listed.shape == (257,)
    assert (listed[0], listed[256]) == (0, 1)
    for code in (0, 1, 100, 255, 256):
        assert minimum_code(float(listed[code])) == (code, listed[code])
