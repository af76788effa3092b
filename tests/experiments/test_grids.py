"""The grids name settings that params.yaml takes, and evaluations and stages that dvc.yaml has."""

from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from experiments.controls import override, resolved, with_controls
from experiments.grids import CONTROLS, GRIDS, PLAIN, Grid, Row, control_of
from experiments.run import Job, plan
from fewmask.checking.checks import section_problems, trainings
from fewmask.checking.graph import nodes
from fewmask.core.params import Params
from stages import fit

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("replaced", [False, True], ids=["keys", "another network"])
def test_params_accept_every_setting(replaced, tmp_path):
    """All rows at once; those with another network apart, since budgets are the routing network's."""
    rows = [row.settings for grid in GRIDS.values() for row in grid.rows.values()]
    chosen = [override(s) for settings in rows if any(s[0] == "~" for s in settings) == replaced for s in settings]
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(path, list(dict.fromkeys(chosen)))
    graph = nodes(ROOT / "dvc.yaml")
    assert section_problems(Params(path), graph, trainings(graph, fit.arguments())) == []


@pytest.mark.parametrize("name", GRIDS)
def test_every_target_of_a_grid_is_a_stage(name):
    grid = GRIDS[name]
    targets = {target for wave in plan(grid, list(grid.rows)) for job in wave for target in job.targets}
    assert targets <= set(nodes(ROOT / "dvc.yaml"))


@pytest.mark.parametrize("name", GRIDS)
def test_the_rows_of_a_grid_that_are_run_or_compared_by_default_exist(name):
    grid = GRIDS[name]
    assert {*grid.default, *grid.against} <= {*grid.rows} | {"supervised"}


def test_rows_without_settings_are_read_from_the_shared_experiment_and_the_others_run_after_it():
    prepare, shared, others = plan(GRIDS["s4gan"], ["supervised", "ce", "full + mlmt"])
    assert [job.settings for job in prepare] == [PLAIN]
    targets = ("s4gan", "mlmt", "evaluate@supervised", "evaluate@s4gan_mlmt")
    assert shared == [Job(targets, rows=("supervised", "full + mlmt"))]
    assert others == [Job(("evaluate@s4gan",), GRIDS["s4gan"].rows["ce"].settings, ("ce",))]


def test_a_row_with_another_data_set_has_it_prepared_before_the_seeds_share_it():
    prepare, _, _ = plan(GRIDS["s4gan"], ["full", "full + tags"])
    assert [job.settings for job in prepare] == [(), ("dataset.tags=masks",)]


def test_no_two_rows_train_the_same_thing_side_by_side():
    for grid in GRIDS.values():
        *_, others = plan(grid, list(grid.rows))
        assert len({(job.targets, job.settings) for job in others}) == len(others)


def test_rows_with_equal_settings_are_one_experiment():
    """Else the controls of s4gan and s4gan_mlmt would train the same network side by side."""
    names = ["s4gan", "s4gan_mlmt"]
    *_, others = plan(with_controls(GRIDS["methods"], names, []), [*names, *map(control_of, names)])
    without = ("s4gan.unlabelled=0", "mlmt.unlabelled=0")
    targets = ("evaluate@s4gan", "evaluate@s4gan_mlmt")
    assert others == [Job(targets, without, ("s4gan, control", "s4gan_mlmt, control"))]


@pytest.mark.parametrize("method", [name for name in CONTROLS if name != "supervised"])
def test_every_method_has_a_control_that_params_accept(method):
    grid = with_controls(GRIDS["methods"], [method], [])
    params, graph = resolved(grid.rows[control_of(method)].settings), nodes(ROOT / "dvc.yaml")
    assert section_problems(params, graph, trainings(graph, fit.arguments())) == []


def test_a_control_has_its_method_s_settings_and_true_labels():
    """Of four images a step two are pseudo-labelled: the control has the other two."""
    grid = Grid({"auxiliary": Row(("filter.threshold=0.5",), {"": "auxiliary"}, CONTROLS["auxiliary"])}, (), ())
    control = with_controls(grid, ["auxiliary"], ["auxiliary.retrain.steps=10"]).rows["auxiliary, control"]
    joined = ("auxiliary.retrain.pseudo=0", "auxiliary.retrain.batch=2")
    assert control == Row(("filter.threshold=0.5", *joined), {"": "auxiliary"})
