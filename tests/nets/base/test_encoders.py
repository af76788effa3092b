"""Encoders: rows of blocks at the stride asked for, or a refusal that says why."""

import sys

import pytest
import torch
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.nets.base.encoders import EncoderConfig, encoder_backbone
from fewmask.nets.base.segnet import run_blocks

LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def backbone(encoder="resnet18", **fields):
    return encoder_backbone(EncoderConfig(encoder=encoder, **fields))


def through(blocks, x):
    with torch.no_grad():
        return run_blocks(blocks.eval(), x)


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
    found = backbone(encoder, **fields)
    sizes = [y.shape[2:] for y in through(found.blocks, torch.zeros(1, 3, 64, 96))]
    assert sizes == [(64 // stride, 96 // stride) for stride in strides]
    assert (found.strides, found.channels[-1]) == (strides, channels)
    assert count(found.blocks) == parameters


@pytest.mark.parametrize(("encoder", "layout"), [(18, "torchvision"), (50, "torchvision"), (50, "caffe")])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_what_the_filters_compute(encoder, layout, output_stride):
    """Pretrained filters mean the same: the dense map, read at the coarse map's places, is the coarse map."""
    coarse, dense = (backbone(f"resnet{encoder}", output_stride=s, layout=layout) for s in (32, output_stride))
    dense.blocks.load_state_dict(coarse.blocks.state_dict())
    x = torch.randn(1, 3, 97, 128).double()
    step = 32 // output_stride
    wanted, found = through(coarse.blocks.double(), x)[-1], through(dense.blocks.double(), x)[-1]
    torch.testing.assert_close(found[..., ::step, ::step], wanted, rtol=1e-9, atol=1e-9)


def convolutions(block, kernel):
    return [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (kernel, kernel)]


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (1, 1, 2, 4)), (16, (1, 1, 1, 2)), (32, (1, 1, 1, 1))])
def test_the_caffe_layout_dilates_every_3x3_of_a_layer_and_strides_in_the_first_1x1(output_stride, rates):
    found = backbone("resnet50", layout="caffe", output_stride=output_stride)
    assert found.strides == [4, 4, 8, min(16, output_stride), min(32, output_stride)]
    for layer, rate, width, before in zip(found.blocks[1:], rates, found.strides[1:], found.strides, strict=False):
        assert {(m.dilation, m.padding, m.stride) for m in convolutions(layer, 3)} == {
            ((rate,) * 2, (rate,) * 2, (1, 1))
        }
        step = (width // before,) * 2
        assert [m.stride for m in (layer[0].conv1, layer[0].downsample[0])] == [step, step]
        assert all(m.stride == (1, 1) for block in layer[1:] for m in convolutions(block, 1))


def test_the_torchvision_layout_stays_as_it_was():
    """The first 3x3 of a layer has its stride, and after dilation the rate of the layer before."""
    coarse, dense = backbone("resnet50", output_stride=32).blocks, backbone("resnet50", output_stride=8).blocks
    assert coarse[0].maxpool.ceil_mode is False
    assert [layer[0].conv1.stride for layer in coarse[1:]] == [(1, 1)] * 4
    assert [layer[0].conv2.stride for layer in coarse[1:]] == [(1, 1), (2, 2), (2, 2), (2, 2)]
    assert [m.dilation[0] for m in convolutions(dense[3], 3)] == [1, 2, 2, 2, 2, 2]
    assert [m.dilation[0] for m in convolutions(dense[4], 3)] == [2, 4, 4]


@pytest.mark.parametrize(
    ("size", "deepest"),
    [((321, 321), (41, 41)), ((256, 512), (33, 65)), ((512, 1024), (65, 129)), ((505, 505), (64, 64))],
)
def test_the_caffe_layout_has_the_sizes_that_the_authors_have(size, deepest):
    """321 -> 161 -> 81 -> 41; 256 -> 128 -> 65, rounded up -> 33."""
    found = backbone("resnet50", layout="caffe", output_stride=8).blocks.to("meta")  # shapes without numbers
    assert through(found, torch.zeros(1, 3, *size, device="meta"))[-1].shape[2:] == deepest


def test_both_layouts_have_the_same_tensors_and_another_function():
    there, here = (backbone("resnet50", layout=layout, output_stride=8).blocks for layout in ("torchvision", "caffe"))
    here.load_state_dict(there.state_dict())
    x = torch.randn(1, 3, 65, 65)  # the max-pool rounds nothing
    a, b = through(there, x), through(here, x)
    assert [y.shape for y in a] == [y.shape for y in b]
    assert [torch.equal(*pair) for pair in zip(a, b, strict=True)] == [True, True, False, False, False]


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "timm:resnet50"])
def test_the_caffe_layout_needs_bottlenecks(encoder):
    with pytest.raises(ConfigError) as error:
        backbone(encoder, layout="caffe")
    assert str(error.value) == (
        f"layout: found caffe with encoder {encoder}, expected resnet50 or resnet101, where a 1x1 can take the stride; "
        "change the encoder, or write 'layout: torchvision'."
    )


@pytest.mark.parametrize(
    ("encoder", "fields", "strides"),
    [
        (LITE0, {"deep_stages": "drop"}, [2, 4, 8, 16, 16]),
        (LITE0, {"output_stride": 16}, [2, 4, 8, 16, 16, 16, 16]),
        (LITE0, {"output_stride": 8}, [2, 4, 8, 8, 8, 8, 8]),
        ("timm:resnet18", {"output_stride": 8}, [2, 4, 8, 8, 8]),
        ("timm:mobilenetv3_small_050", {"output_stride": 32}, [2, 4, 8, 16, 16, 32, 32]),
        ("timm:convnext_atto", {"output_stride": 16}, [4, 8, 16, 16]),
        ("timm:densenet121", {"deep_stages": "drop"}, [2, 4, 8, 16]),
    ],
)
def test_timm_encoders_become_rows(encoder, fields, strides):
    pytest.importorskip("timm")
    found = backbone(encoder, **fields)
    assert all(module.training for module in found.blocks.modules())
    sizes = [y.shape[2:] for y in through(found.blocks, torch.zeros(1, 3, 64, 96))]
    assert sizes == [(64 // stride, 96 // stride) for stride in strides]


def test_a_block_of_a_timm_encoder_is_one_stage_and_no_plain_layer():
    """The extractor gives maps after stages 0, 1, 2, 4 and 6 alone; vgg's single layers are no stages."""
    pytest.importorskip("timm")
    names = [list(dict(block.named_children())) for block in backbone(LITE0, output_stride=32).blocks]
    assert names == [["conv_stem", "bn1", "blocks_0"], *([f"blocks_{number}"] for number in range(1, 7))]
    assert len(backbone("timm:vgg11", output_stride=32, deep_stages="drop").blocks) == 6


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
        backbone(encoder, **fields)


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
        backbone(encoder, **fields)


def test_a_missing_timm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install fewmask\[timm\]"):
        backbone(LITE0)
