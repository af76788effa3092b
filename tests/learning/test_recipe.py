"""What is written about a training."""

from types import SimpleNamespace

import pytest
import torch
from pydantic import TypeAdapter

from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.learning.config import BeginningConfig
from fewmask.learning.recipe import Recipe, require_tags
from fewmask.methods.auxiliary import judge
from fewmask.methods.auxiliary.auxiliary import AuxiliaryNetwork
from fewmask.methods.mlmt.mlmt import MLMT
from fewmask.methods.supervised.supervised import Supervised
from fewmask.nets.base.published import Header, save_model
from fewmask.nets.dsnet.dsnet import Config, build
from fewmask.nets.routing.routing import encoder_of
from fewmask.stores.images import Images
from stages import fit

NAMES = ["a", "b", "c"]
NETWORK = {"name": "dsnet", "width": 0.25, "blocks": [1, 1, 1, 1], "weights": None}


@pytest.mark.parametrize("extent", [None, (12, 9)])
def test_a_model_says_whether_its_images_were_padded(image_store, image_rows, extent):
    first, *others = image_rows()
    recipe = Recipe(None, None, [0.5] * 3, [0.2] * 3, None)
    with Images(image_store(rows=[(*first, extent), *others])) as images:
        header = recipe.header({"name": "dsnet"}, images, SimpleNamespace(keys=[], fingerprint=""), torch.device("cpu"))
    assert (header.size, header.padded) == ([12, 16], extent is not None)


@pytest.fixture
def model(tmp_path):
    """A published model, and the network in it."""
    net = build(Config.model_validate(NETWORK), 3)
    path = tmp_path / "m.safetensors"
    save_model(path, net, Header(NETWORK, NAMES, [[0, 0, 0]] * 3, [0.5] * 3, [0.2] * 3, [32, 48], {}, {}))
    return path, net


def read(begin_with: str, start, names=NAMES, key="network", **network) -> Recipe:
    """The recipe of a training with the section ``network``, or that of another key."""
    config = BeginningConfig(steps=1, batch=1, optimiser={"lr": 0.1}, begin_with=begin_with)
    sections = {"network": NETWORK, key: network if "name" in network else NETWORK | network}
    run = SimpleNamespace(
        merged=lambda sections, schema: config,
        section=lambda key, schema: TypeAdapter(schema).validate_python(sections[key]),
    )
    images = SimpleNamespace(class_names=names)
    return Recipe.read(run, BeginningConfig, ["fit"], None, images, start, torch.device("cpu"), key)


def test_networks_begin_with_the_model_that_is_named_and_each_with_a_copy(model):
    path, net = model
    one, other = (recipe.task.new_network() for recipe in [read("supervised", path)] * 2)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in one.state_dict().items())
    assert one.training
    assert all(p.requires_grad for p in one.parameters())
    with torch.no_grad():
        one.head.out.bias += 1
    assert torch.equal(other.head.out.bias, net.head.out.bias)


def test_networks_begin_afresh_where_nothing_else_is_asked_for(model):
    path, net = model
    assert not torch.equal(read("weights", path).task.new_network().blocks[0][0][0].weight, net.blocks[0][0][0].weight)


def test_a_model_that_does_not_fit_is_no_beginning(model):
    path, _ = model
    with pytest.raises(ConfigError, match="begin_with: found supervised, but the stage is given no --start"):
        read("supervised", None)
    with pytest.raises(ArtefactError, match=r"its network has width 0\.25; expected width 0\.5, as in params"):
        read("supervised", path, width=0.5)
    with pytest.raises(ArtefactError, match="knows the classes"):
        read("supervised", path, names=["a", "b", "d"])
    with pytest.raises(ArtefactError, match="no such model file"):
        read("supervised", path.with_name("none"))


def test_a_training_may_have_a_network_of_its_own(model):
    """No other knows of it, and it cannot begin with another's weights."""
    path, _ = model
    routing = {"name": "routing", "layers": 3, "channels": 4}
    task = read("weights", path, key="selene.network", **routing).task
    assert encoder_of(task.new_network()) is not None
    assert {key: task.network[key] for key in routing} == routing
    with pytest.raises(ArtefactError, match=r"its network has .*name dsnet.*; expected .*name routing.*, as in params"):
        read("supervised", path, key="selene.network", **routing)
    with pytest.raises(ConfigError, match=r"^selene\.network\.name: found 'rooting'; .* did you mean 'routing'\?"):
        read("weights", path, key="selene.network", name="rooting")
    with pytest.raises(ConfigError, match=r"^selene\.network\.name: 'judge' does not segment images"):
        read("weights", path, key="selene.network", name="judge")


def test_a_training_reads_the_section_of_its_network_alone():
    words = ["--learner", "a.B", "--section", "selene", "--out", "m", "--history", "h"]
    for more, expected in (
        ([], ("seed", "network", "selene")),
        (["--network", "selene.network"], ("seed", "selene.network", "selene")),
        (["--network", "selene.network", "--base", "b"], ("seed", "selene")),
    ):
        assert fit.keys(fit.arguments().parse_args(words + more)) == expected


def test_tags_are_for_who_learns_from_them():
    require_tags(MLMT, given=True)
    require_tags(Supervised, given=False)
    with pytest.raises(ConfigError, match=r"^--tags: missing in dvc.yaml; MLMT learns which classes"):
        require_tags(MLMT, given=False)
    with pytest.raises(ConfigError, match=r"^--tags: found with Supervised, which learns from masks alone"):
        require_tags(Supervised, given=True)


def test_a_base_that_does_not_segment_is_refused_by_name(tmp_path):
    path, section = tmp_path / "a.safetensors", judge.Config(width=0.1)
    header = Header(section.model_dump(), NAMES, [[0, 0, 0]] * 3, [0.5] * 3, [0.2] * 3, [32, 48], {}, {})
    save_model(path, judge.build(section, 3), header)
    run = SimpleNamespace(merged=lambda sections, schema: None)
    images = SimpleNamespace(class_names=NAMES)
    with pytest.raises(ArtefactError, match="holds the network 'judge'; expected a segmentation model"):
        Recipe.read(run, AuxiliaryNetwork.schema, ["auxiliary.network"], path, images, None, torch.device("cpu"))
