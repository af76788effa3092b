"""Presets out of tables: every cell of a paper's results is a whole params file."""

import shlex
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from fewmask.checking.graph import nodes
from fewmask.checking.presets import PRESETS, find_cells, find_presets
from fewmask.core.errors import ConfigError
from fewmask.core.params import Params, Section
from fewmask.costs.macs import parameters
from fewmask.datasets.base.opening import read_source, read_target
from fewmask.learning.batchnorm import require_sense
from fewmask.learning.config import FitConfig
from fewmask.learning.learner import Learner, Task
from fewmask.learning.optim import OptimiserConfig, make_optimiser
from fewmask.learning.recipe import learner_class
from fewmask.methods.contrastive import contrastive
from fewmask.methods.mlmt import mlmt
from fewmask.methods.s4gan import s4gan
from fewmask.methods.selene import selene
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build, segmentation_module
from fewmask.nets.base.weights import IMAGENET
from fewmask.nets.routing import routing
from fewmask.scoring.evaluation import EvaluateConfig
from fewmask.splitting import SplitConfig

ROOT = Path(__file__).resolve().parents[2]
CELLS = find_cells()
TABLE = """
columns: [base, split.labelled, network.input]
rows:
  few: [base, 5, null]
  many: [base, 50, caffe]
"""
BASE = "seed: 0\nsplit: {labelled: null}\nnetwork:\n  input: null\n  rate: 0.00003  # the paper's\n"
COCO = "weights/resnet101COCO-41f33a49.pth"


def cells(paper: str = "") -> list[str]:
    """The names of all rows of all tables, or of one paper's."""
    return [name for name in CELLS if name.startswith(paper)]


THREE_STAGE, CONTRASTIVE, S4GAN, SELENE = (
    cells(f"{paper}-") for paper in ("three_stage", "contrastive", "s4gan", "selene")
)


@cache
def text(name: str) -> str:
    return CELLS[name].read_bytes().decode()


@cache
def tree(name: str) -> dict[str, Any]:
    """A cell's params as plain values."""
    loaded: dict[str, Any] = YAML(typ="safe").load(text(name))
    return loaded


