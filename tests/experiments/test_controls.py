"""Controls that are none are refused before anything is trained; trainings are counted along dvc.yaml."""

import pytest

from experiments.controls import resolved, trainings_of, with_controls
from experiments.grids import CONTROLS, GRIDS, Grid, Row
from fewmask.core.errors import ConfigError


def refused(control: tuple[str, ...], *settings: str, method: str = "s4gan") -> str:
    """What is said of a method with this control."""
    with pytest.raises(ConfigError) as error:
        with_controls(Grid({method: Row((), {"": method}, control)}, (), ()), [method], settings)
    return str(error.value)


def test_a_control_that_differs_in_another_key_is_refused_with_both_values():
    said = refused((*CONTROLS["s4gan"], "s4gan.gamma=0.25", "s4gan.unlabelled=0"), "s4gan.gamma=0.75")
    assert said.startswith("s4gan: s4gan.gamma is 0.75, but 0.25 in its control; expected a difference in three_stage.")
    assert said.endswith("alone. Take s4gan.gamma out of the control's settings in experiments/grids.py.")


def test_a_control_that_adds_or_removes_a_key_is_refused():
    assert "s4gan.gamma is 'nothing', but 0.25 in its control" in refused(("s4gan.gamma=0.25",))
    assert "mlmt.decay is 0.99, but 'nothing' in its control" in refused(("~mlmt.decay",))


def test_a_control_that_equals_its_method_is_refused():
    said = refused(CONTROLS["contrastive"], "contrastive.unlabelled=0", method="contrastive")
    assert said.startswith("contrastive: its control has the same params; expected another contrastive.unlabelled. Let")


def test_a_control_with_other_labelled_views_is_refused():
    said = refused(("auxiliary.retrain.pseudo=0",), method="auxiliary")
    assert "auxiliary-retrain has 2000 labelled views, but 4000 in its control; expected as many" in said


def test_a_shuffled_set_of_true_and_pseudo_labels_has_no_control():
    said = refused(CONTROLS["auxiliary"], "auxiliary.retrain.pseudo=null", method="auxiliary")
    assert said.startswith("auxiliary: auxiliary.retrain.pseudo is null, so no step has a fixed number of true labels")


def test_a_setting_that_dvc_refuses_is_named():
    with pytest.raises(ConfigError, match=r"^~s4gan.nothing: Could not delete from config.*; expected settings of"):
        resolved(["~s4gan.nothing"])


def test_every_method_but_the_supervised_one_has_a_control():
    grid = GRIDS["methods"]
    assert {name for name in grid.rows if not grid.rows[name].control} == {"supervised"}


def test_trainings_are_those_that_lead_to_a_score_the_last_one_first():
    params = resolved(["supervised.steps=10", "auxiliary.network.steps=20", "auxiliary.retrain.steps=30"])
    found = trainings_of(params, ["auxiliary"])
    assert list(found) == ["auxiliary-retrain", "supervised", "auxiliary-network"]
    assert [each["steps"] for each in found.values()] == [30, 10, 20]
    assert [each["labelled_views"] for each in found.values()] == [60, 40, 80]


@pytest.mark.parametrize(("begins", "trained"), [("supervised", ["s4gan", "supervised"]), ("weights", ["s4gan"])])
def test_the_supervised_training_counts_where_a_network_begins_with_it(begins, trained):
    assert list(trainings_of(resolved([f"s4gan.begin_with={begins}"]), ["s4gan"])) == trained
