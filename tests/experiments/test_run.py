"""How a grid becomes DVC experiments, without running one."""

import argparse
import subprocess

import pytest

from experiments import run
from experiments.grids import GRIDS
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
    args = argparse.Namespace(set=["runtime.threads=1"], seeds=[0, 7], jobs=1)
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
