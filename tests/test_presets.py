"""Presets out of tables: every cell of a paper's results is a whole params file."""

import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from pipeline.core.errors import ConfigError
from pipeline.core.params import Params, Section
from pipeline.datasets.sources import DatasetConfig, VocConfig
from pipeline.datasets.split import SplitConfig
from pipeline.learning.fit import FitConfig
from pipeline.learning.learner import Learner, Task
from pipeline.learning.optim import make_optimiser
from pipeline.learning.recipe import learner_class
from pipeline.nets.batchnorm import require_sense
from pipeline.nets.deeplabv2 import Config as DeepLab
from pipeline.nets.published import build
from pipeline.presets import PRESETS, find_cells, find_presets
from pipeline.scoring.cost import parameters

ROOT = Path(__file__).resolve().parents[1]
TABLE = """
columns: [base, split.labelled, network.input]
rows:
  few: [base, 5, null]
  many: [base, 50, caffe]
"""
BASE = "seed: 0\nsplit: {labelled: null}\nnetwork:\n  input: null\n  rate: 0.00003  # the paper's\n"


def cells() -> list[str]:
    """The names of all rows of all tables."""
    return list(find_cells())


def tree(name: str) -> dict[str, Any]:
    """A cell's params as plain values."""
    loaded: dict[str, Any] = YAML(typ="safe").load(find_cells()[name].text())
    return loaded


@pytest.fixture
def params(tmp_path: Path) -> Callable[[str], Params]:
    """A cell as a stage reads it."""

    def read(name: str) -> Params:
        path = tmp_path / "params.yaml"
        path.write_bytes(find_presets()[name])
        return Params(path)

    return read


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str, str], Path]:
    """``table(rows, base)`` -> a folder of presets with one table."""

    def write(text: str = TABLE, base: str = BASE) -> Path:
        (tmp_path / "paper").mkdir()
        (tmp_path / "paper/table.yaml").write_text(text)
        (tmp_path / "paper/base.yaml").write_text(base)
        return tmp_path

    return write


def test_the_three_stage_paper_has_twelve_cells() -> None:
    shares = ("100th", "50th", "20th", "8th")
    voc = [f"three_stage-voc-{share}-{start}" for start in ("imagenet", "coco") for share in shares]
    assert cells() == [f"three_stage-cityscapes-{count}" for count in (100, 372, 744, 1488)] + voc


@pytest.mark.parametrize("name", cells())
def test_every_cell_has_every_key_that_the_graph_declares(name: str, params: Callable[[str], Params]) -> None:
    read = params(name)
    for body in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].values():
        for key in body.get("do", body).get("params", []):
            read.raw(key)


STAGES = {
    name: shlex.split(body["cmd"])
    for name, body in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].items()
    if "--learner" in body.get("cmd", "")
}


BUILT: dict[str, int] = {}  # parameters of what was built already: cells differ in little that a network is made of


def size_of(kind: type[Learner], config: FitConfig, network: Section, classes: int) -> int:
    """Parameters of what a learner trains; its optimiser must have the paper's two rates. On no device: no memory."""
    key = f"{kind} {getattr(config, 'branch', '')} {config.optimiser} {network} {classes}"
    if key not in BUILT:
        fresh = network.model_copy(update={"weights": None})
        task = Task(
            list("abcdefghijklmnopqrstu")[:classes], fresh.model_dump(mode="json"), lambda: build(fresh, classes)
        )
        with torch.device("meta"):
            (player,) = kind(config, task).players().values()
        groups = make_optimiser(player, config.optimiser).param_groups
        assert sorted(group["factor"] for group in groups) == [0.1, 1.0]
        BUILT[key] = parameters(player)
    return BUILT[key]


@pytest.mark.parametrize("name", cells())
@pytest.mark.parametrize("stage", [stage for stage in STAGES if "auxiliary" not in stage])
def test_every_cell_builds_what_the_stage_trains(name: str, stage: str, params: Callable[[str], Params]) -> None:
    """Stage 2 has 5.09 M parameters more at 19 classes, stage 3 one head."""
    read, words = params(name), STAGES[stage]
    kind = learner_class(words[words.index("--learner") + 1])
    first = words.index("--section") + 1
    config = read.merged([word for word in words[first : first + 2] if not word.startswith("--")], kind.schema)
    network = read.section("network", DeepLab)
    require_sense(network, config.batch_norm)
    classes = 19 if "cityscapes" in name else 21
    head = 4 * (classes * 2048 * 9 + classes)
    branch = {"supervised": 0, "three_stage-2": 4_390_912 + 4 * (classes * 1024 * 9 + classes), "three_stage-3": head}
    expected = {19: 43_901_068, 21: 44_048_532}[classes]
    assert size_of(kind, config, network, classes) == expected + branch[stage]