@pytest.fixture(autouse=True, scope="module")
def uncounted() -> Iterator[None]:
    """No cell has a budget, and to count what a routing network costs takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selene, "_costs", lambda net, config: None)
        yield


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Params]:
    """A cell as a stage reads it."""
    folder = tmp_path_factory.mktemp("params")

    @cache
    def read(name: str) -> Params:
        path = folder / f"{name}.yaml"
        path.write_text(text(name))
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
    assert [f"three_stage-cityscapes-{count}" for count in (100, 372, 744, 1488)] + voc == THREE_STAGE


# Tables 2, 3 and 4 of the contrastive paper: the images that are labelled.
LABELLED = {
    **{f"contrastive-cityscapes-{n}-{start}": n for start in ("imagenet", "coco") for n in (100, 372, 744)},
    **{
        f"contrastive-voc-{share}-{kind}": n
        for kind in ("imagenet", "coco", "v3plus")
        for share, n in (("50th", 212), ("20th", 530), ("8th", 1323))
    },
    **{f"contrastive-gta5-{n}": n for n in (100, 200, 500, 1000)},
    **{f"contrastive-cityscapes-{n}-imagenet": n for n in (200, 500, 1000)},
}


def test_the_contrastive_paper_has_twenty_two_cells() -> None:
    assert len(LABELLED) == 22
    assert list(LABELLED) == CONTRASTIVE


# Tables 1 to 4 and 7 of the s4GAN paper: the images that are labelled, by number, share (all) or list, and how many.
TRAIN = "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
SHARES: dict[str, tuple[int | float | str, int]] = {"50th": (211, 211), "20th": (529, 529), "8th": (1322, 1322)}
SHARES |= {"full": (1.0, 10582)}
S4GAN_LABELLED = {
    **{f"s4gan-voc-{n}-{kind}": SHARES[n] for kind in ("imagenet", "coco", "v3plus") for n in SHARES},
    **{"s4gan-context-8th": (624, 624), "s4gan-context-4th": (1249, 1249), "s4gan-context-full": (1.0, 4996)},
    **{"s4gan-cityscapes-8th": (371, 371), "s4gan-cityscapes-4th": (743, 743), "s4gan-cityscapes-full": (1.0, 2975)},
    **{"s4gan-voc-1464-imagenet": (TRAIN, 1464), "s4gan-voc-1464-tags": (TRAIN, 10582)},  # tagged ones are labelled
}


def test_the_s4gan_paper_has_twenty_cells() -> None:
    assert len(S4GAN_LABELLED) == 20
    assert list(S4GAN_LABELLED) == S4GAN


# Tables 1 to 4 of the SELENE paper: the images that are labelled, and epochs, of the code that it builds on.
SELENE_SHARES = {
    "voc": {"16th": (662, 32), "8th": (1323, 34), "4th": (2646, 40), "half": (5291, 60)},
    "cityscapes": {"16th": (186, 128), "8th": (372, 137), "4th": (744, 160), "half": (1488, 240)},
}
SELENE_TABLES = [
    ("voc", ("supervised", "jigsaw")),  # 1
    ("cityscapes", ("mt", "ct", "mt-v3plus", "ct-v3plus")),  # 2
    ("voc", ("mt", "ct", "mt-v3plus", "ct-v3plus")),  # 3
    ("voc", ("supervised", "jigsaw", "mt", "mt-jigsaw")),  # 4
]
SELENE_LABELLED = {
    f"selene-{data}-{share}-{row}": labelled
    for data, rows in SELENE_TABLES
    for row in rows
    for share, (labelled, _) in SELENE_SHARES[data].items()
}


def test_the_selene_paper_has_forty_four_cells() -> None:
    assert len(SELENE) == 44
    assert sorted(SELENE_LABELLED) == sorted(SELENE)


def test_there_are_no_other_cells() -> None:
    assert cells() == CONTRASTIVE + S4GAN + SELENE + THREE_STAGE


@pytest.mark.parametrize("name", cells())
def test_every_cell_has_every_key_that_the_graph_declares(name: str, params: Callable[[str], Params]) -> None:
    read = params(name)
    for body in nodes(ROOT / "dvc.yaml").values():
        for key in body.get("params", []):
            read.raw(key)


STAGES = {
    name: shlex.split(body["cmd"]) for name, body in nodes(ROOT / "dvc.yaml").items() if "--learner" in body["cmd"]
}


def learner_of(stage: str, read: Params) -> tuple[type[Learner], FitConfig]:
    """What a stage trains, and how."""
    words = STAGES[stage]
    kind = learner_class(words[words.index("--learner") + 1])
    first = words.index("--section") + 1
    config = read.merged([word for word in words[first : first + 2] if not word.startswith("--")], kind.schema)
    return kind, config


def network_of(stage: str, read: Params) -> Any:
    """What a stage is given for a network."""
    words = STAGES[stage]
    key = words[words.index("--network") + 1] if "--network" in words else "network"
    return read.section(key, segmentation_module(read.raw(f"{key}.name")).Config)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if "auxiliary" in stage])
@pytest.mark.parametrize("name", cells())
def test_every_cell_says_how_the_auxiliary_network_s_paper_trains(
    name: str, stage: str, params: Callable[[str], Params]
) -> None:
    assert learner_of(stage, params(name))[1].views.crop == learner_of("supervised", params(name))[1].views.crop


Built = dict[str, tuple[int, list[float]]]
BUILT: dict[str, Built] = {}  # what was built already: cells differ in little that a network is made of


def built(kind: type[Learner], config: FitConfig, network: Section, classes: int) -> Built:
    """Each player's parameters, and its optimiser's rates as multiples. On no device: no memory."""
    plain = {"weights": None, "input": "auto"}
    fresh = network.model_copy(update={key: value for key, value in plain.items() if hasattr(network, key)})
    if (encoder := getattr(config, "encoder", None)) is not None:
        config = config.model_copy(update={"encoder": encoder.model_copy(update={"weights": None})})
    names = ("branch", "contrast", "discriminator", "encoder", "semi", "jigsaw")
    own = [getattr(config, name, "") for name in names]
    key = f"{kind} {own} {config.optimiser} {fresh} {classes}"
    if key not in BUILT:
        labels, scale = [str(number) for number in range(classes)], Normalise(*IMAGENET)
        task = Task(labels, fresh.model_dump(mode="json"), lambda: build(fresh, classes), scale)
        with torch.device("meta"):
            players = kind(config, task).players()
        BUILT[key] = {}
        for player, module in players.items():
            groups = make_optimiser(module, config.optimiser_of(player)).param_groups
            BUILT[key][player] = parameters(module), sorted(group["factor"] for group in groups)
    return BUILT[key]


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def conv_bn(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + 2 * outputs


def head_of(network: str, inputs: int, classes: int) -> int:
    """Parameters of a segmentation head on ``inputs`` channels; those of routing are on 64, 128, 256 and 512."""
    if network == "routing":
        up = conv_bn(512, 256, 1) + conv_bn(256, 128, 1) + conv_bn(128, 64, 1) + conv_bn(64, 64, 1)
        return up + linear(64 * 9, classes)
    if network == "deeplabv2":
        return 4 * linear(inputs * 9, classes)
    pyramid = conv_bn(inputs, 256, 1) + 3 * conv_bn(inputs, 256, 3) + linear(inputs, 256) + conv_bn(5 * 256, 256, 1)
    decoder = conv_bn(256, 48, 1) + conv_bn(304, 256, 3) + conv_bn(256, 256, 3)  # 256 + 48 = 304
    return pyramid + decoder + linear(256, classes)


def contrast_of(channels: int, classes: int) -> int:
    """Parameters of the heads g (on ``channels``) and q, and of two attentions: Linear, batch norm, Linear each; batch
    norm cancels the first bias of an attention, which has none."""
    project = linear(channels, 256) + 2 * 256 + linear(256, 256)
    predict = linear(256, 256) + 2 * 256 + linear(256, 256)
    attention = 256 * 256 + 2 * 256 + linear(256, 1)
    return project + predict + 2 * classes * attention


def discriminator_of(classes: int) -> int:
    """Parameters of four 4x4 convolutions and a linear layer, on a map and its image."""
    channels = [classes + 3, 64, 128, 256, 512]
    return sum(linear(16 * inputs, outputs) for inputs, outputs in pairwise(channels)) + linear(512, 1)


def solver_of(network: str) -> int:
    """Parameters of the head that names one of 100 puzzles: the way down through the maps of routing, or their last."""
    if network == "routing":
        return conv_bn(64, 128, 1) + conv_bn(128, 256, 1) + conv_bn(256, 512, 1) + linear(512, 100)
    return linear(2048, 100)


def row_of(network: Any) -> int:
    """Parameters of a network without its head: 17,784,968 has the whole of routing at 19 classes."""
    rows = {"resnet50": 23_508_032, "resnet101": 42_500_160, "": 17_784_968 - head_of("routing", 512, 19)}
    return rows[getattr(network, "encoder", "")]


def classes_of(name: str) -> int:
    return next(count for word, count in (("voc", 21), ("context", 60), ("", 19)) if word in name)


def rates_of(stage: str, name: str) -> list[float]:
    """Multiples of the rate, one for each group of parameters; what has no weight decay is a group of its own."""
    paper = {"supervised": name.split("-")[0]}.get(stage, stage.split("-")[0])
    if paper == "selene" and name in SELENE:
        return [1.0, 1.0] if name.endswith("v3plus") else [1.0, 1.0, 2.5, 2.5]
    rates = {"three_stage": [0.1, 1.0], "contrastive": [1.0], "s4gan": [1.0, 10.0], "mlmt": [1.0], "selene": [1.0, 1.0]}
    return rates[paper]


@pytest.mark.parametrize("name", cells())
@pytest.mark.parametrize("stage", [stage for stage in STAGES if "auxiliary" not in stage])
def test_every_cell_builds_what_the_stage_trains(name: str, stage: str, params: Callable[[str], Params]) -> None:
    """Stage 2 has a block of 4.39 M parameters and a head more, or a head as stage 3; MLMT has a network of its own."""
    kind, config = learner_of(stage, params(name))
    network = network_of(stage, params(name))
    require_sense(network, config.batch_norm)
    classes, rates = classes_of(name), rates_of(stage, name)
    head = head_of(network.name, 2048, classes)
    net = row_of(network) + head
    channels = {"deeplabv2": 2048, "deeplabv3plus": 256, "routing": 64}[network.name]
    own = {
        "three_stage-2": head if name in SELENE else 4_390_912 + head_of(network.name, 1024, classes),
        "three_stage-3": head,
        "contrastive": contrast_of(channels, classes),
        "selene": solver_of(network.name) if getattr(config, "jigsaw", False) else 0,
    }
    expected = [(net + own.get(stage, 0), rates)]
    if stage == "s4gan":
        expected.append((discriminator_of(classes), [1.0]))
    if stage == "mlmt":
        expected = [(row_of(config.encoder) + linear(2048, classes), rates)]
    if getattr(config, "semi", "") == "co_teaching":
        expected *= 2
    assert list(built(kind, config, network, classes).values()) == expected


@pytest.mark.parametrize("name", cells())
def test_a_cell_s_network_is_its_paper_s(name: str, params: Callable[[str], Params]) -> None:
    """SELENE's is trained by labels alone, too; beside another paper's stands that which SELENE is about."""
    network, other = (network_of(stage, params(name)) for stage in ("supervised", "selene"))
    v3plus = name.endswith("v3plus")
    if name in SELENE:
        assert network == other
        assert (network.name, network.weights) == (("deeplabv3plus", "torchvision") if v3plus else ("routing", None))
    else:
        assert network.name == ("deeplabv3plus" if v3plus else "deeplabv2")
        assert network.encoder == ("resnet50" if v3plus and name in CONTRASTIVE else "resnet101")
    if other.name == "routing":
        assert other == routing.Config()


@pytest.mark.parametrize("name", cells())
def test_every_cell_names_a_data_set_and_a_count(name: str, params: Callable[[str], Params]) -> None:
    read = params(name)
    dataset = read_target(read)
    counts: dict[str, int | float | str] = LABELLED | {
        **{f"three_stage-cityscapes-{count}": count for count in (100, 372, 744, 1488)},
        **{
            f"three_stage-voc-{share}-{start}": count
            for start in ("imagenet", "coco")
            for share, count in {"100th": 106, "50th": 212, "20th": 529, "8th": 1323}.items()
        },
        **{cell: labelled for cell, (labelled, _) in S4GAN_LABELLED.items()},
        **SELENE_LABELLED,
    }
    assert read.section("split", SplitConfig).labelled == counts[name]
    city = ("cityscapes", (1024, 2048) if name in SELENE else (512, 1024))
    sets = {21: ("voc", (505, 505)), 60: ("pascal_context", (505, 505)), 19: city}
    assert (dataset.kind, dataset.size) == sets[classes_of(name)]
    assert dataset.tags == ("masks" if name.endswith("tags") else None)
    if dataset.kind == "voc":
        assert (dataset.augmented, dataset.fit) == (True, "pad")


@pytest.mark.parametrize("name", cells())
def test_only_table_4_has_a_source_domain(name: str, params: Callable[[str], Params]) -> None:
    """GTA5's images are 1052 x 1914, and half of that here."""
    read = params(name)
    source = read_source(read)
    config = learner_of("contrastive", read)[1]
    if "gta5" in name:
        assert (source.kind, source.root, source.size, config.source) == ("gta5", "gta5", (526, 957), 0.5)
        assert config.views.crop is not None  # the domains' images differ in size
    else:
        assert (source.kind, config.source) == ("none", 0)
        assert (ROOT / source.root).is_dir()


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
def test_cells_train_as_the_three_stage_paper_does(name: str, batch: int, unlabelled: int, weight: float) -> None:
    cell = tree("three_stage-" + name)
    recipe = cell["three_stage"]["recipe"]
    assert (recipe["batch"], recipe["unlabelled"]) == (batch, unlabelled)
    assert (recipe["lambda_1"], recipe["lambda_2"]) == (weight, weight)
    assert (recipe["steps"], recipe["optimiser"]["lr"]) == (60000, 3e-5)
    coco = name.endswith("coco")
    assert cell["network"]["weights"] == (COCO if coco else "torchvision")
    assert cell["network"].get("input") == ("caffe" if coco else None)


