"""The routing network: its grid and size, gates that skip without changing anything, fixed architectures, weights."""

import math
from collections import Counter

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.consistency.ema import Ema
from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.costs.macs import parameters
from fewmask.methods.mlmt import tagger
from fewmask.methods.three_stage.branch import BranchConfig, with_branch
from fewmask.nets.base.published import Header, load_model, save_model
from fewmask.nets.base.segnet import Levels, SegNet
from fewmask.nets.routing import cells
from fewmask.nets.routing.cells import PATHS, Cell, Gate
from fewmask.nets.routing.routing import Config, build, encoder_of, full_grid, grid_of, text_of

SMALL = {"layers": 3, "channels": 4}
FIXED = ["k", "kd -", "k ku kd", "k - k k"]


def small(**fields) -> SegNet:
    torch.manual_seed(0)
    return build(Config.model_validate({**SMALL, **fields}), 3).eval()


def choosy(**fields) -> SegNet:
    """Its gates open for some images and not for others."""
    net = small(**fields)
    for cell in encoder_of(net).cells():
        cell.gate.decide.weight.data.normal_(0, 1)
        cell.gate.decide.bias.data.normal_(0, 1)
    return net


def images(count: int = 6, size: tuple[int, int] = (32, 64)) -> Tensor:
    """Noise, in each image of another contrast and brightness."""
    torch.manual_seed(1)
    return torch.randn(count, 3, *size) * torch.linspace(0.2, 3, count).view(-1, 1, 1, 1) + torch.randn(count, 3, 1, 1)


def computed(net: nn.Module) -> Counter:
    """How many images each module will see from now on."""
    seen = Counter()
    for module in net.modules():
        module.register_forward_hook(lambda module, inputs, output: seen.update({module: len(inputs[0])}))
    return seen


# ---- the grid


def test_the_network_of_the_paper_has_62_cells_and_17_78_million_parameters():
    """Stem 27 * 64 and two separable convolutions of 64 * 9 + 64 * 64, three batch norms of 128; the decoder
    512 * 256 + 256 * 128 + 128 * 64 + 64 * 64, batch norms of 2 * 512, 19 classes 64 * 9 * 19 + 19."""
    net = build(Config(), 19)
    grid = encoder_of(net)
    cells = list(grid.cells())
    assert [len(layer) for layer in grid.layers] == [1, 2, 3] + [4] * 14
    assert (len(cells), parameters(net)) == (62, 17_784_968)
    assert parameters(grid.stem) == 27 * 64 + 2 * (64 * 9 + 64 * 64) + 3 * 128 == 11_456
    assert parameters(net.head) == 176_128 + 1_024 + 10_963 == 188_115
    assert sum(parameters(cell.gate) for cell in cells) == 2_523_125


def test_every_cell_has_the_paths_that_its_place_allows():
    """Each layer reaches a level deeper, up to four; nothing leaves the grid, and the last layer keeps."""
    grid = [text_of(layer) for layer in full_grid(5)]
    assert grid == ["kd", "kd kud", "kd kud kud", "kd kud kud ku", "kd kud kud ku", "k k k k"]
    assert [text_of(layer) for layer in full_grid(3)][2:] == ["kd kud kud", "k k k k"]
    cells = encoder_of(small()).cells()
    assert [cell.paths for cell in cells] == [paths for layer in full_grid(3) for paths in layer]


