"""Presets: every cell of a paper's tables is a whole params file with the paper's numbers."""

import shlex
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from fewmask.checking.checks import SCHEMAS
from fewmask.checking.graph import nodes
from fewmask.checking.presets import PRESETS, names_of_files, read_preset, read_rows
from fewmask.core.params import Params, Section
from fewmask.costs.macs import parameters
from fewmask.datasets.base.opening import read_target
from fewmask.learning.batchnorm import require_sense
from fewmask.learning.config import FitConfig
from fewmask.learning.learner import Learner, Task
from fewmask.learning.optim import make_optimiser
from fewmask.learning.recipe import learner_class
from fewmask.methods.selene import selene
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build, segmentation_module
from fewmask.nets.base.weights import IMAGENET

ROOT = Path(__file__).resolve().parents[2]
ROWS = read_rows()
SAMPLE = {row.base: name for name, row in ROWS.items()}.values()  # a row of each base
CELLS = [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in ROWS]
BUILT = [pytest.param(name, marks=() if name == "three_stage-voc-8th-coco" else pytest.mark.slow) for name in ROWS]
NODES = nodes(ROOT / "dvc.yaml")
STAGES = {name: shlex.split(body["cmd"]) for name, body in NODES.items() if "--learner" in body["cmd"]}
Read = Callable[[str], Params]
text = cache(read_preset)

COCO = "weights/resnet101COCO-41f33a49.pth"
TRAIN = "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
TENTHS = [tenth / 10 for tenth in range(5, 17)]  # 0.5 to 1.6
SELENE_SCALES = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0]

