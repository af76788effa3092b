"""Batch norm in training: what each mode fixes, and which frozen statistics would mean nothing."""

import copy
from typing import get_args

import pytest
import torch
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.learning.batchnorm import Mode, require_sense, set_batch_norm, unrecorded
from fewmask.nets.base.encoders import EncoderConfig
from fewmask.nets.dsnet import dsnet

LITE0 = "timm:tf_efficientnet_lite0"


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.SyncBatchNorm(4), nn.Dropout(0.5)), nn.GroupNorm(2, 4)
    )


def refused(section):
    """The modes that make no sense for a network."""
    found = []
    for mode in get_args(Mode):
        try:
            require_sense(section, mode)
        except ConfigError:
            found.append(mode)
    return found


def norms(net):
    return [net[1], net[2][0]]


def after_a_step(mode):
    """The network after one forward pass and one step of SGD on the first batch norm alone (Sync needs a GPU)."""
    net = nn.Sequential(*small()[:2]).train()
    set_batch_norm(net, mode)
    learning = [p for p in net.parameters() if p.requires_grad]
    (net(2 + torch.randn(4, 3, 5, 5)) ** 3).sum().backward()
    torch.optim.SGD(learning, lr=0.1).step()
    return net


@pytest.mark.parametrize(
    ("mode", "statistics", "affine"), [("trained", True, True), ("statistics", True, False), ("frozen", False, False)]
)
def test_what_a_step_changes(mode, statistics, affine):
    before, after = small()[1].state_dict(), after_a_step(mode)[1].state_dict()
    changed = {name: not torch.equal(before[name], after[name]) for name in before}
    assert changed == {
        "weight": affine,
        "bias": affine,
        "running_mean": statistics,
        "running_var": statistics,
        "num_batches_tracked": statistics,
    }


@pytest.mark.parametrize("mode", ["trained", "statistics"])
def test_unfrozen_batch_norm_normalises_by_the_batch(mode):
    net = nn.Sequential(nn.BatchNorm2d(3)).train()
    set_batch_norm(net, mode)
    y = net(5 + 2 * torch.randn(8, 3, 9, 9))
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_frozen_batch_norm_normalises_by_its_statistics():
    """(7 - 3) / sqrt(4) = 2, of a batch that is 7 everywhere."""
    norm = nn.BatchNorm2d(1, eps=0).train()
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(4.0)
    set_batch_norm(norm, "frozen")
    torch.testing.assert_close(norm(torch.full((2, 1, 3, 3), 7.0)), torch.full((2, 1, 3, 3), 2.0))


def test_only_batch_norm_is_frozen_and_again_after_train():
    net = small().train()
    for _ in range(2):  # twice is once
        set_batch_norm(net, "frozen")
        assert [norm.training for norm in norms(net)] == [False, False]
        assert [p.requires_grad for norm in norms(net) for p in norm.parameters()] == [False] * 4
        assert all(m.training for m in (net, net[0], net[2], net[2][1], net[3]))
        assert all(p.requires_grad for m in (net[0], net[3]) for p in m.parameters())
    net.train()
    assert [norm.training for norm in norms(net)] == [True, True]
    set_batch_norm(net, "frozen")
    assert [norm.training for norm in norms(net)] == [False, False]


def test_the_new_head_of_a_network_keeps_its_own_batch_norm():
    net = dsnet.build(dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]), 3).train()
    set_batch_norm(net, "frozen")
    row, head = (
        [m.training for m in part.modules() if isinstance(m, nn.BatchNorm2d)] for part in (net.blocks, net.head)
    )
    assert (set(row), set(head)) == ({False}, {True})


@pytest.mark.parametrize("mode", ["trained", "statistics"])
def test_an_evaluated_network_is_not_set_to_training(mode):
    net = small().eval()
    set_batch_norm(net, mode)
    assert not any(m.training for m in net.modules())


def test_batch_norm_without_affine_parameters_is_frozen_as_well():
    norm = nn.BatchNorm2d(3, affine=False).train()
    set_batch_norm(norm, "frozen")
    assert not norm.training


def test_timm_s_batch_norm_with_activation_counts():
    timm = pytest.importorskip("timm")
    net = timm.create_model("mobilenetv3_small_050", features_only=True).train()
    found = [m for m in net.modules() if type(m).__name__ == "BatchNormAct2d"]
    assert len(found) > 20
    set_batch_norm(net, "frozen")
    assert not any(m.training or m.weight.requires_grad for m in found)


@pytest.mark.parametrize("section", [EncoderConfig(), dsnet.Config()])
def test_statistics_of_an_untrained_network_are_not_frozen(section):
    with pytest.raises(ConfigError) as error:
        require_sense(section, "frozen")
    assert str(error.value) == (
        "network.weights: found null with 'batch_norm: frozen', expected weights, since the statistics of an untrained "
        "network mean nothing; name weights, or write 'batch_norm: trained'."
    )


@pytest.mark.parametrize(
    ("encoder", "weights", "whose"),
    [
        ("resnet50", "torchvision", "torchvision's"),
        (LITE0, "lite0", "timm's tf_efficientnet_lite0"),
        ("timm:resnet50", "some.pth", "timm's resnet50"),
    ],
)
def test_statistics_of_another_input_scale_are_not_frozen(encoder, weights, whose):
    section = EncoderConfig(encoder=encoder, weights=weights, input="caffe")
    with pytest.raises(ConfigError) as error:
        require_sense(section, "frozen")
    assert str(error.value) == (
        "network.input: found caffe (0..255) with 'batch_norm: frozen', expected auto, since the statistics of "
        f"{whose} weights belong to images in 0..1; write 'input: auto', or 'batch_norm: statistics'."
    )
    assert refused(section) == ["frozen"]  # a published method has "statistics"


@pytest.mark.parametrize(
    "fields",
    [
        {"encoder": "resnet50", "weights": "torchvision"},
        {"encoder": "resnet101", "weights": "coco.pth", "input": "caffe"},
        {"encoder": LITE0, "weights": "lite0"},
    ],
)
def test_statistics_that_belong_to_the_weights_are_frozen(fields):
    assert refused(EncoderConfig(**fields)) == []
    assert refused(EncoderConfig()) == ["frozen"]


def test_what_is_not_recorded_is_normalised_by_its_batch_all_the_same():
    net, x = nn.Sequential(*small()[:2]).train(), 2 + torch.randn(4, 3, 5, 5)
    before = copy.deepcopy(net.state_dict())
    with unrecorded(net):
        found = net(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(found, net(x))
    assert not torch.equal(net[1].running_mean, before["1.running_mean"])  # recorded again


def test_what_is_frozen_or_has_no_statistics_is_so_in_unrecorded_passes_and_after_them():
    frozen, without = nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3, track_running_stats=False)
    frozen.running_mean.fill_(1.0)
    x = torch.randn(4, 3, 5, 5)
    with unrecorded(nn.Sequential(frozen, without)):
        inside = frozen(x)
    assert torch.equal(inside, frozen(x))
    assert (frozen.track_running_stats, without.track_running_stats) == (True, False)
