"""``python -m stages.filter`` as a person meets it: seconds, no torch, and a clean end on a full disk."""

import csv
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewmask.stores.labels import Labelled, Labels

Run = Callable[..., tuple[int, str, str]]
OUTS = ["--out", "out.h5", "--metrics", "m.json", "--plots", "plots"]
MADE = ("out.h5", "m.json", "plots/m.csv", "plots/m_classes.csv")


@pytest.fixture
def project(
    image_store: Callable[..., Path],
    label_store: Callable[..., Path],
    labelled: Callable[..., list[Labelled]],
    write_params: Callable[[str], Path],
    run_stage: Run,
) -> Callable[..., tuple[int, str, str]]:
    """``project("filter: {threshold: 0.9}")`` runs split and filter on tiny stores."""

    def run(text: str, outs: list[str] = OUTS, **sizes: Any) -> tuple[int, str, str]:
        images = image_store(train=6, validation=2, test=1, **sizes)
        items = labelled([f"i{number:03d}" for number in range(9)], **sizes)
        labels = label_store([], items=items)
        write_params(f"seed: 0\nsplit: {{labelled: 2}}\n{text}\n")
        assert run_stage("split", "--images", images, "--out", "split.json")[0] == 0
        return run_stage("filter", "--images", images, "--split", "split.json", "--labels", labels, *outs)

    return run


def test_all_four_results(project: Run, tmp_path: Path) -> None:
    code, out, err = project("filter: {threshold: 0.895}")
    assert (code, err) == (0, "")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert (metrics["threshold"], metrics["effective_threshold"], metrics["images"]) == (0.895, 0.9, 2)
    with Labels(tmp_path / "out.h5") as store:
        assert len(store.stems) == 4
        kept = np.mean([item.label != 255 for item in store])
        assert metrics["kept_unlabelled"] == pytest.approx(kept, abs=1e-6)
        assert f"{kept:.1%} of the unlabelled pixels kept" in out
    curve = list(csv.DictReader((tmp_path / "plots/m.csv").read_text().splitlines()))
    assert len(curve) == 257
    (row,) = [row for row in curve if row["threshold"] == "0.9"]
    assert {name: float(row[name]) for name in ("miou", "selected_pixels")} == {
        name: metrics[name] for name in ("miou", "selected_pixels")
    }
    classes = list(csv.DictReader((tmp_path / "plots/m_classes.csv").read_text().splitlines()))
    assert [row["class"] for row in classes] == ["sky", "road", "car"]
    assert np.mean([float(row["iou"]) for row in classes]) == pytest.approx(metrics["miou"], abs=1e-5)


@pytest.mark.parametrize("balanced", ["false", "true"])
def test_a_share_is_kept_whatever_the_confidences_are(project: Run, tmp_path: Path, balanced: str) -> None:
    """At least that much, and no code more; the metrics name the threshold that it means for all classes."""
    code, _, err = project(f"filter: {{share: 0.5, balanced: {balanced}}}")
    assert (code, err) == (0, "")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert 0.5 <= metrics["kept_unlabelled"] < 0.6
    assert 0 < metrics["effective_threshold"] < 1
    assert metrics["threshold"] is None


@pytest.mark.parametrize(("threshold", "kept"), [(0, 1), (-1, 1), (1, 0), (1.2, 0)])
def test_all_and_none(project: Run, tmp_path: Path, threshold: float, kept: float) -> None:
    code, _, err = project(f"filter: {{threshold: {threshold}}}")
    assert code == 0
    text = (tmp_path / "m.json").read_text()
    metrics = json.loads(text)
    assert metrics["kept_unlabelled"] == kept
    assert metrics["effective_threshold"] == 1 - kept
    assert "NaN" not in text
    assert ("0 pixels kept" in err) == (kept == 0)
    assert metrics["miou"] is None if kept == 0 else metrics["selected_pixels"] == 1


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("filter: {threshold: .nan}", 2, "params.yaml:3: filter.threshold: found nan"),
        ("filter: {threshold: high}", 2, "params.yaml:3: filter.threshold: found 'high'"),
        ("filter: {threshold: 0.9, per_clas: {}}", 2, "filter.per_clas: unknown key, did you mean 'per_class'?"),
        ("filter: {threshold: 0.9, per_class: {bus: 0.5}}", 2, "filter.per_class: found ['bus']"),
    ],
)
def test_mistakes_publish_nothing(project: Run, tmp_path: Path, text: str, code: int, message: str) -> None:
    found, _, err = project(text)
    assert found == code
    assert message in err
    assert not any((tmp_path / name).exists() for name in MADE)


def test_an_output_that_is_an_input_is_refused(project: Run, tmp_path: Path) -> None:
    outs = [*OUTS[:2], "--metrics", "split.json", *OUTS[4:]]
    code, _, err = project("filter: {threshold: 0.9}", outs)
    assert (code, err) == (2, "error: split.json: is both input and output; choose another output.\n")
    assert "labelled" in json.loads((tmp_path / "split.json").read_text())
    assert not (tmp_path / "out.h5").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("room", [16 << 10, 100 << 10])
def test_a_full_disk_is_a_clean_end(project: Run, small_disk: Path, tmp_path: Path, room: int) -> None:
    """HDF5 would crash on close (h5py#914): exit 74, one line, the old store intact, no litter; then it goes on."""
    outs = ["--out", "disk/out.h5", *OUTS[2:]]
    (small_disk / "out.h5").write_text("old")
    (small_disk / "filler").write_bytes(bytes((300 << 10) - room - (8 << 10)))
    code, _, err = project("filter: {threshold: 0.0}", outs, size=(200, 300))
    assert code == 74
    assert err.startswith("error: disk/out.h5: No space left")
    assert err.endswith(f": {os.strerror(errno.ENOSPC)}; free some space and run it again.\n")
    assert len(err.splitlines()) == 1
    assert sorted(os.listdir(small_disk)) == ["filler", "out.h5"]
    assert (small_disk / "out.h5").read_text() == "old"
    assert not (tmp_path / "m.json").exists()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    code, _, err = project("filter: {threshold: 0.0}", outs, size=(200, 300))
    assert (code, err) == (0, "")
    with Labels(small_disk / "out.h5") as store:
        assert len(list(store)) == 4
