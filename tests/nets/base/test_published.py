"""A model file holds all that prediction needs, and nothing damaged or foreign is believed."""

import json
import random

import pytest
import torch
from safetensors.torch import save_file

from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.nets.base.published import Header, build, load_model, network_module, save_model
from fewmask.nets.dsnet.dsnet import Config

SMALL = Config(width=0.25, blocks=[1, 1, 1, 1])
NAMES = ["sky", "road", "car"]


def header(**changes) -> Header:
    fields = {
        "network": SMALL.model_dump(),
        "class_names": NAMES,
        "colours": [[0, 0, 0]] * 3,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "size": [32, 48],
        "params": {"seed": 0},
        "provenance": {},
    }
    return Header(**{**fields, **changes})


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = build(SMALL, 3).eval()
    path = tmp_path / "model.safetensors"
    digest = save_model(path, net, header())
    return path, net, digest


def test_round_trip_to_the_bit(model):
    path, net, digest = model
    back = load_model(path)
    state = back.net.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())
    assert back.digest == digest
    assert back.header == header()
    assert not back.net.training


def test_equal_content_gives_equal_bytes(model, tmp_path):
    path, net, _ = model
    save_model(tmp_path / "other.safetensors", net, header())
    assert (tmp_path / "other.safetensors").read_bytes() == path.read_bytes()


def test_every_flipped_bit_is_found_or_harmless(model):
    path, _, _ = model
    data = path.read_bytes()
    x = torch.rand(1, 3, 32, 48)
    expected = load_model(path).net(x)
    rng = random.Random(0)
    for _ in range(60):
        place = rng.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            back = load_model(path)
        except ArtefactError as error:
            assert str(path) in str(error)
        else:
            assert torch.equal(back.net(x), expected)


@pytest.mark.parametrize("length", [0, 10, 4000, -1])
def test_truncation_is_found(model, length):
    path, _, _ = model
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtefactError, match="damaged"):
        load_model(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(ArtefactError, match="no such model file"):
        load_model(path)
    path.write_text("hello")
    with pytest.raises(ArtefactError, match="not a safetensors file"):
        load_model(path)
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ArtefactError, match="not a fewmask model"):
        load_model(path)


def test_a_header_that_names_another_network_is_refused(model, tmp_path):
    _, net, _ = model
    path = tmp_path / "wider.safetensors"
    save_model(path, net, header(network={**SMALL.model_dump(), "width": 0.5}))
    with pytest.raises(ArtefactError, match="do not fit"):
        load_model(path)


def test_a_network_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'dsnet'"):
        network_module("dsnett")
    with pytest.raises(ConfigError, match="expected one of"):
        network_module("../core/params")


def test_only_networks_that_params_may_name_are_listed():
    """A method's judge and tagger, and what is fused, are networks that no one chooses."""
    with pytest.raises(ConfigError, match=r"'judg'; expected one of deeplabv2, deeplabv3plus, dsnet, routing\.$"):
        network_module("judg")


def test_header_is_plain_json(model):
    path, _, _ = model
    length = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    assert json.loads(metadata["class_names"]) == NAMES


def test_an_edited_header_is_found(model):
    path, _, _ = model
    data = path.read_bytes()
    assert data.count(b"[0.5, 0.5, 0.5]") == 1
    path.write_bytes(data.replace(b"[0.5, 0.5, 0.5]", b"[0.1, 0.5, 0.5]"))
    with pytest.raises(ArtefactError, match="do not match their digest"):
        load_model(path)


def test_a_model_that_does_not_say_whether_it_saw_padding_saw_none(tmp_path):
    for told in ({}, {"padded": True}):
        save_model(tmp_path / "m.safetensors", build(SMALL, 3), header(**told))
        assert load_model(tmp_path / "m.safetensors").header.padded == bool(told)
    old = header()
    del vars(old)["padded"]
    save_model(tmp_path / "m.safetensors", build(SMALL, 3), old)
    assert not load_model(tmp_path / "m.safetensors").header.padded
