"""What every learner promises, tried on each: a new method is added to LEARNERS, and its first losses to TRACES."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from fewmask.learning.batches import Batches, Pool
from fewmask.learning.fit import fit
from fewmask.learning.learner import Learner, Task
from fewmask.learning.views import WeakViews
from fewmask.methods.auxiliary.auxiliary import AuxiliaryNetwork
from fewmask.methods.consistency.consistency import Consistency
from fewmask.methods.contrastive.contrastive import Contrastive
from fewmask.methods.mlmt.mlmt import MLMT
from fewmask.methods.s4gan.s4gan import S4GAN
from fewmask.methods.selene.selene import Selene
from fewmask.methods.supervised.supervised import Supervised
from fewmask.methods.three_stage.three_stage import ThreeStage
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build
from fewmask.nets.dsnet.dsnet import Config as DSNet
from fewmask.nets.routing.routing import Config as Routing


class Peers(Selene):
    """Co-teaching, of networks with gates and a budget."""


class Averaged(Supervised):
    """It publishes its average."""


LEARNERS = [Supervised, Averaged, AuxiliaryNetwork, ThreeStage, Contrastive, S4GAN, MLMT, Selene, Peers, Consistency]
OWN = {  # all terms are on
    Averaged: {"decay": 0.9},
    Contrastive: {"warm_up": 2, "contrast": {"channels": 8, "memory": 6, "confidence": 0.3}},
    S4GAN: {"gamma": 0.5, "discriminator": {"width": 0.1, "optimiser": {"name": "adam", "lr": 0.001}}},
    MLMT: {"ramp": [0, 0], "strong": {"sigma": [0.1, 1]}},
    Selene: {"ohem": {"kept": 500}},
    Consistency: {"threshold": 0.3, "strong": {"sigma": [0.1, 1], "mix": 1.0}},
    Peers: {"semi": "co_teaching", "jigsaw": False, "budget": {"share": 0.7, "begin": 0, "ramp": 0}},
}
SCORED = [kind for kind in LEARNERS if kind not in (AuxiliaryNetwork, MLMT)]  # they publish what segments images
SAME = {"flip": 0, "resize": 0, "jitter": 0, "mix": 0}  # weak views of contrastive's own that change nothing
NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
NETWORKS = {Peers: Routing(layers=3, channels=4)}
NORMALISE = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
# The first losses on a CPU with one thread: a refactoring must not change them. Each instruction set sums in its order.
TRACES = {
    "AVX512": {
        "Supervised": [1.14234, 1.13246, 1.1279, 1.03657, 1.01971, 0.98656, 0.93176, 0.88934, 0.91362, 0.84823],
        "Averaged": [1.14234, 1.13246, 1.1279, 1.03657, 1.01971, 0.98656, 0.93176, 0.88934, 0.91362, 0.84823],
        "MLMT": [0.59301, 0.50668, 0.448, 0.64317, 0.11349, 0.26901, 0.40255, 0.18339, 0.18117, 0.2488],
        "AuxiliaryNetwork": [3.99715, 4.68647, 3.73943, 3.75674, 3.0688, 3.39128, 3.16056, 2.56444, 3.06228, 2.76103],
    },
    "AVX2": {
        "Supervised": [1.14234, 1.1326, 1.12753, 1.03581, 1.01899, 0.985962, 0.9073, 0.89047, 0.916188, 0.841354],
        "Averaged": [1.14234, 1.1326, 1.12753, 1.03581, 1.01899, 0.985962, 0.9073, 0.89047, 0.916188, 0.841354],
        "ThreeStage": [2.19502, 2.17315, 2.05902, 2.1025, 1.96243, 2.06818, 2.00389, 1.79374, 2.01408, 1.83775],
        "Contrastive": [1.11898, 1.27872, 1.10836, 1.40076, 1.08277, 1.21685, 1.34576, 1.16692, 1.1656, 1.11238],
        "S4GAN": [2.02378, 1.86088, 1.64934, 1.72768, 1.25227, 1.38902, 1.28047, 1.29826, 1.74258, 1.48576],
        "MLMT": [0.593015, 0.506681, 0.448, 0.643169, 0.112664, 0.269666, 0.402305, 0.186939, 0.175435, 0.249537],
        "Selene": [2.06945, 2.71492, 2.57208, 2.79512, 2.5739, 2.55623, 2.59372, 2.42849, 2.52865, 2.44181],
        "Peers": [6.92614, 6.23991, 5.37679, 5.0779, 4.74621, 4.57327, 4.40061, 4.24871, 4.17589, 4.05792],
        "AuxiliaryNetwork": [3.99715, 4.68648, 3.73944, 3.75633, 3.07172, 3.39638, 3.16073, 2.56274, 3.06366, 2.75852],
        "Consistency": [2.12394, 1.92725, 1.66535, 1.74411, 1.49635, 1.7345, 1.61833, 1.28851, 1.77241, 1.33179],
    },
}


def scenes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose brightness tells the class, with noise; the first two rows are void."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 3, (count, 4, 6), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    noise = torch.randint(0, 40, (*masks.shape, 3), generator=generator)
    images = (masks[..., None] * 80 + noise).to(torch.uint8)
    masks = masks.to(torch.uint8)
    masks[:, :2] = 255
    return images, masks


@pytest.fixture
def batches() -> Batches:
    images, masks = scenes(6, 0)
    others, _ = scenes(6, 1)
    pseudo = masks.roll(1, 2).numpy(), masks.flip(0).numpy()  # wrong here and there, as predictions are
    shown = np.ones((6, 3), bool)
    shown[::2, 0] = False
    labelled = Pool(images.numpy(), masks.numpy(), 0, "labelled", pseudo[0], tags=shown)
    unlabelled = Pool(others.numpy(), pseudo[1], 0, "unlabelled")
    return Batches([(labelled, 2)], 6, (unlabelled, 2), WeakViews(scales=[0.8, 1.0, 1.3]), NORMALISE, 3)


def make(kind: type[Learner], steps: int = 3, unlabelled: int = 2, **changes: Any) -> Learner:
    torch.manual_seed(0)
    config = kind.schema.model_validate(
        {
            "steps": steps,
            "batch": 2,
            **({"unlabelled": unlabelled} if "unlabelled" in kind.schema.model_fields else {}),
            "batch_norm": "trained",
            "optimiser": {"name": "adamw", "lr": 0.01},
            **OWN.get(kind, {}),
            **changes,
        }
    )
    network = NETWORKS.get(kind, NETWORK)
    section, base = network.model_dump(), build(network, 3).eval()
    task = Task(["a", "b", "c"], section, lambda: build(network, 3), NORMALISE, base)
    return kind(config, task)


def check_predictions(learner: Learner, x: torch.Tensor) -> None:
    """The published network gives what prediction makes of it, whatever device x (2, 3, 32, 48) is on."""
    _, net = learner.eval().result()
    if isinstance(learner, AuxiliaryNetwork):  # one confidence a pixel, of the judged network's probabilities
        assert net(learner.segmentation(x).softmax(1)).shape == (2, 1, 32, 48)
    elif isinstance(learner, MLMT):  # one score a class, of an image
        assert net(x).shape == (2, 3)
    else:
        probabilities = net(x).float().softmax(1)
        assert probabilities.shape == (2, 3, 32, 48)
        torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", LEARNERS)
class TestEveryLearner:
    def test_three_steps_then_probabilities(self, kind, batches, tmp_path):
        learner = make(kind)
        rows = fit(learner, batches, learner.config, seed=0, folder=tmp_path)
        assert [row["step"] for row in rows] == [1, 2, 3]
        check_predictions(learner, batches(0).x_l)

    def test_training_moves_every_player_and_its_state_round_trips_to_the_bit(self, kind, batches, tmp_path):
        learner, other = make(kind), make(kind)
        fit(learner, batches, learner.config, seed=0, folder=tmp_path)
        trained, fresh = learner.result()[1].state_dict(), other.result()[1].state_dict()
        assert any(not torch.equal(trained[name], fresh[name]) for name in trained)
        for player, module in learner.players().items():
            pairs = zip(module.parameters(), other.players()[player].parameters(), strict=True)
            assert any(not torch.equal(after, before) for after, before in pairs), player
        other.load_state_dict(learner.state_dict())
        again = other.result()[1].state_dict()
        assert all(torch.equal(again[name], value) for name, value in trained.items())

    def test_same_seed_same_bits_and_another_seed_other_bits(self, kind, batches, tmp_path):
        results = []
        for number, seed in enumerate((0, 0, 1)):
            learner = make(kind)
            pools = copy.deepcopy(batches)
            for pool, _ in (*pools.streams, pools.unlabelled):
                pool.seed = seed
            fit(learner, pools, learner.config, seed=seed, folder=tmp_path / str(number))
            results.append(torch.cat([p.flatten() for p in learner.result()[1].parameters()]))
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])

    def test_a_training_that_was_stopped_and_goes_on_ends_in_the_same_bits(self, kind, batches, tmp_path):
        """Whatever a learner carries from step to step, an average or a memory, is in its state."""
        whole, stopped, resumed = (make(kind, steps=6) for _ in range(3))

        class Stumble(Batches):
            def __call__(self, step):
                if step == 3:
                    raise KeyboardInterrupt
                return super().__call__(step)

        stumbling = copy.copy(batches)
        stumbling.__class__ = Stumble
        rows = fit(whole, batches, whole.config, seed=0, folder=tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            fit(stopped, stumbling, stopped.config, seed=0, folder=tmp_path / "cut", checkpoint_seconds=0)
        assert fit(resumed, batches, resumed.config, seed=0, folder=tmp_path / "cut") == rows
        state = resumed.state_dict()
        assert all(torch.equal(state[name], value) for name, value in whole.state_dict().items())

    def test_players_are_trained_and_listed_once(self, kind, batches):
        learner = make(kind)
        learner.begin(batches)
        parameters = [id(p) for module in learner.players().values() for p in module.parameters()]
        assert len(parameters) == len(set(parameters))
        seen = set()
        for update in learner.train().step(batches(0), 0.0):
            seen.add(update.player)
            update.loss.backward()
            assert update.loss.ndim == 0
            assert all(not term.requires_grad for term in update.terms.values())
        assert seen == set(learner.players())

    def test_the_result_can_be_built_again_from_its_section(self, kind):
        from fewmask.learning.recipe import build_from

        network, module = make(kind).result()
        told = build_from(network, 3).load_state_dict(module.state_dict())
        assert (told.missing_keys, told.unexpected_keys) == ([], [])

    def test_pinned_loss_trace(self, kind, batches, tmp_path):
        learner = make(kind, steps=10)
        rows = fit(learner, batches, learner.config, seed=0, folder=tmp_path)
        found = [row["loss"] for row in rows]
        traces = TRACES.get(torch.backends.cpu.get_cpu_capability())
        if traces is None or kind.__name__ not in traces:
            pytest.skip("no trace was pinned for this instruction set")
        assert found == pytest.approx(traces[kind.__name__], rel=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in LEARNERS if "unlabelled" in kind.schema.model_fields])
def test_its_control_trains_without_unlabelled_images(kind, batches, tmp_path):
    """``unlabelled: 0`` differs in nothing else: the same labelled views train what is published, average or not."""
    learner, fresh = make(kind, unlabelled=0), make(kind, unlabelled=0)
    batches.unlabelled = batches.unlabelled[0], 0
    rows = fit(learner, batches, learner.config, seed=0, folder=tmp_path)
    assert all(np.isfinite(row["loss"]) for row in rows)
    check_predictions(learner, batches(0).x_l)
    trained, before = learner.result()[1].state_dict(), fresh.result()[1].state_dict()
    assert all(not torch.equal(trained[name], before[name]) for name in trained if name.endswith("running_mean"))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(kind, {"weak": SAME} if kind is Contrastive else {}) for kind in SCORED]
    + [(Contrastive, {"weak": SAME, "publish": "teacher"}), (Selene, {"publish": "teacher"})]
    + [(ThreeStage, {"publish": "student"}), (Consistency, {"publish": "student", "dropout": 0.5})],
)
def test_statistics_of_the_published_network_are_of_weak_views(kind, changes, batches, tmp_path):
    """It is scored on such views: no strong one, and no puzzle, moves the running statistics of its batch norms."""
    learner = make(kind, **changes)
    _, net = learner.result()
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    seen = []

    def note(_: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
        if any(norm.training and norm.track_running_stats for norm in norms):
            seen.extend(args[0].detach().clone())

    net.blocks[0].register_forward_pre_hook(note)
    fit(learner, batches, learner.config, seed=0, folder=tmp_path)
    weak = [x for batch in map(batches, range(3)) for x in (*batch.x_l, *batch.x_u)]
    assert seen
    assert all(any(torch.equal(x, view) for view in weak) for x in seen)