# Which presets, which key, which value, and where the paper has it. A stage's name stands for its training.
PAPERS: list[tuple[str, str, Any, str]] = [
    # "A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation"
    ("three_stage-voc-100th-*", "split.labelled", 106, "Tables III, IV"),
    ("three_stage-voc-50th-*", "split.labelled", 212, "Tables III, IV"),
    ("three_stage-voc-20th-*", "split.labelled", 529, "Tables III, IV"),
    ("three_stage-voc-8th-*", "split.labelled", 1323, "Tables III, IV"),
    ("three_stage-*", "three_stage-3.steps", 60000, "the text"),
    ("three_stage-*", "three_stage-3.optimiser.lr", 3e-5, "the text"),
    ("three_stage-*", "three_stage-3.batch_norm", "frozen", "the code"),
    ("three_stage-cityscapes-1488", "three_stage-3.batch", 3, "the code"),
    ("three_stage-cityscapes-[!1]*", "three_stage-3.batch", 1, "the code"),
    ("three_stage-cityscapes-[!1]*", "three_stage-3.unlabelled", 4, "the code"),
    ("three_stage-voc-8th-*", "three_stage-3.batch", 2, "the code"),
    ("three_stage-voc-[!8]*", "three_stage-3.batch", 1, "the code"),
    ("three_stage-voc-[!8]*", "three_stage-3.unlabelled", 9, "the code"),
    ("three_stage-cityscapes-*", "three_stage-3.lambda_1", 1 / 2, "the text"),
    ("three_stage-voc-100th-*", "three_stage-3.lambda_1", 1 / 4, "the text"),
    ("three_stage-voc-20th-*", "three_stage-3.lambda_1", 5 / 4, "the text"),
    ("three_stage-voc-8th-*", "three_stage-3.lambda_2", 5 / 8, "the text"),
    ("three_stage-voc-*", "supervised.steps", 10000, "the code"),
    ("three_stage-cityscapes-*", "supervised.steps", 20000, "the code"),
    # "... with Pixel-Level Contrastive Learning from a Class-wise Memory Bank"
    ("contrastive-voc-50th-*", "split.labelled", 212, "Table 3"),
    ("contrastive-voc-20th-*", "split.labelled", 530, "Table 3"),
    ("contrastive-voc-8th-*", "split.labelled", 1323, "Table 3"),
    ("contrastive-*", "contrastive.steps", 80000, "Section 4.2"),
    ("contrastive-*", "contrastive.warm_up", 2000, "Section 4.2"),
    ("contrastive-*", "contrastive.lambda_pseudo", 1, "Section 4.2"),
    ("contrastive-*", "contrastive.lambda_ent", 0.01, "Section 4.2"),
    ("contrastive-*", "contrastive.lambda_contr", 0.1, "Section 4.2"),
    ("contrastive-*", "contrastive.contrast.memory", 256, "Section 4.2"),
    ("contrastive-*", "contrastive.contrast.channels", 256, "Section 4.2"),
    ("contrastive-*", "contrastive.contrast.confidence", 0.95, "Section 4.2"),
    ("contrastive-*", "contrastive.optimiser.lr", 2e-4, "Section 4.2; with DeepLabv3+ the code"),
    ("contrastive-*", "contrastive.batch_norm", "statistics", "the code"),
    ("contrastive-*", "contrastive.begin_with", "weights", "the paper"),
    ("contrastive-voc-*", "contrastive.views.crop", [321, 321], "Section 4.2"),
    ("contrastive-voc-*-[ic]*", "contrastive.batch", 14, "Section 4.2"),
    ("contrastive-*-v3plus", "contrastive.batch", 20, "Section 4.2"),
    ("contrastive-[cg]*", "contrastive.batch", 5, "Section 4.2"),
    ("contrastive-[cg]*", "contrastive.views.crop", [512, 512], "Section 4.2"),
    ("contrastive-voc-*", "contrastive.class_weights", "none", "Section 4.2"),
    ("contrastive-[cg]*", "contrastive.class_weights", "median", "Section 4.2"),
    ("contrastive-voc-50th-*", "contrastive.contrast.keep", 7, "the code"),
    ("contrastive-voc-20th-*", "contrastive.contrast.keep", None, "the text"),
    ("contrastive-*", "contrastive.weak.resize", 0.5, "Table 1"),
    ("contrastive-*", "contrastive.strong.resize", 0.8, "Table 1"),
    ("contrastive-*", "contrastive.weak.jitter", 0.2, "Table 1"),
    ("contrastive-*", "contrastive.strong.jitter", 0.8, "Table 1"),
    ("contrastive-*", "contrastive.strong.blur", 0.2, "Table 1"),
    ("contrastive-*", "contrastive.strong.mix", 0.8, "Table 1"),
    ("contrastive-*", "contrastive.strong.scales", [0.75, 1.75], "Table 1"),
    ("contrastive-voc-*", "contrastive.strong.background", False, "the code"),
    ("contrastive-[cg]*", "contrastive.strong.background", True, "Cityscapes has none"),
    ("contrastive-gta5-*", "contrastive.source", 0.5, "Section 4.3.2"),
    ("contrastive-gta5-*", "dataset.source.size", [526, 957], "half of 1052x1914"),
    ("contrastive-[cv]*", "dataset.source.kind", "none", "Tables 2, 3"),
    # "Semi-Supervised Semantic Segmentation with High- and Low-level Consistency"
    ("s4gan-voc-50th-*", "split.labelled", 211, "Table 1; the code rounds down"),
    ("s4gan-voc-20th-*", "split.labelled", 529, "Table 1"),
    ("s4gan-voc-8th-*", "split.labelled", 1322, "Table 1"),
    ("s4gan-context-8th", "split.labelled", 624, "Table 3"),
    ("s4gan-context-4th", "split.labelled", 1249, "Table 3"),
    ("s4gan-cityscapes-8th", "split.labelled", 371, "Table 4"),
    ("s4gan-cityscapes-4th", "split.labelled", 743, "Table 4"),
    ("s4gan-voc-1464-*", "split.labelled", TRAIN, "Table 7"),
    ("s4gan-voc-1464-tags", "dataset.tags", "masks", "Table 7"),
    ("s4gan-*-full*", "split.labelled", 1.0, "Tables 1 to 4"),
    ("s4gan-*-full*", "s4gan.unlabelled_pool", "all", "the code"),
    ("s4gan-*th*", "mlmt.unlabelled_pool", "unlabelled", "the text"),
    ("s4gan-voc-*", "s4gan.steps", 35000, "Section 4.1.3"),
    ("s4gan-cityscapes-*", "s4gan.steps", 35000, "Section 4.1.3"),
    ("s4gan-context-*", "s4gan.steps", 50000, "Section 4.1.3"),
    ("s4gan-voc-*", "s4gan.batch", 8, "Section 4.1.3"),
    ("s4gan-cityscapes-*", "s4gan.batch", 5, "Section 4.1.3"),
    ("s4gan-cityscapes-*", "s4gan.gamma", 0.7, "Section 4.1.3"),
    ("s4gan-voc-*", "s4gan.gamma", 0.6, "Section 4.1.3"),
    ("s4gan-*", "s4gan.lambda_fm", 0.1, "Section 4.1.3"),
    ("s4gan-*", "s4gan.lambda_st", 1, "Section 4.1.3"),
    ("s4gan-*", "s4gan.optimiser.lr", 2.5e-4, "Section 4.1.3"),
    ("s4gan-*", "s4gan.optimiser.rates", {"head.": 10}, "the code"),
    ("s4gan-*", "s4gan.adversarial", "feature_matching", "the paper"),
    ("s4gan-*", "s4gan.begin_with", "weights", "the paper"),
    ("s4gan-voc-*", "s4gan.discriminator.optimiser.lr", 1e-4, "Section 4.1.3"),
    ("s4gan-cityscapes-*", "s4gan.discriminator.optimiser.lr", 1e-5, "Section 4.1.3"),
    ("s4gan-*", "s4gan.discriminator.dropout", 0.5, "Section 4.1.3"),
    ("s4gan-voc-*", "s4gan.views.scales", TENTHS, "the code"),
    ("s4gan-cityscapes-*", "s4gan.views.crop", [256, 512], "Section 4.1.3"),
    ("s4gan-*", "mlmt.encoder.encoder", "resnet101", "the paper"),
    ("s4gan-*", "mlmt.optimiser.lr", 0.03, "the code"),
    ("s4gan-*", "mlmt.batch", 16, "the code"),
    ("s4gan-voc-8th-*", "mlmt.steps", 100 * 83, "the code: 100 epochs of 1322 images"),
    ("s4gan-voc-full-*", "mlmt.steps", 100 * 662, "the code: 100 epochs of 10582 images"),
    ("s4gan-*", "fusion.tau", 0.2, "by cross-validation"),
    ("s4gan-*", "supervised.steps", 20000, "the authors' advice"),
    # "Self Semi Supervised Neural Architecture Search for Semantic Segmentation"; epochs and counts are those of CPS
    ("selene-voc-16th-*", "split.labelled", 662, "Tables 1, 3, 4"),
    ("selene-voc-half-*", "split.labelled", 5291, "Tables 1, 3, 4"),
    ("selene-cityscapes-16th-*", "split.labelled", 186, "Table 2"),
    ("selene-cityscapes-half-*", "split.labelled", 1488, "Table 2"),
    ("selene-voc-16th-*", "selene.steps", 32 * ((10582 - 662) // 16), "CPS"),
    ("selene-voc-8th-*", "selene.steps", 34 * ((10582 - 1323) // 16), "CPS"),
    ("selene-voc-4th-*", "selene.steps", 40 * ((10582 - 2646) // 16), "CPS"),
    ("selene-voc-half-*", "selene.steps", 60 * ((10582 - 5291) // 16), "CPS"),
    ("selene-cityscapes-16th-*", "selene.steps", 128 * ((2975 - 186) // 8), "CPS"),
    ("selene-cityscapes-8th-*", "selene.steps", 137 * ((2975 - 372) // 8), "CPS"),
    ("selene-cityscapes-4th-*", "selene.steps", 160 * ((2975 - 744) // 8), "CPS"),
    ("selene-cityscapes-half-*", "selene.steps", 240 * ((2975 - 1488) // 8), "CPS"),
    ("selene-*-mt*", "selene.semi", "mean_teacher", "Tables 2, 3, 4"),
    ("selene-*-ct*", "selene.semi", "co_teaching", "Tables 2, 3"),
    ("selene-*-supervised", "selene.semi", "none", "Tables 1, 4"),
    ("selene-*jigsaw", "selene.jigsaw", True, "Tables 1, 4"),
    ("selene-*-[mc]t", "selene.jigsaw", False, "Tables 2, 3"),
    ("selene-voc-*-ct*", "selene.lambda_2", 1.0, "Section 5.3: 0.5 to 1.5"),
    ("selene-cityscapes-*-ct*", "selene.lambda_2", 5.0, "Section 5.3"),
    ("selene-*", "selene.lambda_1", 0.1, "Section 5.3"),
    ("selene-*", "selene.optimiser.lr", 0.02, "Section 5.2"),
    ("selene-*", "selene.views.scales", SELENE_SCALES, "Section 5.2"),
    ("selene-voc-*", "selene.views.crop", [512, 512], "Section 5.2"),
    ("selene-cityscapes-*", "selene.views.crop", [800, 800], "Section 5.2"),
    ("selene-voc-*", "selene.ohem", None, "CPS"),
    ("selene-cityscapes-*", "selene.ohem.kept", 50_000, "CPS"),
    ("selene-voc-*", "evaluate.resolution", [512, 512], "Figure 6"),
    ("selene-cityscapes-*", "evaluate.resolution", [1024, 2048], "Figure 6"),
    # networks and data sets
    ("*-imagenet", "network.weights", "torchvision", "all papers"),
    ("*-coco", "network.weights", COCO, "all papers"),
    ("*-coco", "network.input", "caffe", "the weights"),
    ("selene-*-v3plus", "network.encoder", "resnet50", "Tables 2, 3"),
    ("selene-*-[!v]*", "selene.weight_c", None, "all classes weigh alike"),
    ("selene-voc-*-mt", "network.name", "routing", "Tables 3, 4"),
    ("*-voc-*", "dataset.kind", "voc", "all papers"),
    ("*-voc-*", "dataset.augmented", True, "all papers"),
    ("s4gan-context-*", "dataset.kind", "pascal_context", "Table 3"),
    ("*-cityscapes-*", "dataset.kind", "cityscapes", "all papers"),
]


@pytest.fixture(autouse=True, scope="module")
def uncounted() -> Iterator[None]:
    """No cell has a budget, and to count what a routing network costs takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selene, "_costs", lambda net, config: None)
        yield


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A preset as a stage reads it."""
    folder = tmp_path_factory.mktemp("params")

    @cache
    def params(name: str) -> Params:
        (folder / f"{name}.yaml").write_text(text(name))
        return Params(folder / f"{name}.yaml")

    return params


def option(stage: str, name: str) -> list[str]:
    """The values of an option of a stage's command."""
    words = STAGES[stage]
    rest = words[words.index(name) + 1 :] if name in words else []
    return rest[: next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))]


@cache
def trained_by(stage: str, params: Params) -> tuple[type[Learner], FitConfig, Section]:
    """A stage's learner, its config and its network's."""
    kind = learner_class(option(stage, "--learner")[0])
    key = (option(stage, "--network") or ["network"])[0]
    network = params.section(key, segmentation_module(params.raw(f"{key}.name")).Config)
    return kind, params.merged(option(stage, "--section"), kind.schema), network


def found(key: str, params: Params) -> Any:
    """A value with the defaults of its schema, under a dotted key that begins with a section or a stage."""
    section, *steps = key.split(".")
    if section in STAGES:
        model = trained_by(section, params)[1]
    elif section == "network":
        model = trained_by("supervised", params)[2]
    elif section == "dataset":
        model = read_target(params, "dataset")
    else:
        model = params.section(section, SCHEMAS[section])
    return reduce(lambda node, step: node[step], steps, model.model_dump(mode="json"))


@pytest.mark.parametrize(("paper", "count"), [("three_stage", 12), ("contrastive", 22), ("s4gan", 20), ("selene", 44)])
def test_every_cell_of_a_paper_s_tables_has_a_row(paper: str, count: int) -> None:
    assert len([name for name in ROWS if name.startswith(f"{paper}-")]) == count


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_has_the_numbers_of_its_paper(name: str, read: Read) -> None:
    rows = [row for row in PAPERS if fnmatchcase(name, row[0])]
    assert [(key, found(key, read(name)), where) for _, key, _, where in rows] == [row[1:] for row in rows]


@pytest.mark.parametrize("row", PAPERS, ids=lambda row: f"{row[0]} {row[1]}")
def test_every_number_is_some_cell_s(row: tuple[str, str, Any, str]) -> None:
    assert any(fnmatchcase(name, row[0]) for name in ROWS)


@pytest.mark.parametrize("name", [*names_of_files(PRESETS), *CELLS])
def test_a_preset_has_every_key_that_the_graph_declares_and_fits_its_schemas(name: str, read: Read) -> None:
    params = read(name)
    for key, schema in SCHEMAS.items():
        params.section(key, schema)
    declared = {key: params.raw(key) for body in NODES.values() for key in body.get("params", []) if "$" not in key}
    assert {key for key, value in declared.items() if value is None} <= {"dataset.source.size", "mlmt.size"}


@pytest.mark.parametrize("name", BUILT)
def test_a_cell_builds_every_network_that_it_trains(name: str, read: Read) -> None:
    """On no device: no memory. Optimisers refuse a rate that is no parameter's."""
    for stage in STAGES:
        kind, config, network = trained_by(stage, read(name))
        if "--base" not in STAGES[stage]:
            require_sense(network, config.batch_norm)
        players = built(kind, config, network)
        assert all(parameters(player) > 0 for player in players.values())
        for player, module in players.items():
            make_optimiser(module, config.optimiser_of(player))


def built(kind: type[Learner], config: FitConfig, network: Section) -> dict[str, torch.nn.Module]:
    """The players of a learner, with fresh weights, on the meta device."""
    fresh = network.model_copy(update={"weights": None} if hasattr(network, "weights") else {})
    if (encoder := getattr(config, "encoder", None)) is not None:
        config = config.model_copy(update={"encoder": encoder.model_copy(update={"weights": None})})
    names, scale = [str(number) for number in range(21)], Normalise(*IMAGENET)
    with torch.device("meta"):
        base = build(fresh, len(names))
        return kind(
            config, Task(names, fresh.model_dump(mode="json"), lambda: build(fresh, len(names)), scale, base)
        ).players()


@pytest.mark.parametrize("name", CELLS)
def test_the_supervised_network_of_a_cell_is_trained_as_its_method_is(name: str, read: Read) -> None:
    """Three-stage is left out: its first stage differs in steps, batch and the names of its rates."""
    stage = name.split("-")[0]
    if stage != "three_stage":
        own, supervised = (trained_by(which, read(name))[1] for which in (stage, "supervised"))
        assert (own.batch_norm, own.begin_with) == (supervised.batch_norm, supervised.begin_with)
        assert (own.optimiser, own.views.crop) == (supervised.optimiser, supervised.views.crop)


@pytest.mark.parametrize("name", [*names_of_files(PRESETS), *CELLS])
def test_a_preset_reads_as_if_written_by_hand(name: str) -> None:
    """Its name comes first, rates are decimals, sections stand apart, and no line is long."""
    lines = text(name).splitlines()
    assert lines[0].startswith(f"# Preset `{name}`")
    assert [
        line
        for line in lines
        if "e-0" in line or len(line) > 120 or line != line.rstrip() or ": {" in line.replace("{}", "")
    ] == []
    starts = [number for number, line in enumerate(lines) if line[:1].isalpha() and number > 8]
    assert all(lines[number - 1] == "" or lines[number - 1].startswith("#") for number in starts)
    assert [key for key, line in pairwise(lines) if key.partition("  #")[0].endswith(":") and line[:1] != " "] == []
