"""Means, deviations and differences on made-up scores."""

import json

import pytest

from experiments.scores import KEYS, dropped, less_control, pooled, scores, spread, spreads, table
from fewmask.core.errors import DataError


def seeds(*values: float) -> list[dict]:
    return [{"miou": value} for value in values]


def test_a_spread_has_mean_sample_deviation_and_values():
    assert spread([1.0, 2.0, 3.0]) == {"mean": 2.0, "std": 1.0, "values": [1.0, 2.0, 3.0]}


def test_one_value_has_no_deviation():
    assert spread([0.5]) == {"mean": 0.5, "std": None, "values": [0.5]}


def test_nested_scores_are_spread_at_every_depth():
    found = spreads([{"kept": {"0.9": {"share": 0.25}}}, {"kept": {"0.9": {"share": 0.75}}}])
    assert found["kept"]["0.9"]["share"]["values"] == [0.25, 0.75]


def test_rows_are_compared_by_seed_with_the_rows_they_are_held_against():
    found = table({"ce": {"": seeds(0.25, 0.5)}, "full": {"": seeds(0.5, 0.625)}}, ("supervised", "ce"))
    assert found["full"]["less ce"]["values"] == [0.25, 0.125]
    assert found["full"]["miou"]["mean"] == 0.5625
    assert "less supervised" not in found["full"]


def test_rows_are_compared_with_the_first_one_where_no_other_is_there():
    found = table({"pseudo": {"": seeds(0.25)}, "full": {"": seeds(0.5)}}, ("supervised",))
    assert found["full"]["less pseudo"]["mean"] == 0.25


def test_stages_of_one_row_are_compared_with_each_other():
    found = table({"full": {"S1": seeds(0.25, 0.5), "S3": seeds(0.5, 0.5)}}, ())
    assert found["full"]["S3 - S1"]["values"] == [0.25, 0.0]
    assert found["full"]["S1"]["miou"]["values"] == [0.25, 0.5]


def test_the_auxiliary_network_s_row_says_what_was_selected_at_the_papers_thresholds():
    files = {
        "metrics/auxiliary.json": json.dumps(dict.fromkeys([*KEYS, "images"], 0.5)),
        "metrics/plots/selection/auxiliary.csv": "threshold,miou\n0.0,0.1\n0.71,0.2\n0.8,0.3\n0.95,0.4\n0.91,0.5\n",
    }
    found = scores(files.__getitem__, "auxiliary")
    assert set(found) == {*KEYS, "selection"}
    assert [found["selection"][at]["miou"] for at in ("0.0", "0.7", "0.8", "0.9")] == [0.1, 0.2, 0.3, 0.5]


def test_dropped_classes_are_summed_and_undefined_precision_is_left_out():
    found = dropped("class,dropped,wrongly_dropped,average_precision\nsky,2,1,0.5\nroad,3,0,\ncar,0,0,1.0\n")
    assert found == {"dropped": 5.0, "wrongly_dropped": 1.0, "average_precision": pytest.approx(0.75)}


def images(*cells: str) -> str:
    return "".join(f"{line}\n" for line in ("image,actual,predicted,pixels", *cells))


def test_pooled_is_the_miou_of_all_seeds_together():
    """Of sky 3 pixels of 4 are right, and one of road is taken for it: 3 / 5; of road 1 / 3."""
    both = [images("a,sky,sky,2", "a,road,road,1"), images("a,sky,sky,1", "a,sky,road,1", "b,road,sky,1")]
    assert pooled(both) == pytest.approx((3 / 5 + 1 / 3) / 2)


def test_a_difference_to_a_control_is_taken_seed_by_seed():
    right, wrong = images("a,sky,sky,2", "a,road,road,2"), images("a,sky,sky,1", "a,sky,road,1", "a,road,road,2")
    found = less_control("x", [right, right], [wrong, right])
    assert found["values"] == pytest.approx([1 - (1 / 2 + 2 / 3) / 2, 0])
    assert found["std"] > 0 and found["low"] == 0


def test_a_control_of_other_images_is_refused():
    with pytest.raises(DataError, match=r"^x and its control: details/images.csv: 1 and 2 images, not the same ones"):
        less_control("x", [images("a,sky,sky,1")], [images("a,sky,sky,1", "b,sky,sky,1")])
