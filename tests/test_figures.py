"""What must not grow: the graph, the presets, the README, and what a new method has to touch."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.figures import lines, prose, sentences, way_to_the_loss

ROOT = Path(__file__).resolve().parents[1]
CODE = [path for path in (ROOT / "pipeline").rglob("*.py") if path.name != "__init__.py"]
METHODS = sorted(path.name for path in (ROOT / "pipeline/methods").glob("[a-z]*/"))


def test_the_graph_is_read_on_two_screens():
    assert lines("dvc.yaml") <= 260


def test_sentences_are_those_of_the_prose():
    page = "# Title\nOne, two. Three\nfour: five.\n\n- entry\n- [linked](page.md) entry\n\n```sh\ncode.\n```\n| a |\n"
    assert sentences(page) == ["One, two.", "Three four:", "five.", "entry", "linked entry"]


def test_the_readme_can_be_read_in_two_minutes():
    found = prose((ROOT / "README.md").read_text())
    assert found["lines"] <= 120
    assert found["words, 90th percentile"] <= 28
    assert found["commas a sentence"] <= 1
    assert found["pictures"] >= 2


@pytest.mark.slow
def test_an_image_is_not_far_from_its_loss():
    way = way_to_the_loss()
    assert {"pipeline/methods/supervised/supervised.py", "pipeline/learning/losses.py"} <= way.keys()
    assert len(way) <= 20
    assert sum(sum(functions.values()) for functions in way.values()) <= 400


def test_no_two_files_have_one_name():
    counts = Counter(path.name for path in CODE)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_named_nowhere_in_the_code_of_others(method):
    """To add one is to write its folder; no file outside has to know it."""
    own = ROOT / "pipeline/methods" / method
    others = [path for path in [*CODE, *(ROOT / "stages").glob("*.py")] if not path.is_relative_to(own)]
    importing = [path for path in others if f"fewmask.methods.{method}" in path.read_text()]
    fusing = [ROOT / "pipeline/fusion/fused.py", ROOT / "stages/fuse.py"] if method == "mlmt" else []
    assert sorted(importing) == fusing
