"""Overlays: what a preset says is merged into its base, with comments; mistakes are named in a sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fewmask.checking.presets import is_preset, read_preset
from fewmask.core.errors import ConfigError

WHOLE = """\
# A header.

# For authors.

seed: 0  # of the draw

dataset:
  kind: streets
  root: here
  source:  # another domain
    kind: streets
    root: there

network:  # a small one
  # halved
  name: dsnet
  width: 0.50  # in text
  blocks: [2, 2]
"""
TABLE = "columns: [base, seed, network.width]\nrows:\n  few: [whole, 5, default]\n  many: [whole, 50, 1.0]\n"
Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Write:
    """``folder(mine="...", table="...")`` -> a folder of presets with ``whole``, ``mine`` and a table."""

    def write(mine: str = "base: whole\n", table: str = TABLE, whole: str = WHOLE) -> Path:
        (tmp_path / "paper").mkdir()
        for name, text in {"whole": whole, "mine": mine, "paper/table": table}.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    return write


def body(text: str) -> str:
    """Without the line that names the preset."""
    return text.partition("\n")[2]


def test_a_whole_file_is_written_as_it_stands_without_what_is_for_authors(folder: Write) -> None:
    expected = WHOLE.replace("\n# For authors.\n\n", "")
    assert body(read_preset("whole", folder())) == expected


def test_mappings_merge_key_by_key(folder: Write) -> None:
    text = read_preset("mine", folder("base: whole\nnetwork: {blocks: [4], depth: 1}\n"))
    assert text.endswith("  name: dsnet\n  width: 0.50  # in text\n  blocks: [4]\n  depth: 1\n")


def test_another_name_starts_a_mapping_afresh(folder: Write) -> None:
    text = read_preset("mine", folder("base: whole\nnetwork: {name: routing, layers: 3}\n"))
    assert text.endswith("\n\nnetwork:\n  name: routing\n  layers: 3\n")


def test_a_mapping_with_a_kind_of_its_own_survives_another_kind_around_it(folder: Write) -> None:
    text = read_preset("mine", folder("base: whole\ndataset: {kind: voc, root: VOC}\n"))
    source = "  source:  # another domain\n    kind: streets\n    root: there\n"
    assert f"dataset:\n  kind: voc\n  root: VOC\n{source}\n" in text


def test_a_value_brings_its_comment_or_none(folder: Write) -> None:
    text = read_preset(
        "mine", folder("base: whole\nseed: 1\nnetwork:\n  # doubled\n  name: dsnet\n  width: 1.0  # own\n")
    )
    assert "\nseed: 1\n" in text
    assert "network:  # a small one\n  # doubled\n  name: dsnet\n  width: 1.0  # own\n" in text


def test_a_long_list_is_wrapped_between_its_items(folder: Write) -> None:
    names = [f"class {number:02}" for number in range(30)]
    text = read_preset("mine", folder(f"base: whole\ndataset: {{kind: folder, classes: {names}}}  # many\n"))
    assert max(map(len, text.splitlines())) <= 100
    assert YAML(typ="safe").load(text)["dataset"]["classes"] == names


def test_default_removes_a_key(folder: Write) -> None:
    text = read_preset("mine", folder("base: whole\nnetwork: {width: default}\ndataset: {source: default}\n"))
    assert "width" not in text
    assert "source" not in text


def test_the_header_is_the_nearest_one(folder: Write) -> None:
    assert read_preset("few", folder()).splitlines()[1] == "# A header."


def test_a_base_has_a_base(folder: Write) -> None:
    table = TABLE.replace("few: [whole", "few: [mine")
    assert "\nseed: 5\n" in (text := read_preset("few", folder("# Mine.\nbase: whole\nseed: 7\n", table)))
    assert text.splitlines()[1] == "# Mine."


def test_a_row_is_its_base_with_the_row_s_values(folder: Write) -> None:
    presets = folder()
    expected = body(read_preset("whole", presets)).replace("seed: 0  # of the draw", "seed: 50")
    assert body(read_preset("many", presets)) == expected.replace("width: 0.50  # in text", "width: 1.0")
    assert "width" not in read_preset("few", presets)


def test_a_preset_is_known_by_its_first_line_and_every_byte(folder: Write) -> None:
    presets = folder()
    text = read_preset("few", presets)
    assert is_preset(text.encode(), presets)
    assert not is_preset(text.replace("`few`", "`many`").encode(), presets)
    assert not is_preset(f"{text}# mine\n".encode(), presets)
    assert not is_preset(b"\xff\xfe", presets)


@pytest.mark.parametrize(
    ("mine", "match"),
    [
        ("base: hole\n", r"mine\.yaml: base: found 'hole'; expected a file of .*, did you mean 'whole'\?"),
        ("base: [whole]\n", r"mine\.yaml: base: found '\['whole'\]'; expected a file of "),
        ("base: mine\n", r"mine\.yaml: base: found the circle mine -> mine; expected a whole file at its end"),
        ("base: whole\nnetwerk: {width: 1}\n", r"mine\.yaml: netwerk: not in its base, did you mean 'network'\?"),
        ("base: whole\nnetwork: {widht: default}\n", r"network\.widht: not in its base, did you mean 'width'\?"),
        ("base: whole\nnetwork: {a\n", r"mine\.yaml:\d: not valid YAML"),
        ("", r"mine\.yaml: found nothing at the top"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(folder: Write, mine: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read_preset("mine", folder(mine))


@pytest.mark.parametrize("mine", ["seed: 1\n", "base: whole\ndataset: default\nnetwork: default\n"])
def test_a_preset_without_a_section_that_the_graph_reads_is_refused(folder: Write, mine: str) -> None:
    presets = folder(mine)
    with pytest.raises(ConfigError, match=r"mine\.yaml: lacks dataset, network; expected every key .* 'base: "):
        read_preset("mine", presets, ["dataset", "network", "seed"])
    assert read_preset("few", presets, ["dataset", "network", "seed"]) == read_preset("few", presets)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (TABLE.replace("few", "mine"), r"table\.yaml: mine: this name is that of .*mine\.yaml already; rename the row"),
        (
            TABLE.replace("50, 1.0", "50"),
            r"table\.yaml: many: found 2 values; expected a list of 3, one for each column",
        ),
        (TABLE.replace("[whole, 50, 1.0]", "50"), r"table\.yaml: many: found 50; expected a list of 3"),
        (
            TABLE.replace("network.width", "network.widht"),
            r"many: network\.widht: not in its base, did you mean 'width'",
        ),
        (TABLE.replace("network.width", "seed.width"), r"many: seed\.width: not in its base"),
        (TABLE.replace("[whole, 50", "[hole, 50"), r"many: base: found 'hole'"),
        (TABLE.replace("base,", "on,"), r"table\.yaml: found no table; expected 'columns', a list of 'base' and"),
        ("rows: 3\n", r"table\.yaml: found no table"),
        ("[1, 2]\n", r"table\.yaml: found a CommentedSeq at the top"),
        ("columns: [\n", r"table\.yaml:\d: not valid YAML"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder: Write, table: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read_preset("many", folder(table=table))
