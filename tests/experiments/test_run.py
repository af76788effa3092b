"""How a grid becomes DVC experiments, without running one."""

import argparse
import json
import subprocess
from pathlib import Path

import pytest

from experiments import run, table
from experiments.grids import GRIDS
from experiments.scores import KEYS
from fewmask.core.errors import ConfigError, DataError


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """The commands that would run; each makes an experiment with a number as its name."""
    commands: list[list[str]] = []

    def fake(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, f"Ran experiment(s): e{len(commands)}\n", "")

    monkeypatch.setattr(run.subprocess, "run", fake)
    return commands


def test_each_row_has_an_experiment_a_seed_and_what_is_shared_comes_first(asked):
    args = argparse.Namespace(set=["runtime.threads=1"], labelled=[], seeds=[0, 7], jobs=1)
    made = run.run_grid(GRIDS["contrastive"], ["pseudo", "full"], args)
    assert made == {"pseudo": ["e4", "e5"], "full": ["e2", "e3"]}
    assert ["++seed=7" in command for command in asked] == [False, False, True, False, True]
    assert all("++runtime.threads=1" in command and "--temp" in command for command in asked)
    assert asked[-1][-1] == "evaluate@contrastive"
    assert "++contrastive.lambda_contr=0" in asked[-1]


def test_a_failed_experiment_is_reported_with_the_stage_s_own_sentence(monkeypatch):
    failed = subprocess.CompletedProcess(
        [], 255, "", "x\nerror: params.yaml:3: lr: found 'a'; expected a number.\nERROR: y"
    )
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        DataError, match=r"^full \[seed=0\]: params.yaml:3: lr: found 'a'; expected a number\. Run the grid again"
    ):
        run.experiment(run.Job(("evaluate@s4gan",), rows=("full",)), ["seed=0"])


def test_deletions_and_additions_keep_their_mark():
    assert [run.override(s) for s in ("a.b=1", "~a", "+a={b: 1}")] == ["++a.b=1", "~a", "+a={b: 1}"]


@pytest.mark.parametrize("jobs", ["0", "-2"])
def test_fewer_jobs_than_one_are_refused(asked, monkeypatch, jobs: str) -> None:
    monkeypatch.setattr("sys.argv", ["run", "s4gan", "--out", "x.json", "--jobs", jobs])
    with pytest.raises(ConfigError, match=f"^--jobs: found {jobs}; expected 1 or more experiments at a time.$"):
        run.main()


def test_a_setting_of_an_unknown_section_is_refused():
    with pytest.raises(ConfigError, match=r"--set supervsied.steps=2: params.yaml has no 'supervsied'; expected"):
        run.require_sections(["supervsied.steps=2"])
    run.require_sections(["supervised.steps=2", "~selene.network"])


def test_a_setting_without_a_value_and_a_seed_below_0_are_refused(asked, monkeypatch, capsys):
    with pytest.raises(ConfigError, match=r"--set supervised.steps: found no '='; expected key=value"):
        run.require_sections(["supervised.steps"])
    monkeypatch.setattr("sys.argv", ["run", "s4gan", "--out", "x.json", "--seeds", "-1"])
    with pytest.raises(SystemExit):
        run.main()
    assert "--seeds" in capsys.readouterr().err


@pytest.fixture
def result(asked, monkeypatch, tmp_path) -> Path:
    """Of a grid whose control takes one more pixel of four for the other class than its method."""

    def read(path: str, repo: str, rev: str) -> str:
        control = "++consistency.unlabelled=0" in asked[int(rev[1:]) - 1]
        if path.endswith(".json"):
            return json.dumps(dict.fromkeys(KEYS, 0.25 if control else 0.75))
        return f"image,actual,predicted,pixels\na,sky,sky,{3 - control}\na,sky,road,{1 + control}\na,road,road,4\n"

    monkeypatch.setattr(run.dvc.api, "read", read)
    out = tmp_path / "small.json"
    words = ["methods", "--rows", "supervised", "consistency", "--labelled", "24", "64", "--seeds", "0", "7"]
    monkeypatch.setattr(
        "sys.argv", ["run", *words, "--set", "supervised.steps=20", "consistency.steps=10", "--out", str(out)]
    )
    run.main()
    return out


def test_a_grid_runs_at_each_count_with_its_controls(result, asked):
    found = json.loads(result.read_text())
    assert list(found["labelled"]) == ["24", "64"]
    assert all(
        list(rows) == ["supervised", "consistency", "consistency, control"] for rows in found["labelled"].values()
    )
    for count, rows in found["labelled"].items():
        for name, row in rows.items():
            for seed, experiment in zip((0, 7), row["experiments"], strict=True):
                command = asked[int(experiment[1:]) - 1]
                assert {f"++split.labelled={count}", f"++seed={seed}"} <= set(command)
                assert ("++consistency.unlabelled=0" in command) == name.endswith("control")


def test_a_result_says_what_was_compared_and_what_it_took(result):
    found = json.loads(result.read_text())
    assert found["role"] == "test"
    about = found["rows"]["consistency, control"]
    assert about["settings"] == ["consistency.unlabelled=0"]
    assert about["trainings"] == found["rows"]["consistency"]["trainings"]
    assert about["trainings"]["consistency"]["steps"] == 10
    method = found["labelled"]["64"]["consistency"]
    assert method["pooled"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    less = method["less control"]
    gain = (3 / 4 + 4 / 5 - 2 / 4 - 4 / 6) / 2
    assert less["values"] == pytest.approx([gain] * 2)
    assert [less[key] for key in ("mean", "low", "high")] == pytest.approx([gain] * 3)


def test_the_table_has_a_line_for_each_method_and_count(result):
    lines = list(table.lines(result))
    assert [line[1:3] for line in lines] == [[c, m] for c in ("24", "64") for m in ("supervised", "consistency")]
    assert lines[0][3:6] == ["", "75.0", ""]
    assert lines[1][0] == "small"
    assert lines[1][3:] == ["25.0", "75.0", "+19.2 (+19.2 to +19.2)", "2", "30"]


def test_a_file_of_another_kind_is_no_table(tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"method": "selene"}')
    with pytest.raises(DataError, match=r"old.json: cannot be read \(KeyError: 'role'\); expected what 'python -m"):
        list(table.lines(path))


def test_a_wrong_control_stops_a_grid_before_its_first_experiment(asked, monkeypatch, tmp_path):
    words = ["methods", "--rows", "consistency", "--set", "consistency.unlabelled=0", "--out", str(tmp_path / "x")]
    monkeypatch.setattr("sys.argv", ["run", *words])
    with pytest.raises(ConfigError, match=r"^consistency: its control has the same params"):
        run.main()
    assert asked == []
