"""The ways that images take: all are seen, in order; what they cost."""

import json
from types import SimpleNamespace

import pytest
import torch

from fewmask.core.files import metrics_json
from fewmask.costs.macs import gmacs, parameters
from fewmask.costs.route_cost import costs_of
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing import routing
from fewmask.nets.routing.routing import encoder_of, full_grid
from fewmask.scoring.evaluation import cost
from fewmask.scoring.gates import gates_of_all, recorded, rows

SIZE = (32, 64)
GRID = [paths for layer in full_grid(3) for paths in layer]


def gated(**fields) -> SegNet:
    torch.manual_seed(0)
    return routing.build(routing.Config.model_validate({"layers": 3, "channels": 4, **fields}), 3).eval()


def gateless() -> SegNet:
    return dsnet.build(dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]), 3).eval()


def all_gates(*values: float) -> torch.Tensor:
    """(N, cells, 3): those of each image, the same wherever the small network has a path."""
    able = torch.tensor([[path in paths for path in ("keep", "up", "down")] for paths in GRID])
    return torch.tensor(values).view(-1, 1, 1) * able


# ---- what is recorded


def test_all_images_are_seen_in_order():
    net, x = gated(), torch.randn(5, 3, *SIZE) * torch.arange(1.0, 6).view(-1, 1, 1, 1)
    with torch.inference_mode(), recorded(net) as seen:
        for part in x.split(2):
            net(part)
    with torch.no_grad():
        expected = net.features(x)[-1].gates
    torch.testing.assert_close(gates_of_all(seen), expected)
    assert [len(gates) for gates in seen] == [2, 2, 1]
    assert len(expected[:, :, 0].unique(dim=0)) == 5


def test_nothing_is_recorded_afterwards_nor_after_an_error():
    net, x = gated(), torch.zeros(1, 3, *SIZE)
    with recorded(net) as seen:
        net(x)
    with pytest.raises(KeyError), recorded(net) as broken:
        net(x)
        raise KeyError
    net(x)
    assert (len(seen), len(broken)) == (1, 1)
    assert not encoder_of(net)._forward_hooks


def test_a_network_without_gates_has_nothing_to_record():
    net = gateless()
    with recorded(net) as seen:
        net(torch.zeros(1, 3, *SIZE))
    assert gates_of_all(seen) is None


# ---- the table


def test_rows_are_means_over_images():
    """The initial cell keeps 0.4 and 0, goes down 0 and 0: mean 0.2, in use by one of two. The last cell is closed."""
    gates = all_gates(0.4, 0.0)
    gates[:, 0, 2] = gates[:, -1] = 0
    table = rows(gated(), gates)
    assert table[0] == {"layer": 0, "level": 0, "keep": pytest.approx(0.2), "up": None, "down": 0.0, "open": 0.5}
    assert table[-1] == {"layer": 3, "level": 3, "keep": 0.0, "up": None, "down": None, "open": 0.0}
    assert [(row["layer"], row["level"]) for row in table] == [(i, j) for i in range(4) for j in range(i + 1)]
    for row, paths in zip(table, GRID, strict=True):
        assert [path for path in ("keep", "up", "down") if row[path] is not None] == paths


def test_a_fixed_network_s_rows_have_its_paths_alone():
    net = gated(paths=["k", "kd -", "k ku kd", "k - k k"])
    with torch.no_grad():
        table = rows(net, net.features(torch.zeros(2, 3, *SIZE))[-1].gates)
    assert [(row["keep"], row["up"], row["down"], row["open"]) for row in table[:4]] == [
        (1, None, None, 1),
        (1, None, 1, 1),
        (None, None, None, 0),
        (1, None, None, 1),
    ]


# ---- what they cost


def predictor(net: SegNet) -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(net=net), header=SimpleNamespace(size=list(SIZE)))


def test_an_image_costs_at_least_what_always_runs_and_at_most_the_whole():
    """One image opens all gates a little, one none."""
    net = gated()
    costs = costs_of(net, SIZE)
    found = cost(predictor(net), None, all_gates(0.1, 0.0))
    assert found["parameters"] == parameters(net)
    assert found["gmacs"] == found["gmacs_max"] == gmacs(net, SIZE) == costs.whole / 1e9
    assert found["gmacs_min"] == pytest.approx(costs.always / 1e9)
    assert found["gmacs_mean"] == pytest.approx((costs.always + costs.whole) / 2e9)


@pytest.mark.parametrize("gates", [None, torch.zeros(0, 10, 3)])
def test_a_network_whose_images_chose_nothing_costs_one_number(gates):
    net = gated() if gates is not None else gateless()
    found = cost(predictor(net), None, gates)
    assert list(found) == ["parameters", "gmacs", "gmacs_min", "gmacs_mean", "gmacs_max"]
    assert {float(found[key]) for key in list(found)[1:]} == {gmacs(net, SIZE)}


def test_the_resolution_is_the_one_asked_for():
    net = gated()
    found = cost(predictor(net), (64, 128), all_gates(0.0))
    assert found["gmacs"] == gmacs(net, (64, 128)) > gmacs(net, SIZE)
    assert found["gmacs_min"] == pytest.approx(costs_of(net, (64, 128)).always / 1e9)


def test_costs_are_written_as_numbers():
    written = json.loads(metrics_json(cost(predictor(gated()), None, all_gates(0.1, 0.0))))
    assert all(isinstance(value, float) for key, value in written.items() if key != "parameters")
