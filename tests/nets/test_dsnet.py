"""The road-scene network and the auxiliary network have the sizes their paper states."""

import pytest
import torch
from safetensors.torch import save_file

from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.costs.macs import gmacs, parameters
from fewmask.methods.auxiliary import judge as auxiliary
from fewmask.nets.dsnet import dsnet


def test_the_paper_s_parameter_count():
    """Section 3.2.1 and Table 2: 2.11 M parameters on Cityscapes (19 classes)."""
    assert parameters(dsnet.build(dsnet.Config(), 19)) == 2_105_555
    assert parameters(dsnet.build(dsnet.Config(), 11)) == 2_056_395


def test_multiply_accumulates_at_camvid_size():
    assert gmacs(dsnet.build(dsnet.Config(), 19), (360, 480)) == pytest.approx(7.63, abs=0.01)


def test_block_outputs_have_the_channels_and_strides_of_the_design():
    net = dsnet.build(dsnet.Config(), 11).eval()
    shapes = [tuple(x.shape[1:]) for x in net.features(torch.zeros(1, 3, 360, 480))]
    assert shapes[1:] == [(128, 90, 120), (192, 45, 60), (352, 22, 30), (432, 11, 15)]


@pytest.mark.parametrize("size", [(64, 96), (97, 131), (40, 40)])
def test_logits_have_the_size_of_the_input(size):
    net = dsnet.build(dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]), 5).eval()
    assert net(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_blocks_start_from_the_file_named_or_it_is_refused(tmp_path):
    def small(file=None):
        weights = file and str(tmp_path / file)
        return dsnet.build(dsnet.Config(width=0.25, blocks=[1, 1, 1, 1], weights=weights), 5)

    state = small().blocks.state_dict()
    torch.save(state, tmp_path / "fits.pt")
    save_file(state, tmp_path / "fits.safetensors")
    for file in ("fits.pt", "fits.safetensors"):
        found = small(file).blocks.state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)
    key = next(iter(state))
    torch.save({"extra": state.pop(key), **state}, tmp_path / "other.pt")
    with pytest.raises(ArtefactError) as error:
        small("other.pt")
    assert f"1 missing ({key}); 1 unknown (extra)" in str(error.value)
    with pytest.raises(ConfigError, match=r"found no file .*nowhere.pt; expected the path of a .pt or .safetensors"):
        small("nowhere.pt")


def test_auxiliary_network_of_table_1():
    assert parameters(auxiliary.build(auxiliary.Config(), 19)) == 1_363_041
    assert parameters(auxiliary.build(auxiliary.Config(), 11)) == 1_360_737
    net = auxiliary.build(auxiliary.Config(width=0.1), 4).eval()
    assert net(torch.rand(2, 4, 33, 50).softmax(1)).shape == (2, 1, 33, 50)
