"""DeepLabv3+: logits at the input's size, of the size the configuration promises."""

import pytest
import torch
from pydantic import ValidationError

from fewmask.core.errors import ConfigError
from fewmask.costs.macs import gmacs
from fewmask.nets.deeplabv3plus import deeplabv3plus
from fewmask.nets.deeplabv3plus.deeplabv3plus import Config, Pyramid, build

SMALL = {"encoder": "resnet18", "aspp_channels": 16, "low_channels": 8, "decoder_channels": 16}
LITE0 = {
    "encoder": "timm:tf_efficientnet_lite0",
    "deep_stages": "drop",
    "aspp_rates": [3, 6, 9],
    "aspp_channels": 64,
    "low_channels": 24,
    "decoder_channels": 64,
}


def net(classes=5, **fields):
    torch.manual_seed(0)
    return build(Config.model_validate({"name": "deeplabv3plus", **fields}), classes)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (33, 64), (180, 240)])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_logits_have_the_input_size(size, output_stride):
    found = net(**SMALL, output_stride=output_stride).eval()
    with torch.no_grad():
        assert found(torch.randn(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_deep_features_stand_at_the_output_stride(output_stride):
    found = net(**SMALL, output_stride=output_stride).eval()
    with torch.no_grad():
        features = found.features(torch.randn(1, 3, 64, 128))
        assert features[-1].shape[2:] == (64 // output_stride, 128 // output_stride)
        assert found.head(features).shape[2:] == (16, 32)


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_lite0_has_the_input_size(size):
    pytest.importorskip("timm")
    with torch.no_grad():
        assert net(**LITE0).eval()(torch.randn(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize(("encoder", "parameters"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)])
def test_parameters_of_the_standard_network(encoder, parameters):
    """Encoders: torchvision's 25,557,032 and 44,549,160 less the 2,049,000 of its classifier. Head at 19 classes:
    1x1 and image branch 2048 * 256 * 2 + 256; three rates 3 * (2048 * 9 + 2048 * 256); join 5 * 256 * 256; low
    256 * 48; decoder 304 * 9 + 304 * 256 + 256 * 9 + 256 * 256; classes 256 * 19 + 19; batch norms of 256 (7) and
    48: 2 * 1840."""
    found = net(19, encoder=encoder)
    pyramid = 2048 * 256 * 2 + 256 + 3 * (2048 * 9 + 2048 * 256) + 5 * 256 * 256
    decoder = 256 * 48 + 304 * 9 + 304 * 256 + 256 * 9 + 256 * 256 + 256 * 19 + 19
    assert pyramid + decoder + 2 * 1840 == 3_173_923
    assert (count(found.blocks), count(found.head)) == (parameters, 3_173_923)


def test_parameters_of_whole_convolutions():
    """Not separable: 2048 * 256 * 9 in each of three branches, 304 * 256 * 9 and 256 * 256 * 9 in the decoder."""
    more = 3 * (2048 * 256 * 8 - 2048 * 9) + 304 * 256 * 8 - 304 * 9 + 256 * 256 * 8 - 256 * 9
    assert count(net(19, encoder="resnet50", separable=False).head) == 3_173_923 + more == 16_843_379


@pytest.mark.parametrize(
    ("encoder", "output_stride", "expected"),
    [
        ("resnet50", 16, 37.678743552),
        ("resnet50", 8, 112.540778496),
        ("resnet101", 16, 57.073205248),
        ("resnet101", 8, 190.118625280),
    ],
)
def test_multiply_accumulates_of_the_standard_network(encoder, output_stride, expected):
    """Every weight of a convolution works once a pixel of its output. At 512x512, 19 classes: stem (9,408 weights) at
    256^2; layer1 (212,992) and layer2's first 1x1 (256 * 128), before its stride, at 128^2; the other 1,179,648 of
    layer2 at 64^2. Layer3 has a first 1x1 of 512 * 256 at 64^2 and, like layer4 (14,942,208), the rest at the output
    stride: 1,376,256 in its first block, 1,114,112 in each of 5 or 22 more. There the pyramid works, too, but for the
    image branch (524,288), which sees one pixel; the decoder works at 128^2."""
    deep = (512 // output_stride) ** 2
    units = {"resnet50": 5, "resnet101": 22}[encoder]
    encoder_macs = 256**2 * 9_408 + 128**2 * (212_992 + 32_768) + 64**2 * (1_179_648 + 131_072)
    encoder_macs += deep * (1_376_256 + units * 1_114_112 + 14_942_208)
    pyramid = deep * (524_288 + 3 * (2048 * 9 + 524_288) + 327_680) + 524_288
    decoder = 128**2 * (256 * 48 + 304 * (9 + 256) + 256 * (9 + 256) + 256 * 19)
    assert (encoder_macs + pyramid + decoder) / 1e9 == expected
    found = net(19, encoder=encoder, output_stride=output_stride).to("meta")  # shapes without numbers
    assert gmacs(found, (512, 512)) == expected


def test_the_light_network_has_less_than_a_million_parameters():
    pytest.importorskip("timm")
    found = net(11, **LITE0)
    assert (count(found.blocks), count(found.head)) == (700_768, 72_739)


def test_the_pyramid_by_hand():
    """A 1 amid a 5x5 map of 0, rate 2, all filters 1: the 1x1 branch answers at that place, the atrous one at
    the 9 places 2 apart, the image-level one with the mean, 1/25. (Fresh batch norm in inference divides by
    sqrt(1 + 1e-5).)"""
    pyramid = Pyramid(1, 1, (2,), separable=True).eval()
    for name, p in pyramid.named_parameters():
        torch.nn.init.constant_(p, 0.0 if name.endswith("bias") else 1.0)
    pyramid.join = torch.nn.Identity()
    x, lattice = torch.zeros(1, 1, 5, 5), torch.zeros(5, 5)
    x[0, 0, 2, 2] = lattice[::2, ::2] = 1
    with torch.no_grad():
        point, wide, image = pyramid(x)[0]
    torch.testing.assert_close(point, x[0, 0] / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(wide, lattice / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(image, torch.full((5, 5), 1 / 25))


def test_every_parameter_learns_from_a_single_image():
    found = net(**SMALL)
    found(torch.randn(1, 3, 64, 64)).square().mean().backward()
    names = [name for name, p in found.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert names == []
    assert {name.split(".")[0] for name, _ in found.named_parameters()} == {"blocks", "head"}


def test_yaml_lists_pass_and_nonsense_does_not():
    assert Config.model_validate({"aspp_rates": [2, 4]}).aspp_rates == (2, 4)
    for wrong in ({"aspp_rates": [0]}, {"aspp_rates": ["6"]}, {"output_stride": 4}, {"encodr": "resnet18"}):
        with pytest.raises(ValidationError):
            Config.model_validate(wrong)


def test_the_module_offers_the_normalisation():
    assert deeplabv3plus.normalisation(Config())[0] == (0.485, 0.456, 0.406)


def test_an_encoder_without_stride_4_is_refused(monkeypatch):
    backbone = deeplabv3plus.encoder_backbone(Config(encoder="resnet18"))
    monkeypatch.setattr(deeplabv3plus, "encoder_backbone", lambda config: backbone._replace(strides=[8, 8, 8, 16, 16]))
    with pytest.raises(ConfigError, match="expected a 4"):
        net(**SMALL)
