"""The tagger: which classes an image shows, on any backbone, at any size."""

import pytest
import torch
from torch.nn import functional as F

from fewmask.core.errors import ConfigError
from fewmask.methods.mlmt import tagger
from fewmask.nets.base.encoders import EncoderConfig
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import network_module, segmentation_module
from fewmask.nets.base.segnet import run_blocks
from fewmask.nets.base.weights import CAFFE, IMAGENET

NETWORK = {"name": "dsnet", "width": 0.25, "blocks": [1, 1, 1, 1]}


def small(size=None) -> tagger.Tagger:
    torch.manual_seed(0)
    return tagger.build(tagger.Config(network=NETWORK, size=size), 4).eval()


@pytest.mark.parametrize("network", [NETWORK, {"encoder": "resnet18", "output_stride": 32}])
def test_a_logit_a_class(network):
    net = tagger.build(tagger.Config(network=network), 4).eval()
    assert net(torch.rand(2, 3, 64, 96)).shape == (2, 4)


def test_images_are_stretched_to_its_size_as_pillow_does():
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    stretched = F.interpolate(x, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(small((32, 32))(x), small()(stretched))


def test_an_encoder_of_its_own_sees_images_at_its_own_scale():
    """Bytes less (122.68, 116.67, 104.01), as the segmentation network has them, become ImageNet's."""
    images = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    net, seen = small(), []
    net.rescale(CAFFE, IMAGENET)
    net.seen.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        net(Normalise(*CAFFE)(images))
    torch.testing.assert_close(seen[0], Normalise(*IMAGENET)(images), atol=1e-4, rtol=1e-4)


def test_an_encoder_s_features_are_averaged():
    net = tagger.on_encoder(EncoderConfig(encoder="resnet18", output_stride=32), 4, None).eval()
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        last = run_blocks(net.seen.blocks, x)[-1]
        torch.testing.assert_close(net(x), net.classify(last.mean((2, 3))))


def test_a_network_s_classes_are_there_by_their_area():
    """Before any training: from one hundredth of the image on; logits are log area - log 1/100."""
    net = small()
    logits = torch.tensor([4.0, 0, -90, -90]).view(1, 4, 1, 1).repeat(1, 1, 2, 2)
    logits[:, 1, 0, 0] = 90.0  # a quarter is of class 1
    net.seen.net.head.forward = lambda features: logits
    share = torch.tensor([4.0, 0]).softmax(0)
    expected = torch.stack([0.75 * share[0], 0.25 + 0.75 * share[1], torch.tensor(1e-6), torch.tensor(1e-6)])
    with torch.no_grad():
        found = net(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(found, (expected / 0.01).log()[None])
    assert (found > 0).tolist() == [[True, True, False, False]]


def test_it_is_a_network_but_none_that_segments_images():
    assert network_module("tagger") is tagger
    with pytest.raises(ConfigError, match="'tagger' does not segment images"):
        segmentation_module("tagger")
