"""Filtering by confidence: what is kept, what is counted, and that it needs no network."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from fewmask.core.errors import ConfigError
from fewmask.selection.filter import FilterConfig, filter_store, keep, measure, minimum_codes
from fewmask.selection.measures import joint_histogram
from fewmask.stores.codes import EDGES
from fewmask.stores.images import Images
from fewmask.stores.labels import Labelled, Labels, count_codes

Store = Callable[..., Path]
STEMS = ["a", "b", "c"]
NAMES = ["sky", "road", "car"]
NOTHING = np.zeros((3, 256), np.int64)  # no predictions: a threshold asks for none
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def filtered(label_store: Store, tmp_path: Path) -> Callable[..., tuple[Labels, float]]:
    """``filtered(0.9, car=0.5)`` -> the opened filtered store and the kept share."""

    def run(threshold: float, names: list[str] = STEMS, **per_class: float) -> tuple[Labels, float]:
        minimum, _ = minimum_codes(FilterConfig(threshold=threshold, per_class=per_class), NAMES, EDGES, NOTHING)
        with Labels(label_store(STEMS)) as labels:
            share = filter_store(tmp_path / "out.h5", labels, names, minimum, "g" * 64)
        return Labels(tmp_path / "out.h5"), share

    return run


def kept(store: Labels) -> np.ndarray:
    """Which pixels have a label: (N, h, w) bool."""
    with store:
        return np.stack([item.label for item in store]) != 255


def test_more_is_asked_less_is_kept(filtered: Callable[..., tuple[Labels, float]]) -> None:
    masks, shares = [], []
    for threshold in (-1, 0, 1e-6, 0.3, 0.5, 0.9, 0.968, 0.99, 0.9999, 1, 2):
        store, share = filtered(threshold)
        masks.append(kept(store))
        shares.append(share)
        assert share == pytest.approx(masks[-1].mean())
    assert all((small <= large).all() for large, small in itertools.pairwise(masks))
    assert shares[:2] == [1, 1]
    assert shares[-2:] == [0, 0]
    assert len(set(shares)) == 9


def test_a_kept_label_is_the_old_one_and_confidences_stay(
    filtered: Callable[..., tuple[Labels, float]], labelled: Callable[..., list[Labelled]]
) -> None:
    store, _ = filtered(0.9)
    with store:
        for item, found in zip(labelled(STEMS), store, strict=True):
            passes = item.code >= np.searchsorted(EDGES, np.float32(0.9)) + 1
            assert (found.label == np.where(passes, item.label, 255)).all()
            assert (found.code == item.code).all()


def test_the_histogram_is_a_recount(filtered: Callable[..., tuple[Labels, float]]) -> None:
    for settings in ({}, {"car": 0.2, "road": 1.0}):
        store, _ = filtered(0.9, **settings)
        with store:
            for item, histogram in zip(store, store.histogram, strict=True):
                assert (histogram == count_codes(item.label, item.code, 3)).all()


def test_each_class_may_have_its_own_threshold(
    filtered: Callable[..., tuple[Labels, float]], labelled: Callable[..., list[Labelled]]
) -> None:
    """road: all, car: none, sky: 0.5."""
    with filtered(0.5, road=0.0, car=1.0)[0] as store:
        for item, before in zip(store, labelled(STEMS), strict=True):
            passes = np.stack([item.code >= np.searchsorted(EDGES, np.float32(0.5)) + 1, item.code >= 0, item.code < 0])
            expected = np.take_along_axis(passes, before.label[None].astype(int), 0)[0]
            assert ((item.label != 255) == expected).all()


def test_labels_of_255_stay_whatever_is_asked() -> None:
    item = Labelled("a", np.array([[0, 255, 1]], np.uint8), np.array([[9, 255, 0]], np.uint8))
    for minimum in ([0, 0], [0, 5], [256, 256], [5, 5]):
        assert keep(item, np.array(minimum)).label[0, 1] == 255
    assert keep(item, np.array([0, 5])).label.tolist() == [[0, 255, 255]]


def test_only_the_named_images_are_written_in_their_order(filtered: Callable[..., tuple[Labels, float]]) -> None:
    store, _ = filtered(0.5, ["c", "a"])
    with store:
        assert store.stems == ["c", "a"]
        assert store.provenance["labels"] == "f" * 64
        assert store.provenance["model"] == "none"
        assert store.fingerprint == "g" * 64


def test_a_store_may_be_filtered_again(filtered: Callable[..., tuple[Labels, float]], tmp_path: Path) -> None:
    """0.5 and then 0.9 is 0.9."""
    once = kept(filtered(0.9)[0])
    minimum, _ = minimum_codes(FilterConfig(threshold=0.9), NAMES, EDGES, NOTHING)
    with filtered(0.5)[0] as first:
        filter_store(tmp_path / "twice.h5", first, STEMS, minimum, "")
    assert (kept(Labels(tmp_path / "twice.h5")) == once).all()


def test_effective_thresholds_are_told() -> None:
    minimum, effective = minimum_codes(
        FilterConfig(threshold=0.895, per_class={"car": 0.968, "sky": 0.0}), NAMES, EDGES, NOTHING
    )
    assert effective == [0.0, 0.9, 0.968]
    assert minimum.tolist()[0] == 0
    with pytest.raises(ConfigError, match=r"filter\.per_class: found \['bus'\]; expected names of \['sky'"):
        minimum_codes(FilterConfig(threshold=0.9, per_class={"bus": 0.5}), NAMES, EDGES, NOTHING)


def test_the_surest_share_of_all_pixels_or_of_each_predicted_class() -> None:
    """sky: 10 pixels of code 200 and 10 of 100; road: 20 of code 50; car: none. Three quarters of 40 are 30.

    All with code 50 or more are 40, with 51 or more 20: the cut for 30 is 50. For 20, a half, it is 100. Of each class:
    three quarters of sky need code 100, of road 50.
    """
    predicted = np.zeros((3, 256), np.int64)
    predicted[0, [200, 100]], predicted[1, 50] = 10, 20

    def codes(**fields: float) -> list[int]:
        return minimum_codes(FilterConfig.model_validate(fields), NAMES, EDGES, predicted)[0].tolist()

    assert codes(share=0.75) == [50] * 3
    assert codes(share=0.5) == [100] * 3
    assert codes(share=0.01) == [200] * 3
    assert codes(share=0.75, balanced=True)[:2] == [100, 50]
    assert codes(share=0.5, balanced=True)[:2] == [200, 50]
    assert codes(share=0.75, per_class={"road": 1.0}) == [50, 256, 50]


@pytest.mark.parametrize("fields", [{}, {"threshold": 0.5, "share": 0.5}, {"threshold": 0.5, "balanced": True}])
def test_two_rules_at_once_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="to null"):
        FilterConfig.model_validate(fields)


def test_held_out_images_are_measured_together(image_store: Store, label_store: Store) -> None:
    stems = [f"i{number:03d}" for number in range(3)]
    with Images(image_store(train=3)) as images, Labels(label_store(stems)) as labels:
        parts = [joint_histogram(images.mask(s), labels.read(s).label, labels.read(s).code, 3) for s in stems]
        assert (measure(labels, images, stems) == sum(parts)).all()
        assert measure(labels, images, []).sum() == 0


def test_filtering_starts_without_torch() -> None:
    """Half a second instead of four: the threshold is what people turn most."""
    code = (
        "import json, sys, stages.filter; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert "h5py" in modules
    assert not modules & {"torch", "torchvision", "timm", "PIL"}
