"""``python -m stages.preset``."""

from collections.abc import Callable
from pathlib import Path

from fewmask.checking.presets import read_preset

Run = Callable[..., tuple[int, str, str]]
NAME = "three_stage-voc-50th-coco"


def test_a_cell_is_written_and_is_no_edit_to_lose(run_stage: Run, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    code, out, _ = run_stage("preset", NAME)
    assert code == 0
    assert f"now the preset '{NAME}'" in out
    assert params.read_text() == read_preset(NAME)
    assert run_stage("preset", "three_stage-cityscapes-100")[0] == 0
    params.write_text(params.read_text().replace("seed: 0", "seed: 1"))
    code, _, err = run_stage("preset", NAME)
    assert code == 2
    assert "has edits that are not committed" in err


def test_a_name_that_is_nearly_a_cell_s(run_stage: Run) -> None:
    code, _, err = run_stage("preset", "three_stage-voc-50th-cocoa")
    assert code == 2
    assert f"no preset 'three_stage-voc-50th-cocoa', did you mean '{NAME}' or '" in err
    assert "'python -m stages.preset' without a name lists all." in err
    assert len(err) < 400


def test_without_a_name_all_are_listed(run_stage: Run, tmp_path: Path) -> None:
    code, out, _ = run_stage("preset")
    assert code == 0
    assert {"streets", NAME} < {*out.splitlines()}
    assert not (tmp_path / "params.yaml").exists()


def test_a_preset_has_every_section_that_the_graph_reads(run_stage: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/short.yaml").write_text("seed: 0\n")
    (tmp_path / "dvc.yaml").write_text("stages: {split: {cmd: run, params: [seed, split.labelled]}}\n")
    code, _, err = run_stage("preset", "short", "--presets", "mine")
    assert code == 2
    assert err.startswith("error: mine/short.yaml: lacks split; ")
    assert not (tmp_path / "params.yaml").exists()


def test_a_base_of_a_table_is_no_preset(run_stage: Run, tmp_path: Path) -> None:
    assert run_stage("preset", "papers/voc")[0] == 2
    assert not (tmp_path / "params.yaml").exists()


def test_what_only_says_that_it_is_a_cell_is_an_edit(run_stage: Run, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"# Preset `{NAME}`: mine\n")
    assert run_stage("preset", "streets")[0] == 2
    assert params.read_text() == f"# Preset `{NAME}`: mine\n"
    params.write_bytes(b"\xff\xfe")
    assert run_stage("preset", "streets")[0] == 2


def test_a_missing_folder_is_named(run_stage: Run) -> None:
    code, _, err = run_stage("preset", "streets", "--presets", "nowhere")
    assert code == 2
    assert "--presets: nowhere: no such folder" in err
    assert "add --presets CLONE/presets" in err
