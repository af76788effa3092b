"""DeepLabv3+: logits at the input's size, of the size the configuration promises."""

import pytest
import torch
from pydantic import ValidationError

from pipeline.core.errors import ConfigError
from pipeline.nets import deeplabv3plus
from pipeline.nets.deeplabv3plus import Config, Pyramid, build

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


def test_parameters_of_the_standard_network():
    found = net(19, encoder="resnet50")
    assert (count(found.blocks), count(found.head)) == (23_508_032, 3_173_923)
    assert count(net(19, encoder="resnet50", separable=False).head) == 16_843_379


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
    row = deeplabv3plus.encoder_row(Config(encoder="resnet18"))
    monkeypatch.setattr(deeplabv3plus, "encoder_row", lambda config: row._replace(strides=[8, 8, 8, 16, 16]))
    with pytest.raises(ConfigError, match="expected a 4"):
        net(**SMALL)
