"""DeepLabv2: of the papers' size, with the rates named, from an encoder's file or a whole network's."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fewmask.core.errors import ArtefactError
from fewmask.costs.macs import gmacs, parameters
from fewmask.nets.base.published import build as build_any
from fewmask.nets.base.published import segmentation_module
from fewmask.nets.base.segnet import Backbone
from fewmask.nets.deeplabv2 import deeplabv2
from fewmask.nets.deeplabv2.deeplabv2 import Classifier, Config, build, head

SMALL = {"encoder": "resnet18", "layout": "torchvision"}
CLASSES = 21  # of the published head


def net(classes=5, **fields):
    torch.manual_seed(0)
    return build(Config.model_validate({"name": "deeplabv2", **fields}), classes)


@pytest.mark.parametrize(
    ("classes", "rates", "expected"),
    [
        (21, [6, 12, 18, 24], 44_048_532),
        (19, [6, 12, 18, 24], 43_901_068),
        (21, [6, 12], 43_274_346),
        (19, [6, 12], 43_200_614),
    ],
)
def test_parameters(classes, rates, expected):
    """The papers' 44.05 and 43.90 M, with four rates: 42,500,160 of the encoder (torchvision's 44,549,160 less the
    2,049,000 of its classifier) and, for each rate, 3 * 3 * 2048 weights and a bias a class."""
    assert 42_500_160 + len(rates) * (9 * 2048 + 1) * classes == expected
    assert parameters(net(classes, head_rates=rates)) == expected


@pytest.mark.parametrize(("rates", "expected"), [([6, 12, 18, 24], 75.135808704), ([6, 12], 73.834472640)])
def test_multiply_accumulates_at_the_papers_crop(rates, expected):
    """Every weight of a convolution works once a pixel of its output: of a 321x321 image and 21 classes the stem (9,408
    weights) at 161^2, layer1 (212,992) at 81^2, layers 2 to 4, whose strides come first, and the head at 41^2."""
    layer2 = (256 + 9 * 128 + 512) * 128 + 256 * 512 + 3 * (512 + 9 * 128 + 512) * 128
    layer3 = (512 + 9 * 256 + 1024) * 256 + 512 * 1024 + 22 * (1024 + 9 * 256 + 1024) * 256
    layer4 = (1024 + 9 * 512 + 2048) * 512 + 1024 * 2048 + 2 * (2048 + 9 * 512 + 2048) * 512
    deep = layer2 + layer3 + layer4 + len(rates) * 9 * 2048 * 21
    assert (161**2 * 9_408 + 81**2 * 212_992 + 41**2 * deep) / 1e9 == expected
    assert gmacs(net(21, head_rates=rates), (321, 321)) == expected


def test_the_head_by_hand():
    """A 1 amid a 7x7 map of 0, all weights 2, rates 1 and 3, biases 1/4 and 1/2: 2 at the 9 places 1 apart, 2 at
    the 9 places 3 apart, their sum in the middle, and 3/4 everywhere."""
    found = Classifier(1, 1, (1, 3))
    for branch, bias in zip(found.branches, (0.25, 0.5), strict=True):
        torch.nn.init.constant_(branch.weight, 2.0)
        torch.nn.init.constant_(branch.bias, bias)
    x, expected = torch.zeros(1, 1, 7, 7), torch.full((7, 7), 0.75)
    x[0, 0, 3, 3] = 1
    expected[2:5, 2:5] += 2
    expected[::3, ::3] += 2
    torch.testing.assert_close(found([torch.randn(1, 9, 2, 2), x])[0, 0], expected)


def test_the_head_starts_small():
    torch.manual_seed(0)
    for branch in Classifier(2048, 21, (6, 24)).branches:
        weight, bias = branch.weight.detach(), branch.bias.detach()
        assert float(weight.mean()) == pytest.approx(0, abs=1e-4)
        assert float(weight.std()) == pytest.approx(0.01, rel=0.01)
        assert 0 < float(bias.abs().max()) <= (9 * 2048) ** -0.5  # PyTorch's default


def test_a_second_head_stands_on_a_row_of_any_channels():
    """Paper's stage 2: 1024 channels, four branches: 4 * (9 * 1024 + 1) * 19."""
    second = head(Config(), Backbone(torch.nn.ModuleList(), [64, 256, 512, 1024, 1024], [4, 4, 8, 8, 8]), 19)
    assert parameters(second) == 700_492
    assert second([torch.zeros(1, 1024, 5, 7)]).shape == (1, 19, 5, 7)


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_logits_have_the_input_size_and_keep_their_corners(size):
    found = net(**SMALL).eval()
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        logits, small = found(x), found.head(found.features(x))
    assert logits.shape == (1, 5, *size)
    assert small.shape[2:] == ((size[0] + 7) // 8, (size[1] + 7) // 8)
    torch.testing.assert_close(
        logits[..., :: size[0] - 1, :: size[1] - 1], small[..., :: small.shape[2] - 1, :: small.shape[3] - 1]
    )
    torch.testing.assert_close(logits, F.interpolate(small, size, mode="bilinear", align_corners=True))


def test_every_parameter_learns():
    found = net(**SMALL)
    found(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in found.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_it_is_a_network_of_params():
    section = segmentation_module("deeplabv2").Config.model_validate({"name": "deeplabv2", **SMALL, "head_rates": [6]})
    assert len(build_any(section, 3).head.branches) == 1
    assert deeplabv2.normalisation(Config(input="caffe"))[1] == (1 / 255,) * 3
    assert (Config().encoder, Config().output_stride, Config().layout) == ("resnet101", 8, "caffe")
    for wrong in ({"head_rates": []}, {"head_rates": [0]}, {"encoder": "timm:resnet50"}, {"output_stride": 4}):
        with pytest.raises(ValidationError):
            Config.model_validate(wrong)


@pytest.fixture(scope="module")
def published():
    """A whole network's state in the published layout: a ResNet-18 without classifier, four branches, 21 classes."""
    torch.manual_seed(1)
    state = pytest.importorskip("torchvision.models").resnet18().state_dict()
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    for branch in range(4):
        state[f"layer5.conv2d_list.{branch}.weight"] = torch.randn(CLASSES, 512, 3, 3)
        state[f"layer5.conv2d_list.{branch}.bias"] = torch.randn(CLASSES)
    return state


def filled(tmp_path, state, classes=CLASSES, **fields):
    torch.save(state, tmp_path / "coco.pth")
    return net(classes, **SMALL, weights=str(tmp_path / "coco.pth"), **fields)


def encoder_is(found, published):
    names = {"conv1": "0.conv1", "bn1": "0.bn1"} | {f"layer{i}": str(i) for i in range(1, 5)}
    own = found.blocks.state_dict()
    parts = {key: key.partition(".") for key in published if not key.startswith("layer5")}
    assert len(parts) == len(own) == 120
    return all(torch.equal(own[f"{names[first]}.{rest}"], published[key]) for key, (first, _, rest) in parts.items())


@pytest.mark.parametrize("prefix", ["", "module.", "Scale.", "module.Scale."])
def test_a_whole_network_fills_encoder_and_head(tmp_path, published, prefix, capsys):
    found = filled(tmp_path, {prefix + key: value for key, value in published.items()})
    assert encoder_is(found, published)
    for i, branch in enumerate(found.head.branches):
        assert torch.equal(branch.weight, published[f"layer5.conv2d_list.{i}.weight"])
        assert torch.equal(branch.bias, published[f"layer5.conv2d_list.{i}.bias"])
    assert capsys.readouterr().out == ""


def test_a_branch_is_filled_from_that_of_its_rate(tmp_path, published):
    found = filled(tmp_path, published, head_rates=[18, 6])
    wanted = [published[f"layer5.conv2d_list.{i}.weight"] for i in (2, 0)]
    assert [torch.equal(b.weight, w) for b, w in zip(found.head.branches, wanted, strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("classes", "rates", "says"),
    [
        (
            19,
            [6, 12, 18, 24],
            "its head has 21 classes at the rates [6, 12, 18, 24], the network's 19 at [6, 12, 18, 24]",
        ),
        (21, [6, 13], "its head has 21 classes at the rates [6, 12, 18, 24], the network's 21 at [6, 13]"),
    ],
)
def test_a_head_that_does_not_fit_is_left_out_aloud(tmp_path, published, capsys, classes, rates, says):
    found = filled(tmp_path, published, classes, head_rates=rates)
    assert encoder_is(found, published)
    assert float(found.head.branches[0].weight.detach().std()) == pytest.approx(0.01, rel=0.02)  # the file's: 1
    assert says in capsys.readouterr().out


def test_an_encoder_s_own_file_needs_no_notice(tmp_path, published, capsys):
    state = {key: value for key, value in published.items() if not key.startswith("layer5.")}
    found = filled(tmp_path, state | {"fc.weight": torch.zeros(9, 512), "fc.bias": torch.zeros(9)})
    assert encoder_is(found, published)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer5.aspp.weight": (1,)}, r"expected 120 tensors: found 1 unknown \(layer5.aspp.weight\)"),
        ({"conv1.weight": (64, 4, 7, 7)}, r"1 of another shape \(conv1.weight \(64, 4, 7, 7\) for \(64, 3, 7, 7\)\)"),
        ({"bn1.weight": None, "layer1.0.bn1.bias": None}, r"2 missing \(bn1.weight, layer1.0.bn1.bias\)"),
        ({"layer5.conv2d_list.2.bias": None}, r"its head: .* expected 8 tensors: found 1 missing \(branches.2.bias\)"),
        ({"layer5.conv2d_list.4.bias": (21,)}, r"its head: .* found 1 unknown \(4.bias\)"),
        (
            {"layer5.conv2d_list.0.weight": (21, 2048, 3, 3)},
            r"1 of another shape \(branches.0.weight \(21, 2048, 3, 3\) for \(21, 512, 3, 3\)\)",
        ),
    ],
)
def test_anything_else_that_does_not_fit_is_refused_by_name(tmp_path, published, change, says):
    state = published | {key: shape and torch.zeros(shape) for key, shape in change.items()}
    with pytest.raises(ArtefactError, match=says):
        filled(tmp_path, {key: value for key, value in state.items() if value is not None})