@pytest.mark.parametrize("name", THREE_STAGE)
def test_averaging_slows_down_after_20_40_and_50_thousand_steps(name: str) -> None:
    recipe = tree(name)["three_stage"]["recipe"]
    begins = [next(step for step in range(60001) if step / 60000 >= begin) for begin, _ in recipe["decay"]]
    assert begins == [0, 20000, 40000, 50000]


def contrastive_of(name: str, params: Callable[[str], Params]) -> contrastive.Config:
    config = learner_of("contrastive", params(name))[1]
    assert isinstance(config, contrastive.Config)
    return config


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_cells_train_as_the_contrastive_paper_does(name: str, params: Callable[[str], Params]) -> None:
    """Section 4.2; batches, crops and class weights are the data set's and the network's."""
    config = contrastive_of(name, params)
    batch, crop = (20, 321) if "v3plus" in name else (14, 321) if "voc" in name else (5, 512)
    assert (config.batch, config.unlabelled, config.augmentations) == (batch, batch // 2, 2)
    assert config.views.model_dump() == {"crop": (crop, crop), "scales": [1.0], "flip": 0, "shift": 0}
    assert config.class_weights == ("none" if "voc" in name else "median")
    assert config.contrast.keep == (7 if "voc-50th" in name else None)
    assert (config.contrast.memory, config.contrast.channels, config.contrast.confidence) == (256, 256, 0.95)
    assert (config.lambda_pseudo, config.lambda_ent, config.lambda_contr) == (1, 0.01, 0.1)
    assert (config.steps, config.warm_up, config.sharpening) == (80000, 2000, 6)
    assert config.batch_norm == "statistics"
    sgd = {"name": "sgd", "lr": 2e-4, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9}
    assert config.optimiser == OptimiserConfig.model_validate(sgd)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_text_and_code_of_the_contrastive_paper_differ(name: str, params: Callable[[str], Params]) -> None:
    """What is followed: the code in the first four, the text in the others."""
    config = contrastive_of(name, params)
    assert (config.pseudo_ramp, config.entropy, config.decay) == ("exponential", "normalised", "cosine")
    assert config.contrast.max_pixels_per_class is None
    assert (config.contrast.memory_attention, config.contrast.rank) == ("paper", "highest")
    assert params(name).raw("network").get("head_rates") == (None if "v3plus" in name else [6, 12, 18, 24])


# Table 1: weak, strong.
TABLE_1 = {
    "flip": (0.5, 0.5),
    "resize": (0.5, 0.8),
    "jitter": (0.2, 0.8),
    "brightness": (0.15, 0.3),
    "contrast": (0.15, 0.3),
    "saturation": (0.075, 0.15),
    "hue": (0.05, 0.1),
    "blur": (0, 0.2),
    "mix": (0.2, 0.8),
    "scales": ((0.75, 1.75), (0.75, 1.75)),
}


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_views_are_those_of_table_1(name: str, params: Callable[[str], Params]) -> None:
    """ClassMix moves no background, which VOC alone has."""
    config = contrastive_of(name, params)
    for column, augment in enumerate((config.weak, config.strong)):
        assert {key: getattr(augment, key) for key in TABLE_1} == {key: row[column] for key, row in TABLE_1.items()}
        assert augment.background == ("voc" not in name)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_contrastive_cells_begin_with_the_weights_in_their_layout(name: str) -> None:
    network = tree(name)["network"]
    found = [network.get(key) for key in ("encoder", "weights", "layout", "input", "output_stride")]
    if name.endswith("coco"):
        assert found == ["resnet101", COCO, "caffe", "caffe", 8]
    elif name.endswith("v3plus"):
        assert found == ["resnet50", "torchvision", "torchvision", None, 16]
    else:
        assert found == ["resnet101", "torchvision", "torchvision", None, 8]


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_the_baseline_of_a_contrastive_cell_has_its_recipe(name: str, params: Callable[[str], Params]) -> None:
    """Half of the images are resized: by 0.75 to 1.75, as Table 1 has it for weak views."""
    config, other = learner_of("supervised", params(name))[1], contrastive_of(name, params)
    for key in ("steps", "batch", "optimiser", "batch_norm"):
        assert getattr(config, key) == getattr(other, key)
    assert (config.views.crop, config.views.flip, config.views.shift) == (other.views.crop, other.weak.flip, 0)
    resized = [scale for scale in config.views.scales if scale != 1]
    assert len(resized) == other.weak.resize * len(config.views.scales)
    low, high = other.weak.scales
    middles = [low + (high - low) * (2 * number + 1) / (2 * len(resized)) for number in range(len(resized))]
    assert resized == middles


@pytest.mark.parametrize("name", S4GAN)
def test_cells_train_as_the_s4gan_paper_does(name: str, params: Callable[[str], Params]) -> None:
    """Section 4.1.3: Cityscapes has smaller batches and a slower discriminator, PASCAL-Context more steps."""
    config = learner_of("s4gan", params(name))[1]
    assert isinstance(config, s4gan.Config)
    city = "cityscapes" in name
    assert config.steps == (50000 if "context" in name else 35000)
    assert (config.batch, config.unlabelled, config.gamma) == ((5, 5, 0.7) if city else (8, 8, 0.6))
    assert (config.lambda_fm, config.lambda_st, config.adversarial, config.weight_c) == (
        0.1,
        1,
        "feature_matching",
        None,
    )
    assert (config.batch_norm, config.begin_with, config.norm) == ("statistics", "weights", "l1")
    poly = {"momentum": 0.9, "schedule": "poly", "power": 0.9}
    sgd = {**poly, "name": "sgd", "lr": 2.5e-4, "weight_decay": 5e-4, "rates": {"head.": 10}}
    adam = {**poly, "name": "adam", "lr": 1e-5 if city else 1e-4, "beta_2": 0.99}
    assert config.optimiser == OptimiserConfig.model_validate(sgd)
    assert config.discriminator.optimiser == OptimiserConfig.model_validate(adam)
    assert (config.discriminator.width, config.discriminator.dropout) == (1, 0.5)
    crop, scales = ((256, 512), [1.0]) if city else ((321, 321), [tenths / 10 for tenths in range(5, 17)])
    assert config.views.model_dump() == {"crop": crop, "scales": scales, "flip": 0.5, "shift": 0}


@pytest.mark.parametrize("name", S4GAN)
def test_cells_classify_as_the_code_of_the_s4gan_paper_does(name: str, params: Callable[[str], Params]) -> None:
    """100 epochs; what is left of a batch at the end of one makes a step, too."""
    config = learner_of("mlmt", params(name))[1]
    assert isinstance(config, mlmt.Config)
    assert config.steps == 100 * ceil(S4GAN_LABELLED[name][1] / 16)
    assert (config.batch, config.unlabelled, config.size, config.decay) == (16, 80, (320, 320), 0.999)
    assert (config.lambda_cons, config.consistency, config.ramp, config.publish) == (1, "cosine", (0.1, 0.6), "teacher")
    assert config.views == mlmt.Config.model_fields["views"].default
    assert config.encoder is not None
    assert (config.encoder.encoder, config.encoder.weights, config.batch_norm) == (
        "resnet101",
        "torchvision",
        "trained",
    )
    sgd = {"name": "sgd", "lr": 0.03, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-5}
    assert config.optimiser == OptimiserConfig.model_validate({**sgd, "schedule": "cosine", "final": 1e-4})
    assert params(name).raw("fusion") == {"tau": 0.2}


@pytest.mark.parametrize("name", S4GAN)
def test_all_images_are_unlabelled_ones_where_all_are_labelled(name: str, params: Callable[[str], Params]) -> None:
    pool = "all" if "-full" in name else "unlabelled"
    assert [learner_of(stage, params(name))[1].unlabelled_pool for stage in ("s4gan", "mlmt")] == [pool, pool]
    assert {learner_of(stage, params(name))[1].unlabelled_pool for stage in ("contrastive", "selene")} == {"all"}


@pytest.mark.parametrize("name", S4GAN)
def test_s4gan_cells_begin_with_the_weights_in_caffe_s_layout(name: str, params: Callable[[str], Params]) -> None:
    """As its code has it, but for DeepLabv3+, which it lacks."""
    network = params(name).section("network", segmentation_module(params(name).raw("network.name")).Config)
    coco, v3plus = name.endswith("coco"), name.endswith("v3plus")
    assert (network.weights, network.input) == ((COCO, "caffe") if coco else ("torchvision", "auto"))
    assert (network.layout, network.output_stride) == (("torchvision", 16) if v3plus else ("caffe", 8))


@pytest.mark.parametrize("name", S4GAN)
def test_the_baseline_of_an_s4gan_cell_has_its_recipe(name: str, params: Callable[[str], Params]) -> None:
    config, other = (learner_of(stage, params(name))[1] for stage in ("supervised", "s4gan"))
    assert (config.steps, config.batch) == (20000, 10)
    for key in ("optimiser", "views", "batch_norm", "begin_with"):
        assert getattr(config, key) == getattr(other, key)


# A row of the SELENE paper: semi, jigsaw; lambda_2 is the data set's.
SELENE_ROWS = {
    "supervised": ("none", False),
    "jigsaw": ("none", True),
    "mt": ("mean_teacher", False),
    "ct": ("co_teaching", False),
    "mt-jigsaw": ("mean_teacher", True),
}
LAMBDA_2 = {
    "none": {"voc": 0},
    "mean_teacher": {"voc": 100, "cityscapes": 100},
    "co_teaching": {"voc": 1, "cityscapes": 5},
}


@pytest.mark.parametrize("name", SELENE)
def test_cells_train_as_the_selene_paper_does(name: str, params: Callable[[str], Params]) -> None:
    """Sections 5.2 and 5.3; on VOC lambda_2 of co-teaching is in the middle of 0.5 to 1.5."""
    config = learner_of("selene", params(name))[1]
    assert isinstance(config, selene.Config)
    _, data, _, row = name.removesuffix("-v3plus").split("-", 3)
    assert (config.semi, config.jigsaw) == SELENE_ROWS[row]
    assert config.lambda_1 == 0.1
    assert [config.lambda_2_at(t) for t in (0, 1)] == [LAMBDA_2[config.semi][data]] * 2  # no ramp
    batch, crop = (16, 512) if data == "voc" else (8, 800)
    assert (config.batch, config.unlabelled) == (batch, batch)
    assert (config.batch_norm, config.begin_with) == ("trained", "weights")
    scales = [0.5, 0.75, 1, 1.25, 1.5, 2]
    assert config.views.model_dump() == {"crop": (crop, crop), "scales": scales, "flip": 0.5, "shift": 0}
    paper = {"name": "sgd", "lr": 0.02, "momentum": 0.9, "schedule": "poly", "power": 0.9}
    rest = {"weight_decay": 1e-4, "decay_norms": False, "clip": 5.0}
    rates = {} if name.endswith("v3plus") else {"*gate.": 2.5}
    assert config.optimiser == OptimiserConfig.model_validate({**paper, **rest, "rates": rates})
    assert (config.decay, config.shuffled, config.publish, config.budget) == (0.99, 1, "student", None)
    assert config.ohem == (None if data == "voc" else selene.OhemConfig(threshold=0.7, kept=50_000))
    assert config.weight_c is None


@pytest.mark.parametrize("name", SELENE)
def test_a_selene_cell_is_trained_for_as_many_epochs_as_the_code_that_it_builds_on(
    name: str, params: Callable[[str], Params]
) -> None:
    """An epoch is as many steps as the unlabelled images fill batches; that of labels alone has as many."""
    _, data, share, _ = name.split("-", 3)
    labelled, epochs = SELENE_SHARES[data][share]
    images, batch = (10582, 16) if data == "voc" else (2975, 8)
    steps = epochs * ((images - labelled) // batch)
    assert [learner_of(stage, params(name))[1].steps for stage in ("selene", "supervised")] == [steps, steps]


@pytest.mark.parametrize("name", SELENE)
def test_the_baseline_of_a_selene_cell_has_its_recipe(name: str, params: Callable[[str], Params]) -> None:
    config, other = (learner_of(stage, params(name))[1] for stage in ("supervised", "selene"))
    for key in ("steps", "batch", "optimiser", "views", "batch_norm", "begin_with", "weight_c"):
        assert getattr(config, key) == getattr(other, key)


@pytest.mark.parametrize("name", SELENE)
def test_the_cost_of_a_selene_cell_is_told_at_the_size_of_figure_6(name: str, params: Callable[[str], Params]) -> None:
    resolution = params(name).section("evaluate", EvaluateConfig).resolution
    assert resolution == ((512, 512) if "voc" in name else (1024, 2048))


@pytest.mark.parametrize("name", cells())
def test_a_cell_is_pleasant_to_read(name: str) -> None:
    """Comments stay, rates are decimals, null is a word, each section stands apart, and no key is without a value."""
    lines = text(name).splitlines()
    paper = name.split("-")[0]
    rate = {"contrastive": "0.0002", "s4gan": "0.00025", "selene": "0.02", "three_stage": "0.00003"}[paper]
    assert lines[0].startswith(f"# {name}: presets/{paper}/")
    assert f"lr: {rate}" in text(name).split(f"\n{paper}:")[1].split("\n\n")[0]
    assert "  weight_c: null" in text(name)
    assert "# the paper draws at random" in text(name)
    assert not [line for line in lines if "&" in line or "e-0" in line or len(line) > 120 or line != line.rstrip()]
    starts = [number for number, line in enumerate(lines) if line[:1].isalpha() and not line.startswith("seed")]
    assert all(lines[number - 1] == "" for number in starts)
    assert not [key for key, line in pairwise(lines) if key.endswith(":") and line[:1] != " "]


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_says_how_each_stage_trains(preset: Path) -> None:
    """And for contrastive with half as many unlabelled images as labelled ones, all of them whole: Table 1 scales."""
    configs = {stage: learner_of(stage, Params(preset))[1] for stage in STAGES}
    config = configs["contrastive"]
    assert config.batch == 2 * config.unlabelled
    assert config.views == contrastive.Config.model_fields["views"].default
    assert {config.batch_norm for config in configs.values()} == {"trained"}
    assert {configs[stage].begin_with for stage in ("s4gan", "mlmt")} == {"supervised"}
    assert configs["selene"].begin_with == "weights"
    assert configs["s4gan"].views == configs["selene"].views == configs["supervised"].views


PAPERS = {"three_stage": {"three_stage"}, "auxiliary": {"auxiliary"}, "contrastive": {"contrastive"}}
PAPERS |= {"s4gan": {"s4gan", "mlmt"}, "selene": {"selene"}}


@pytest.mark.parametrize("folder", ["three_stage", "contrastive", "s4gan", "selene"])
def test_what_is_another_paper_s_says_so(folder: str) -> None:
    for path in (PRESETS / folder).glob("*.yaml"):
        if path.stem != "table":
            other = set().union(*PAPERS.values()) - PAPERS[folder]
            marks = [line for line in path.read_text().splitlines() if "# another paper's, untried with" in line]
            assert {mark.split(":")[0] for mark in marks} == other, path
            assert all(f"evaluate@{folder} does not need it" in mark for mark in marks), path


def test_a_row_is_its_base_with_its_values_and_nothing_else(table: Callable[..., Path]) -> None:
    found = {name: cell.read_bytes().decode() for name, cell in find_cells(table()).items()}
    assert found["many"] == (
        "# many: presets/paper/base.yaml with its row of table.yaml.\n"
        "seed: 0\nsplit: {labelled: 50}\nnetwork:\n  input: caffe\n  rate: 0.00003  # the paper's\n"
    )
    assert "labelled: 5}" in found["few"]
    assert "input" not in found["few"]


def test_a_mapping_of_a_table_stands_in_one_line_of_each_row_that_has_it(table: Callable[..., Path]) -> None:
    """Neither its anchor nor the other row's edits come along, and what follows the key stays where it was."""
    rows = "  few: [base, &x {kind: a, size: [1, 2]}]\n  many: [base, *x]\n"
    folder = table("columns: [base, source]\nrows:\n" + rows, "# of what kind\nsource: null\n\nseed: 0\n")
    found = find_cells(folder)
    found["few"].tree()["source"]["kind"] = "b"
    for name, cell in found.items():
        expected = "# of what kind\nsource: {kind: a, size: [1, 2]}\n\nseed: 0\n"
        assert (
            cell.read_bytes().decode() == f"# {name}: presets/paper/base.yaml with its row of table.yaml.\n{expected}"
        )


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
        [preset.read_bytes() for preset in find_presets(table(text, base)).values()]


def test_files_are_presets_to_the_byte() -> None:
    files = {path.stem: path.read_bytes() for path in PRESETS.glob("*.yaml")}
    assert files
    presets = find_presets()
    assert {name: presets[name].read_bytes() for name in files} == files
