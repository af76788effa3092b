"""The harness: turns, ratios, targets; and that every subject is there."""

import importlib
import inspect
from pathlib import Path

import pytest

from benchmarks.__main__ import ROOT, SUBJECTS
from benchmarks.timing import Bench, Result, Turns, take_turns

SHARED = {"figures", "__main__", "timing", "machine", "inputs", "contrast_case", "contrast_reference"}


def test_a_ratio_is_the_median_over_turns_so_that_load_on_one_turn_does_not_count():
    turns = Turns({"ours": [1.0, 10.0, 1.0], "plain": [2.0, 20.0, 9.0]})
    assert turns.ratio("plain", "ours") == 2.0
    result = turns.against("sum", "plain", least=3.0, each=2)
    assert (result.value, result.met, result.absolute) == (2.0, False, {"ours": 0.5, "plain": 4.5})


def test_runs_take_turns_and_the_first_turn_does_not_count():
    order: list[str] = []
    turns = take_turns(2, ours=lambda: order.append("ours"), plain=lambda: order.append("plain"))
    assert order == ["ours", "plain"] * 3
    assert {name: len(taken) for name, taken in turns.taken.items()} == {"ours": 2, "plain": 2}


@pytest.mark.parametrize(
    ("result", "met"),
    [
        (Result("a", 2.0, least=2.0), True),
        (Result("a", 1.9, least=2.0), False),
        (Result("a", 2.1, most=2.0), False),
        (Result("a", 2.0), None),
        (Result("a", None, least=2.0), None),
    ],
)
def test_a_target_is_met_at_its_bound_and_unknown_without_a_figure(result, met):
    assert result.met is met
    assert result.plain().get("met") is met


def test_a_plain_result_has_four_digits_and_nothing_empty():
    assert Result("a", 1.23456, absolute={"ours": 0.00012345}).plain() == {
        "what": "a",
        "value": 1.235,
        "unit": "x",
        "absolute": {"ours": 0.0001234},
    }


def test_quick_takes_fewer_rounds(tmp_path):
    assert [Bench(tmp_path, 1, quick).some(9, 2) for quick in (False, True)] == [9, 2]


def test_every_file_is_a_subject_or_shared():
    assert {path.stem for path in Path(ROOT, "benchmarks").glob("*.py")} == set(SUBJECTS) | SHARED


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_says_what_it_measures_and_takes_a_bench(name):
    pytest.importorskip("torchmetrics")
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__
    assert list(inspect.signature(module.measure).parameters) == ["bench"]
