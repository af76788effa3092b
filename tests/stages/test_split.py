"""``python -m stages.split`` as a person meets it."""

from collections.abc import Callable
from pathlib import Path

from fewmask.stores.split import Split

Run = Callable[..., tuple[int, str, str]]


def test_a_split_is_written_and_told(
    image_store: Callable[..., Path], write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path
) -> None:
    store = image_store(train=8, validation=0, test=3)
    write_params("seed: 0\nsplit: {labelled: 0.5, validation: 2}\n")
    code, out, err = run_stage("split", "--images", store, "--out", "split.json")
    assert (code, err) == (0, "")
    assert out == "split.json: 3 labelled, 3 unlabelled, 2 validation, 3 to evaluate on (from test)\n"
    assert len(Split.load(tmp_path / "split.json").labelled) == 3
    first = (tmp_path / "split.json").read_bytes()
    run_stage("split", "--images", store, "--out", "split.json")
    assert (tmp_path / "split.json").read_bytes() == first


def test_warnings_are_told_on_standard_error(
    image_store: Callable[..., Path], write_params: Callable[[str], Path], run_stage: Run
) -> None:
    store = image_store(train=3)
    write_params("seed: 0\nsplit: {labelled: 1, cover: 9}\n")
    code, _, err = run_stage("split", "--images", store)
    assert code == 0
    assert err.splitlines()[0].startswith("warning: class 'sky' is in ")
    assert err.splitlines()[0].endswith(" labelled images; wanted 9")


def test_a_bad_list_and_a_damaged_store_end_with_their_codes(
    image_store: Callable[..., Path], write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path
) -> None:
    store = image_store(train=3)
    write_params("seed: 0\nsplit: {labelled: ids.txt}\n")
    (tmp_path / "ids.txt").write_text("i000\nnope\n")
    code, _, err = run_stage("split", "--images", store, "--out", "split.json")
    assert code == 3
    assert err.startswith("error: ids.txt:2: 'nope' is no training image with a mask; expected such as 'i00")
    assert len(err.splitlines()) == 1
    data = store.read_bytes()
    store.write_bytes(data[: len(data) // 2])
    code, _, err = run_stage("split", "--images", store, "--out", "split.json")
    assert code == 4
    assert err.startswith(f"error: {store}: damaged: its content does not match its digest")
    assert not (tmp_path / "split.json").exists()
