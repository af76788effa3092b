"""The second branch: what it shares, what it owns, and where its gradient goes."""

import pytest
import torch
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.methods.three_stage.branch import BranchConfig, TwoBranches, with_branch
from fewmask.nets.deeplabv2 import deeplabv2
from fewmask.nets.deeplabv3plus import deeplabv3plus
from fewmask.nets.dsnet import dsnet

NETWORKS = {
    "dsnet": dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]),
    "deeplabv2": deeplabv2.Config(encoder="resnet18", layout="torchvision"),
    "deeplabv3plus": deeplabv3plus.Config(
        encoder="resnet18", output_stride=16, aspp_channels=8, low_channels=4, decoder_channels=8, aspp_rates=(1, 2)
    ),
}
MODULES = {"deeplabv2": deeplabv2, "dsnet": dsnet, "deeplabv3plus": deeplabv3plus}


def grown(name: str = "dsnet", classes: int = 3, **branch: float) -> TwoBranches:
    torch.manual_seed(0)
    config = NETWORKS[name]
    net = MODULES[name].build(config, classes)
    return with_branch(net, config.model_dump(mode="json"), BranchConfig.model_validate(branch), classes)


def moved(module: nn.Module) -> bool:
    """Whether a backward pass has reached any of its parameters."""
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("own", [1, 2, 3])
def test_any_row_of_blocks_can_have_a_branch(name, own):
    net = grown(name, own_blocks=own)
    x = torch.randn(2, 3, 64, 96)
    first, second = net(x)
    assert first.shape == second.shape == (2, 3, 64, 96)
    assert len(net.own_blocks) == own - 1
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_output_is_the_network_s_own(name):
    """What is published, the network without its branch, predicts what was trained."""
    net = grown(name, own_blocks=2).eval()
    x = torch.randn(2, 3, 64, 96)
    assert torch.equal(net(x)[0], net.net(x))


@pytest.mark.parametrize("own", [1, 2, 3])
def test_the_branch_s_loss_reaches_the_shared_blocks_and_no_other(own):
    """With k own ones, blocks 1..N-k of f learn from the branch (no stop-gradient), the other k do not."""
    net = grown(own_blocks=own)
    net(torch.randn(2, 3, 64, 96))[1].square().mean().backward()
    shared = len(net.net.blocks) - (own - 1)
    assert [moved(block) for block in net.net.blocks] == [True] * shared + [False] * (own - 1)
    assert not moved(net.net.head)
    assert moved(net.own_head)
    assert all(moved(block) for block in net.own_blocks)


def test_the_network_s_loss_does_not_reach_the_branch():
    net = grown(own_blocks=2)
    net(torch.randn(2, 3, 64, 96))[0].square().mean().backward()
    assert moved(net.net)
    assert not moved(net.own_blocks)
    assert not moved(net.own_head)


LITE0 = {"encoder": "timm:tf_efficientnet_lite0"}


@pytest.mark.parametrize(
    ("config", "shared"),
    [
        (deeplabv2.Config(encoder="resnet101"), 0.65),  # the paper's
        (deeplabv2.Config(encoder="resnet50"), 0.36),
        (dsnet.Config(width=0.5, blocks=[2, 2, 2, 2]), 0.85),  # of the streets
        (deeplabv3plus.Config(**LITE0, deep_stages="drop"), 0.36),
        (deeplabv3plus.Config(**LITE0), 0.80),
    ],
)
def test_the_share_of_the_backbone_that_task_2_teaches(config, shared):
    """A block is one stage, whatever maps an extractor gives: without the last two of lite0 8 % would remain."""
    if "timm" in str(config):
        pytest.importorskip("timm")
    net = MODULES[config.name].build(config, 3)
    net = with_branch(net, config.model_dump(mode="json"), BranchConfig(own_blocks=2), 3)
    sizes = [sum(p.numel() for p in block.parameters()) for block in net.net.blocks]
    assert sum(sizes[: net.shared]) / sum(sizes) == pytest.approx(shared, abs=0.005)


def test_an_own_block_is_three_bottlenecks_of_the_width_asked_for():
    """Block 4 of this dsnet: 20 channels in, 18 out at half the size; at half its width 9, so planes of 2."""
    net = grown(own_blocks=2, width=0.5)
    inputs, planes, outputs = 20, 2, 9
    assert net.net.features(torch.zeros(1, 3, 64, 64))[3].shape[1] == inputs
    first = inputs * planes + planes * planes * 9 + planes * outputs + inputs * outputs
    later = 2 * (outputs * planes + planes * planes * 9 + planes * outputs)
    assert sum(p.numel() for p in net.own_blocks.parameters()) == first + later
    assert net.own_blocks[0](torch.zeros(1, inputs, 4, 4)).shape == (1, outputs, 2, 2)
    assert not [m for m in net.own_blocks.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "config", [NETWORKS["dsnet"], NETWORKS["deeplabv2"], deeplabv3plus.Config(**LITE0, deep_stages="drop")]
)
def test_an_own_block_is_alive_from_the_start_at_any_width(config):
    """Its first unit adds as much to the skip as the skip gives, and the block neither fades nor blows a map up."""
    if "timm" in str(config):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    net = MODULES[config.name].build(config, 3)
    net = with_branch(net, config.model_dump(mode="json"), BranchConfig(own_blocks=2), 3)
    x = net.net.features(torch.randn(2, 3, 64, 96))[net.shared - 1]
    unit = net.own_blocks[0][0]
    with torch.no_grad():
        body, skip, after = (scale(y) for y in (unit.body(x), unit.skip(x), net.own_blocks[0](x)))
    assert 0.3 < body / skip < 3
    assert 0.3 < after / scale(x) < 3


def scale(x: torch.Tensor) -> float:
    """The root of its mean square."""
    return x.square().mean().sqrt().item()


def test_at_least_one_block_must_be_shared():
    with pytest.raises(ConfigError, match=r"branch.own_blocks: found 6; 'dsnet' has 5 block\(s\) .* at most 5\. L"):
        grown(own_blocks=6)


def test_the_branch_s_logits_are_enlarged_as_the_network_s_are():
    """DeepLabv2 aligns corners, the others do not."""
    x = torch.randn(1, 3, 64, 96)
    for name, aligned in (("deeplabv2", True), ("dsnet", False)):
        net = grown(name, own_blocks=1).eval()
        small = net.own_head(net.net.features(x))
        expected = nn.functional.interpolate(small, (64, 96), mode="bilinear", align_corners=aligned)
        torch.testing.assert_close(net(x)[1], expected if small.shape[2:] != x.shape[2:] else small)


def test_conv6_of_the_paper_is_dilated_by_4_and_keeps_the_size():
    """Table VII: conv6 stands beside conv5, which at output stride 8 has rate 4 in every block."""
    config = deeplabv2.Config()
    with torch.device("meta"):
        net = with_branch(deeplabv2.build(config, 19), config.model_dump(mode="json"), BranchConfig(own_blocks=2), 19)
    rates = [m.dilation for m in net.own_blocks.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    strides = {m.stride for m in net.own_blocks.modules() if isinstance(m, nn.Conv2d)}
    assert rates == [(4, 4)] * 3
    assert strides == {(1, 1)}


def test_shared_blocks_run_once():
    net = grown(own_blocks=2)
    calls = []
    for block in net.net.blocks:
        block.register_forward_hook(lambda *_: calls.append(1))
    net(torch.randn(2, 3, 64, 96))
    assert len(calls) == len(net.net.blocks)
