"""params.yaml: read as DVC reads it, and every mistake of a person answered with a line and a remedy."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field, PositiveFloat, PositiveInt
from ruamel.yaml import YAML

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params, Section, Size
from fewmask.splitting import SplitConfig

Write = Callable[..., Path]


class Optimiser(Section):
    learning_rate: PositiveFloat
    momentum: float = Field(default=0.9, ge=0, le=1)


class Training(Section):
    steps: PositiveInt
    amp: bool = False
    size: Size = (1, 1)
    optimiser: Optimiser = Optimiser(learning_rate=1.0)


def refusal(path: Path, key: str = "fit", schema: Any = Training) -> str:
    """What reading ``key`` is answered with."""
    with pytest.raises(ConfigError) as caught:
        Params(path).section(key, schema)
    assert caught.value.code == 2
    return str(caught.value)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", ".001", "1.e-3", "+1e-3"])
def test_a_float_is_what_dvc_reads(write_params: Write, text: str) -> None:
    """PyYAML, which is YAML 1.1, reads 1e-3 as a string; ruamel, which DVC uses, as a float."""
    path = write_params(f"fit:\n  steps: 1\n  optimiser: {{learning_rate: {text}}}\n")
    rate = Params(path).section("fit", Training).optimiser.learning_rate
    assert rate == 0.001
    assert rate == YAML(typ="safe", pure=True).load(path.read_text())["fit"]["optimiser"]["learning_rate"]
    assert isinstance(yaml.safe_load("a: 1e-3")["a"], str)


def test_a_section_is_typed_and_immutable(write_params: Write) -> None:
    config = Params(write_params("fit: {steps: 7, amp: true, size: [3, 4]}\n")).section("fit", Training)
    assert (config.steps, config.amp, config.size, config.optimiser.momentum) == (7, True, (3, 4), 0.9)
    with pytest.raises(ValueError, match="frozen"):
        config.steps = 8


def test_an_unknown_key_is_answered_with_its_line_and_a_guess(write_params: Write) -> None:
    path = write_params("fit:\n  steps: 1\n  optimiser:\n    learning_rate: 1\n    momentm: 0.5\n  stepps: 3\n")
    assert set(refusal(path).splitlines()) == {
        f"{path}:5: fit.optimiser.momentm: unknown key, did you mean 'momentum'?",
        f"{path}:6: fit.stepps: unknown key, did you mean 'steps'?",
    }


def test_a_misspelt_section_is_guessed(write_params: Write) -> None:
    assert "key 'fit' is missing, did you mean 'fitt'?" in refusal(write_params("fitt: {steps: 1}\n"))


def test_a_dotted_key_names_the_part_that_is_missing(write_params: Write) -> None:
    message = refusal(write_params("auxiliary:\n  netwrk: {}\n"), "auxiliary.network")
    assert message.endswith("'auxiliary.network' is missing, did you mean 'netwrk'?")


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("fit: {}\nother: 1\nfit: {}\n", 1, 3),
        ("fit:\n  optimiser:\n    momentum: 1\n    learning_rate: 2\n    momentum: 3\n", 3, 5),
        ("fit:\n  note: |\n    steps: 9\n  steps: 1\n  size: [1, 1]\n  steps: 2\n", 4, 6),
    ],
)
def test_a_key_that_stands_twice_is_answered_with_both_lines(
    write_params: Write, text: str, first: int, second: int
) -> None:
    path = write_params(text)
    assert refusal(path) == f"{path}:{second}: this key stands in line {first} already; remove one."


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ('{steps: "10"}', "fit.steps", "'10'"),
        ("{steps: 1.5}", "fit.steps", "1.5"),
        ("{steps: true}", "fit.steps", "True"),
        ("{steps: 0}", "fit.steps", "0"),
        ("{steps: }", "fit.steps", "None"),
        ("{steps: 1, amp: on}", "fit.amp", "'on'"),
        ("{steps: 1, amp: 1}", "fit.amp", "1"),
        ("{steps: 1, size: [1, 2.5]}", "fit.size.1", "2.5"),
        ("{steps: 1, size: 96}", "fit.size", "96"),
        ("{steps: 1, optimiser: {learning_rate: .nan}}", "fit.optimiser.learning_rate", "nan"),
        ("{steps: 1, optimiser: {learning_rate: .inf}}", "fit.optimiser.learning_rate", "inf"),
        ("{steps: 1, optimiser: {learning_rate: 1e999}}", "fit.optimiser.learning_rate", "inf"),
        ("{steps: 1, optimiser: {learning_rate: true}}", "fit.optimiser.learning_rate", "True"),
        ("{steps: 1, optimiser: {learning_rate: 1, momentum: 1.2}}", "fit.optimiser.momentum", "1.2"),
        ("{steps: 1, optimiser: 3}", "fit.optimiser", "3"),
    ],
)
def test_a_wrong_value_is_answered_with_key_value_and_what_was_expected(
    write_params: Write, text: str, key: str, found: str
) -> None:
    path = write_params(f"seed: 0\nfit: {text}\n")
    assert refusal(path).startswith(f"{path}:2: {key}: found {found}; expected: ")


def test_a_missing_key_is_named(write_params: Write) -> None:
    path = write_params("seed: 0\nfit: {amp: true, size: [3]}\n")
    assert refusal(path).splitlines() == [
        f"{path}:2: fit.steps: missing; add it.",
        f"{path}:2: fit.size.1: missing; add it.",
    ]


def test_the_branches_of_a_union_make_one_problem_under_the_written_key(write_params: Write) -> None:
    path = write_params("split:\n  cover: 1\n  labelled: -0.5\n")
    found = refusal(path, "split", SplitConfig)
    assert found.startswith(f"{path}:3: split.labelled: found -0.5; expected: ")
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing at the top"),
        ("# only a comment\n", "nothing at the top"),
        ("- a\n- b\n", "at the top"),
        ("just words\n", "at the top"),
        ("fit: {steps: 1}\n---\nfit: {steps: 2}\n", ":2: a second YAML document"),
        ("fit:\n\tsteps: 1\n", ":2: not valid YAML"),
        ("fit: {steps: 1\n", "not valid YAML"),
        ("fit: a: b\n", ":1: not valid YAML"),
        ("a: 1\nfit: *steps\n", ":2: found a YAML alias"),
        ("fit: &a [*a]\n", ":1: found a YAML alias"),
        ("fit: !!python/object/apply:os.system ['touch marker']\n", ":1: found the YAML tag"),
        ("fit: !!python/name:os.system\n", ":1: found the YAML tag"),
        ("fit: !mine {steps: 1}\n", ":1: found the YAML tag"),
        ("a: 1\nfit: 2020-01-01\n", ":2: fit: Object of type date"),
        ("fit:\n  ? [a, b]\n  : c\n", "keys must be"),
        ("fit: " + "9" * 5000 + "\n", "not valid YAML"),
        ("fit: \x07\n", "not valid YAML"),
        ("[" * 5000, ":1: nested deeper than 20"),
        ("{a: " * 5000, ":1: nested deeper than 20"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(300)), ":21: nested deeper than 20"),
        (b"a: 1\n" * 2_200_000, "11000000 bytes"),
        ("fit: {steps: 1}\n".encode("utf-16"), "not UTF-8"),
        ("fit: {steps: 1}\n".encode("utf-16-le"), "NUL"),
        (bytes(range(256)) * 40, "not UTF-8"),
    ],
)
def test_what_is_no_params_file_is_refused_at_once(write_params: Write, text: str | bytes, reason: str) -> None:
    path = write_params(text)
    begin = time.process_time()
    message = refusal(path)
    assert reason in message
    assert str(path) in message
    assert time.process_time() - begin < 2
    assert not Path("marker").exists()


def test_an_alias_bomb_is_refused_before_it_grows(write_params: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert ":2: found a YAML alias" in refusal(write_params("\n".join(lines)))


def test_a_byte_order_mark_is_passed_over(write_params: Write) -> None:
    assert Params(write_params("\ufefffit: {steps: 1}\n")).raw("fit") == {"steps": 1}


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    assert "stages.preset" in refusal(tmp_path / "none.yaml")


def test_many_problems_are_counted_not_poured_out(write_params: Write) -> None:
    extra = "".join(f"  zz{number}: 1\n" for number in range(30))
    lines = refusal(write_params("fit:\n  steps: 1\n" + extra)).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 10 more"


MERGING = """
base:
  steps: 1
  optimiser: {learning_rate: 0.5, momentum: 0.1}
over:
  optimiser: {momentum: 0.7}
  amp: true
wrong:
  optimiser: {momentum: 7}
"""


def test_merged_overrides_key_by_key_inside_mappings(write_params: Write) -> None:
    """base {steps 1, {0.5, 0.1}} under over {{-, 0.7}, amp} is {steps 1, {0.5, 0.7}, amp}."""
    params = Params(write_params(MERGING))
    found = params.merged(["base", "over"], Training)
    assert (found.steps, found.amp) == (1, True)
    assert (found.optimiser.learning_rate, found.optimiser.momentum) == (0.5, 0.7)
    assert params.merged(["over", "base"], Training).optimiser.momentum == 0.1
    assert params.merged(["base"], Training) == params.section("base", Training)


def test_merged_names_the_section_that_holds_the_mistake(write_params: Write) -> None:
    path = write_params(MERGING)
    with pytest.raises(ConfigError, match=r":9: wrong\.optimiser\.momentum: found 7; expected: "):
        Params(path).merged(["base", "over", "wrong"], Training)
    path.write_text("base: {steps: 1}\nover: 3\n")
    with pytest.raises(ConfigError, match="over: found 3; expected a mapping"):
        Params(path).merged(["base", "over"], Training)