def test_maps_of_all_levels_leave_the_grid():
    levels = small().features(torch.zeros(2, 3, 64, 96))[-1]
    assert [tuple(y.shape[1:]) for y in levels.maps] == [(4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]
    assert levels.gates.shape == (2, 10, 3)
    assert levels.size == (16, 24)
    assert (levels.gates[:, :3] > 0).tolist() == [[[True, False, True], [True, False, True], [True, True, True]]] * 2
    assert (levels.gates[:, 6:] > 0).tolist() == [[[True, False, False]] * 4] * 2


@pytest.mark.parametrize("size", [(64, 96), (50, 70), (33, 17), (1, 1)])
def test_logits_have_the_size_of_the_input(size):
    net = choosy()
    x = images(2, size)
    with torch.no_grad():
        embedding, logits = net.embedded(x)
        assert torch.equal(net(x), logits)
    assert logits.shape == (2, 3, *size)
    assert embedding.shape == (2, net.head.channels, math.ceil(size[0] / 4), math.ceil(size[1] / 4))


def test_what_32_does_not_divide_is_padded_and_cropped():
    """Of 13 x 18 places the last row and column see another border: of 52 x 72 pixels those from (46, 66) on."""
    net, x = choosy(), images(2, (52, 72))
    with torch.no_grad():
        found, padded = net(x), net(F.pad(x, (0, 24, 0, 12)))
    torch.testing.assert_close(found[:, :, :46, :66], padded[:, :, :46, :66])


# ---- the gate


def test_a_gate_begins_open():
    """tanh 1.5 = 0.905, but for what the image adds."""
    gate = Gate(4, 2, small=False)
    gate.decide.weight.data.zero_()
    torch.testing.assert_close(gate(torch.randn(3, 4, 5, 5)), torch.full((3, 2), 0.90515), atol=1e-5, rtol=0)


def test_a_gate_is_closed_below_0_and_up_to_the_bound():
    gate = Gate(4, 4, small=False)
    gate.decide.weight.data.zero_()
    gate.decide.bias.data = torch.tensor([-2.0, 0.9e-4, 1.1e-4, 0.5])
    found = gate(torch.randn(1, 4, 5, 5))[0]
    assert found.tolist() == [0, 0, pytest.approx(1.1e-4), pytest.approx(math.tanh(0.5))]
    found.sum().backward()
    assert (gate.decide.bias.grad > 0).tolist() == [False, False, True, True]


@pytest.mark.parametrize(("size", "seen"), [((16, 24), (4, 6)), ((3, 2), (1, 1))])
def test_a_small_gate_looks_at_a_quarter_of_each_side(size, seen):
    gate, x = Gate(4, 2, small=True).eval(), torch.randn(2, 4, *size)
    reduced = F.interpolate(x, seen, mode="bilinear", align_corners=False)
    found = gate(x)
    gate.small = False
    torch.testing.assert_close(found, gate(reduced))
    assert all(cell.gate.small for cell in encoder_of(small(small_gates=True)).cells())


SMOOTH = pytest.approx([0, 1, 3, 4], rel=1e-3)  # 0, 4 at twice the size: bilinear, corners not aligned


def coarse(first: nn.Conv2d) -> Tensor:
    """0, 4 along each row, of as many channels as the convolution takes, which shall hand them on."""
    inputs = first.weight.shape[1]
    first.weight.data.fill_(1 / inputs)
    return torch.tensor([0.0, 4.0]).expand(1, inputs, 2, 2).contiguous()


def test_a_map_that_goes_up_is_enlarged_between_the_centres_of_its_pixels():
    up = encoder_of(small()).layers[1][1].up
    assert up(coarse(up[0]))[0, 0, 0].tolist() == SMOOTH


def test_the_decoder_enlarges_alike():
    """Finer levels are 0."""
    decoder, seen = small().head, []
    decoder.steps[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    finer = [torch.zeros(1, 4 * 2**level, 16 // 2**level, 16 // 2**level) for level in range(3)]
    decoder.embed([Levels([*finer, coarse(decoder.steps[0][0])], torch.zeros(1, 10, 3), (16, 16))])
    assert seen[0][0, 0, 0].tolist() == SMOOTH


def test_gradients_reach_every_gate_and_every_weight():
    net = small().train()
    net(images()).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


# ---- what is closed is left out


def test_images_choose_their_own_ways():
    """So that the tests below say something: cells open and closed, for all images, for some, for none."""
    with torch.no_grad():
        gates = choosy().features(images())[-1].gates
    active = (gates > 0).any(2).sum(0)
    assert active.min() == 0
    assert active.max() == 6
    assert len(active.unique()) > 3
    assert ((gates > 0).any(2) & (gates[:, :, 0] == 0)).any()  # open, but not to keep


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_skipping_gives_what_computing_all_gives(count, memory):
    net, x = choosy().to(memory_format=memory), images(count).contiguous(memory_format=memory)
    dense = net(x)
    with torch.no_grad():
        torch.testing.assert_close(net(x), dense)


def test_an_image_takes_its_way_whatever_the_others_take():
    net, x = choosy(), images()
    with torch.no_grad():
        torch.testing.assert_close(net(x), torch.cat([net(one[None]) for one in x]))


def test_only_what_is_open_is_computed_and_only_for_the_images_that_use_it(monkeypatch):
    monkeypatch.setattr(cells, "WORTH", 1.0)
    net = choosy()
    seen = computed(net)
    with torch.no_grad():
        opened = net.features(images())[-1].gates > 0
    for number, cell in enumerate(encoder_of(net).cells()):
        assert seen[cell.gate] == 6
        assert seen[cell.op] == opened[:, number].any(1).sum()
        for path in {"up", "down"} & set(cell.paths):
            assert seen[getattr(cell, path)] == opened[:, number, PATHS.index(path)].sum()


def test_images_are_gathered_where_at_most_half_of_those_that_could_are_open():
    net = choosy()
    seen = computed(net)
    with torch.no_grad():
        opened = net.features(images())[-1].gates > 0
    for number, cell in enumerate(encoder_of(net).cells()):
        count = int(opened[:, number].any(1).sum())
        assert seen[cell.op] == (count if count <= 3 else 6)


@pytest.mark.parametrize("mode", ["gradients", "training", "teacher"])
def test_where_something_is_learned_all_is_computed(mode):
    """Statistics of batch norm, too, are learned, a teacher's without gradients."""
    net = choosy()
    if mode == "teacher":
        net = Ema(net).train()
    seen = computed(net)
    with torch.set_grad_enabled(mode == "gradients"):
        net.train(mode != "gradients")(images())
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    assert {seen[module] for module in net.modules() if isinstance(module, kinds)} == {6}


@pytest.mark.parametrize("dense", [True, False])
def test_a_closed_cell_hands_its_input_on(dense):
    """The others' gates do not matter; the input is no output of a ReLU."""
    cell = Cell(4, ["keep", "up", "down"]).eval()
    x = torch.randn(3, 4, 8, 8)
    cell.gate.forward = lambda x: torch.tensor([[0.0, 0, 0], [0.5, 0, 0.25], [0, 0, 0]])
    with torch.set_grad_enabled(dense):
        maps, gates = cell(x)
        h = F.relu(cell.op(x) + x)
        assert torch.equal(maps["keep"][[0, 2]], x[[0, 2]])
        torch.testing.assert_close(maps["keep"][1], 0.5 * h[1])
        torch.testing.assert_close(maps["down"], torch.tensor([0, 0.25, 0]).view(3, 1, 1, 1) * cell.down(h))
        assert ("up" in maps) == dense
        assert not maps.get("up", torch.zeros(1)).any()
    assert gates.sum(1).tolist() == [0, 0.75, 0]


@pytest.mark.parametrize("dense", [True, False])
def test_all_gates_closed_leave_stem_and_decoder(dense):
    net = small()
    for cell in encoder_of(net).cells():
        cell.gate.decide.bias.data.fill_(-100)
    seen, x = computed(net), images()
    with torch.set_grad_enabled(dense):
        levels = net.features(x)[-1]
        torch.testing.assert_close(levels.maps[0], encoder_of(net).stem(x))
        assert not any(y.any() for y in levels.maps[1:])
        assert net(x).isfinite().all()
    assert any(seen[cell.op] for cell in encoder_of(net).cells()) == dense


# ---- a fixed architecture


def test_the_full_text_is_the_full_grid():
    whole = [text_of(layer) for layer in full_grid(3)]
    assert grid_of(Config(**SMALL, paths=whole)) == full_grid(3)
    assert grid_of(Config(**SMALL, paths=["dk", "kd duk", "kd kud kud", "k k k k"])) == full_grid(3)


def test_a_fixed_network_has_the_parameters_of_its_paths_alone():
    grid = encoder_of(small(paths=FIXED))
    assert [text_of([cell.paths for cell in layer]) for layer in grid.layers] == FIXED
    for cell in grid.cells():
        names = {name for name, _ in cell.named_children()}
        assert names == ({"gate", "op"} | set(cell.paths) - {"keep"} if cell.paths else set())
        assert not cell.paths or parameters(cell.gate) == len(cell.paths)


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        (["kd", "kd kud"], "2 texts for layers: 3; expected 4"),
        (["kd", "kd kud", "kd kud", "k k k k"], "found the layer 'kd kud'; expected 'kd kud kud'"),
        (["ku", "kd kud", "kd kud kud", "k k k k"], "found the layer 'ku'; expected 'kd', or '-' or less"),
        (["kk", "kd kud", "kd kud kud", "k k k k"], "found the layer 'kk'; expected 'kd'"),
        (["kd", "kd kud", "kd kud kud", "k k k kd"], "found the layer 'k k k kd'; expected 'k k k k'"),
        (["kd", "kd kud", "kd kud kud", "k k k x"], "found the layer 'k k k x'; expected 'k k k k'"),
        (["k-", "kd kud", "kd kud kud", "k k k k"], "found the layer 'k-'; expected 'kd'"),
    ],
)
def test_a_text_that_does_not_lie_in_the_grid_is_one_error(paths, error):
    with pytest.raises(ValidationError) as found:
        Config(**SMALL, paths=paths)
    assert found.value.error_count() == 1
    assert error in str(found.value)


def test_too_few_layers_to_reach_the_deepest_level_are_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 3"):
        Config(layers=2)


@pytest.mark.parametrize("dense", [True, False])
def test_factors_are_gates_that_do_not_look(dense):
    """A dynamic network of constant gates, those of some paths closed, is the fixed one with these factors."""
    dynamic, fixed = small(), small(paths=[text_of(layer) for layer in full_grid(3)])
    torch.manual_seed(2)
    for one, other in zip(encoder_of(dynamic).cells(), encoder_of(fixed).cells(), strict=True):
        one.gate.decide.weight.data.zero_()
        one.gate.decide.bias.data = torch.randn(len(one.paths))
        other.gate.factors.data = one.gate.decide.bias.data.tanh()
    shared = {name: value for name, value in dynamic.state_dict().items() if ".gate." not in name}
    fixed.load_state_dict(shared, strict=False)
    x = images(2)
    with torch.set_grad_enabled(dense):
        torch.testing.assert_close(fixed(x), dynamic(x))
        assert torch.equal(fixed.features(x)[-1].gates, dynamic.features(x)[-1].gates)


def test_less_of_the_grid_is_the_whole_with_the_rest_closed():
    """Cells without paths hand on; a level that nothing reaches is 0."""
    whole, less = small(paths=[text_of(layer) for layer in full_grid(3)]), small(paths=FIXED)
    shared = {name: value for name, value in less.state_dict().items() if ".gate." not in name}
    whole.load_state_dict(shared, strict=False)
    for one, other in zip(encoder_of(whole).cells(), encoder_of(less).cells(), strict=True):
        one.gate.factors.data = torch.tensor([float(path in other.paths) for path in one.paths])
    torch.testing.assert_close(less(images(2)), whole(images(2)))


# ---- weights, and the networks around it


def published(net: SegNet, config: Config, path) -> None:
    header = Header(config.model_dump(), ["a", "b", "c"], [[0, 0, 0]] * 3, [0.5] * 3, [0.2] * 3, [32, 64], {}, {})
    save_model(path, net, header)


def test_the_grid_starts_from_the_file_named_or_it_is_refused(tmp_path):
    net = choosy()
    torch.save(net.blocks.state_dict(), tmp_path / "row.pt")
    published(net, Config(**SMALL), tmp_path / "model.safetensors")
    for file in ("row.pt", "model.safetensors"):
        state = small(weights=str(tmp_path / file)).blocks.state_dict()
        assert all(torch.equal(state[name], value) for name, value in net.blocks.state_dict().items())
        for other in ({"channels": 8}, {"layers": 4}, {"paths": FIXED}):
            with pytest.raises(ArtefactError, match=rf"{file}: other weights than 'network' has"):
                small(weights=str(tmp_path / file), **other)
    with pytest.raises(ConfigError, match=r"found no file .*nowhere.pt; expected the path of a .pt or .safetensors"):
        small(weights=str(tmp_path / "nowhere.pt"))


@pytest.mark.parametrize("paths", [None, FIXED])
def test_a_published_network_predicts_what_was_trained(tmp_path, paths):
    net, x = small(paths=paths), images(2)
    published(net, Config(**SMALL, paths=paths), tmp_path / "model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "model.safetensors").net(x), net(x))


def test_a_second_branch_is_a_second_head():
    """The grid is one block: no branch can leave it half-way."""
    net, section = small(), Config(**SMALL).model_dump()
    first, second = with_branch(net, section, BranchConfig(own_blocks=1), 3).eval()(images(2, (50, 70)))
    assert first.shape == second.shape == (2, 3, 50, 70)
    assert torch.equal(first, net(images(2, (50, 70))))
    with pytest.raises(ConfigError, match=r"found 2; 'routing' has 1 block\(s\) and a head, .* expected at most 1\."):
        with_branch(net, section, BranchConfig(own_blocks=2), 3)


def test_a_tagger_can_look_with_it():
    """At the map without its padding: of an image whose sides 32 does not divide."""
    net, x = choosy(), images(2, (50, 70))
    with torch.no_grad():
        embedding, _ = net.embedded(x)
        areas = net.head.score(embedding).softmax(1).mean((2, 3))
        found = tagger.on_network(net, 3, None).eval()(x)
    torch.testing.assert_close(found, (areas.clamp_min(1e-6) / 0.01).log())


@pytest.mark.parametrize("channels", [4, 8])
def test_a_strided_pointwise_convolution_has_the_right_output_and_gradients(channels):
    """In double precision, which oneDNN does not compute, it is the same convolution."""
    torch.manual_seed(0)
    layer = cells.conv(channels, 2 * channels, 1, stride=2)
    x = torch.randn(4, channels, 8, 15).to(memory_format=torch.channels_last)
    layer(x).square().sum().backward()
    weight = layer.weight.detach().double().requires_grad_()
    expected = F.conv2d(x.double(), weight, stride=2)
    expected.square().sum().backward()
    torch.testing.assert_close(layer(x).double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.weight.grad.double(), weight.grad, atol=1e-3, rtol=1e-4)
