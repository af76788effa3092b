"""Encoders: rows of blocks at the stride asked for, or a refusal that says why."""

import sys

import pytest
import torch

from pipeline.core.errors import ConfigError
from pipeline.nets.encoders import EncoderConfig, encoder_row
from pipeline.nets.segnet import in_a_row

LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def row(encoder="resnet18", **fields):
    return encoder_row(EncoderConfig(encoder=encoder, **fields))


def through(blocks, x):
    with torch.no_grad():
        return in_a_row(blocks.eval(), x)


def count(blocks):
    return sum(p.numel() for p in blocks.parameters())


@pytest.mark.parametrize(
    ("encoder", "fields", "strides", "channels", "parameters"),
    [
        ("resnet18", {"deep_stages": "dilate", "output_stride": 32}, [4, 4, 8, 16, 32], 512, 11_176_512),
        ("resnet18", {"deep_stages": "dilate", "output_stride": 16}, [4, 4, 8, 16, 16], 512, 11_176_512),
        ("resnet34", {"deep_stages": "dilate", "output_stride": 8}, [4, 4, 8, 8, 8], 512, 21_284_672),
        ("resnet50", {"deep_stages": "dilate", "output_stride": 8}, [4, 4, 8, 8, 8], 2048, 23_508_032),
        ("resnet18", {"deep_stages": "drop", "output_stride": 16}, [4, 4, 8, 16], 256, 2_782_784),
        ("resnet18", {"deep_stages": "drop", "output_stride": 8}, [4, 4, 8], 128, 683_072),
    ],
)
def test_resnets_end_at_the_stride_asked_for(encoder, fields, strides, channels, parameters):
    found = row(encoder, **fields)
    sizes = [y.shape[2:] for y in through(found.blocks, torch.zeros(1, 3, 64, 96))]
    assert sizes == [(64 // stride, 96 // stride) for stride in strides]
    assert (found.strides, found.channels[-1]) == (strides, channels)
    assert count(found.blocks) == parameters


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_what_the_filters_compute(encoder, output_stride):
    """Pretrained filters mean the same: the dense map, read at the coarse map's places, is the coarse map."""
    coarse, dense = row(encoder, output_stride=32), row(encoder, output_stride=output_stride)
    dense.blocks.load_state_dict(coarse.blocks.state_dict())
    x = torch.randn(1, 3, 97, 128).double()
    step = 32 // output_stride
    wanted, found = through(coarse.blocks.double(), x)[-1], through(dense.blocks.double(), x)[-1]
    torch.testing.assert_close(found[..., ::step, ::step], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("encoder", "fields", "strides"),
    [
        (LITE0, {"deep_stages": "drop"}, [2, 4, 8, 16]),
        (LITE0, {"output_stride": 16}, [2, 4, 8, 16, 16]),
        (LITE0, {"output_stride": 8}, [2, 4, 8, 8, 8]),
        ("timm:resnet18", {"output_stride": 8}, [2, 4, 8, 8, 8]),
        ("timm:mobilenetv3_small_050", {"output_stride": 32}, [2, 4, 8, 16, 32]),
        ("timm:convnext_atto", {"output_stride": 16}, [4, 8, 16, 16]),
        ("timm:densenet121", {"deep_stages": "drop"}, [2, 4, 8, 16]),
    ],
)
def test_timm_encoders_become_rows(encoder, fields, strides):
    pytest.importorskip("timm")
    found = row(encoder, **fields)
    assert all(module.training for module in found.blocks.modules())
    sizes = [y.shape[2:] for y in through(found.blocks, torch.zeros(1, 3, 64, 96))]
    assert sizes == [(64 // stride, 96 // stride) for stride in strides]


@pytest.mark.parametrize(
    ("encoder", "fields", "says"),
    [
        ("timm:hrnet_w18_small", {"output_stride": 32}, "no row of stages"),
        ("timm:vit_tiny_patch16_224", {"output_stride": 32}, "no row of stages"),
        ("timm:selecsls42", {"output_stride": 32}, "no row of stages"),  # blocks pass lists on
        ("timm:mambaout_femto", {"output_stride": 32}, "no row of stages"),  # channels last
        ("timm:densenet121", {"output_stride": 16}, "deep_stages: drop"),
        ("timm:convnext_atto", {"weights": "torchvision"}, "expected encoder resnet18"),
        ("timm:tf_efficientnet_lite1", {"weights": "lite0"}, f"expected encoder {LITE0}"),
        ("timm:resnet5", {}, "did you mean timm:resnet"),
    ],
)
def test_timm_encoders_that_cannot_serve_are_refused(encoder, fields, says):
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=says):
        row(encoder, **fields)


@pytest.mark.parametrize(
    ("encoder", "fields", "says"),
    [
        ("resnet52", {}, "found 'resnet52', expected resnet18, .* did you mean resnet50"),
        ("segformer", {}, r"timm.list_models\(\)"),
        ("resnet50", {"weights": "lite0"}, f"expected encoder {LITE0}"),
        ("resnet18", {"weights": "nowhere.pt"}, "found no file nowhere.pt"),
    ],
)
def test_wrong_names_are_refused_with_a_remedy(encoder, fields, says):
    with pytest.raises(ConfigError, match=says):
        row(encoder, **fields)


def test_a_missing_timm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install fewmask\[timm\]"):
        row(LITE0)