@pytest.mark.parametrize("name", cells())
def test_every_cell_names_a_data_set_and_a_count(name: str, params: Callable[[str], Params]) -> None:
    read = params(name)
    dataset = read.section("dataset", DatasetConfig)
    assert (
        read.section("split", SplitConfig).labelled
        == {
            **{f"cityscapes-{count}": count for count in (100, 372, 744, 1488)},
            **{f"voc-{share}": count for share, count in {"100th": 106, "50th": 212, "20th": 529, "8th": 1323}.items()},
        }["-".join(name.split("-")[1:3])]
    )
    assert (dataset.kind, dataset.size) in [("cityscapes", (512, 1024)), ("voc", (505, 505))]
    if isinstance(dataset, VocConfig):
        assert (dataset.augmented, dataset.fit) == (True, "pad")


@pytest.mark.parametrize(
    ("name", "batch", "unlabelled", "weight"),
    [
        ("cityscapes-100", 1, 4, 1 / 2),
        ("cityscapes-744", 1, 4, 1 / 2),
        ("cityscapes-1488", 3, 2, 1 / 2),
        ("voc-100th-imagenet", 1, 9, 1 / 4),
        ("voc-50th-coco", 1, 9, 1 / 4),
        ("voc-20th-coco", 1, 9, 5 / 4),
        ("voc-8th-imagenet", 2, 8, 5 / 8),
    ],
)
def test_cells_train_as_the_paper_does(name: str, batch: int, unlabelled: int, weight: float) -> None:
    cell = tree("three_stage-" + name)
    recipe = cell["three_stage"]["recipe"]
    assert (recipe["batch"], recipe["unlabelled"]) == (batch, unlabelled)
    assert (recipe["lambda_1"], recipe["lambda_2"]) == (weight, weight)
    assert (recipe["steps"], recipe["optimiser"]["lr"]) == (60000, 3e-5)
    coco = name.endswith("coco")
    assert cell["network"]["weights"] == ("weights/resnet101COCO-41f33a49.pth" if coco else "torchvision")
    assert cell["network"].get("input") == ("caffe" if coco else None)


@pytest.mark.parametrize("name", cells())
def test_averaging_slows_down_after_20_40_and_50_thousand_steps(name: str) -> None:
    recipe = tree(name)["three_stage"]["recipe"]
    begins = [next(step for step in range(60001) if step / 60000 >= begin) for begin, _ in recipe["decay"]]
    assert begins == [0, 20000, 40000, 50000]


@pytest.mark.parametrize("name", cells())
def test_a_cell_is_pleasant_to_read(name: str) -> None:
    """Comments stay, rates are decimals, null is a word, each section stands apart, and no key is without a value."""
    text = find_cells()[name].text()
    lines = text.splitlines()
    assert lines[0].startswith(f"# {name}: presets/three_stage/")
    assert "lr: 0.00003\n" in text
    assert "  weight_c: null\n" in text
    assert "# the paper draws at random" in text
    assert not [line for line in lines if "&" in line or "e-0" in line or len(line) > 120 or line != line.rstrip()]
    starts = [number for number, line in enumerate(lines) if line[:1].isalpha() and not line.startswith("seed")]
    assert all(lines[number - 1] == "" for number in starts)
    assert not [key for key, line in pairwise(lines) if key.endswith(":") and line[:1] != " "]


def test_a_row_is_its_base_with_its_values_and_nothing_else(table: Callable[..., Path]) -> None:
    found = {name: cell.text() for name, cell in find_cells(table()).items()}
    assert found["many"] == (
        "# many: presets/paper/base.yaml with its row of table.yaml.\n"
        "seed: 0\nsplit: {labelled: 50}\nnetwork:\n  input: caffe\n  rate: 0.00003  # the paper's\n"
    )
    assert "labelled: 5}" in found["few"]
    assert "input" not in found["few"]


@pytest.mark.parametrize(
    ("text", "base", "match"),
    [
        (TABLE.replace("50, caffe", "50"), BASE, r"table\.yaml: many: 2 values for 3 columns; expected one each"),
        (TABLE, BASE.replace("labelled", "label"), r"base\.yaml: has no key 'split\.labelled'; expected every column"),
        (TABLE.replace("network.input", "net.input"), BASE, r"base\.yaml: has no key 'net\.input'"),
    ],
)
def test_a_table_that_does_not_fit_its_base_is_refused(
    table: Callable[..., Path], text: str, base: str, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        find_presets(table(text, base))


def test_files_are_presets_to_the_byte() -> None:
    files = {path.stem: path.read_bytes() for path in PRESETS.glob("*.yaml")}
    assert files
    assert files.items() <= find_presets().items()
