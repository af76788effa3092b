"""s4GAN: its terms by hand, who moves whom, the gate, and what one step costs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fewmask.learning.fit import fit
from fewmask.learning.learner import Batch, LabelledData, PixelCounts, Task
from fewmask.learning.losses import cross_entropy
from fewmask.methods.s4gan.discriminator import one_hot
from fewmask.methods.s4gan.s4gan import S4GAN, Config, matching, towards
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET
from fewmask.nets.dsnet.dsnet import Config as DSNet
from fewmask.nets.dsnet.dsnet import build

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
NORMALISE = Normalise(*IMAGENET)


def learner(**changes) -> S4GAN:
    torch.manual_seed(0)
    raw = {"steps": 100, "batch": 2, "unlabelled": 3, "batch_norm": "trained", "optimiser": {"lr": 0.1}}
    own = {"width": 0.1, "dropout": 0} | changes.pop("discriminator", {})
    task = Task(["a", "b", "c"], NETWORK.model_dump(), lambda: build(NETWORK, 3), NORMALISE)
    return S4GAN(Config.model_validate({**raw, "discriminator": own, **changes}), task).train()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = NORMALISE(torch.randint(0, 256, (5, 32, 48, 3), dtype=torch.uint8, generator=generator))
    y = torch.randint(0, 3, (2, 32, 48), generator=generator)
    y[:, :2] = 255
    return Batch(x[:2], y, x[2:])


def score_as(made: S4GAN, images: torch.Tensor) -> None:
    """Let D's logit of a pair be ten times the mean of the image's red channel, less ten times that over ``images``."""
    reds = NORMALISE.colours(images)[:, 0].mean((1, 2))
    made.discriminator.forward = lambda pairs: (
        10 * (pairs[:, -3].mean((1, 2)) - reds.mean()),
        pairs.flatten(1)[:, :4],
    )


def test_the_defaults_are_those_of_the_paper_and_its_code():
    config = Config.model_validate({"steps": 1, "batch": 1, "unlabelled": 1, "optimiser": {"lr": 0.1}})
    assert (config.gamma, config.lambda_fm, config.lambda_st) == (0.6, 0.1, 1.0)
    assert (config.adversarial, config.norm, config.weight_c) == ("feature_matching", "l1", None)
    assert config.gate == "discriminator"
    assert config.batch_norm == "statistics"
    assert (config.discriminator.width, config.discriminator.dropout) == (1.0, 0.5)


# ---- the terms


def test_matching_by_hand():
    """Means (1, 2) and (4, -2): differences 3 and 4, of mean 3.5 and of length 5."""
    real, fake = torch.tensor([[0.0, 2], [2, 2]]), torch.tensor([[4.0, -2]])
    assert matching(real, fake, "l1").item() == 3.5
    assert matching(real, fake, "l2").item() == 5.0


def test_towards_by_hand():
    logits = torch.tensor([0.0, math.log(3)])  # scores 1/2 and 3/4
    assert towards(logits, 1).item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    assert towards(logits, 0).item() == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2)


@pytest.mark.parametrize("adversarial", ["feature_matching", "standard"])
def test_the_losses_are_the_sums_of_the_logged_terms(batch, adversarial):
    made = learner(adversarial=adversarial, gamma=0.1, lambda_fm=0.3, lambda_st=0.7)
    first, second = made.step(batch, 0.0)
    terms = {name: value.item() for name, value in first.terms.items()}
    assert terms["gate"] == 1
    assert first.loss.item() == pytest.approx(terms["ce"] + 0.3 * terms["fm"] + 0.7 * terms["st"], rel=1e-5)
    assert terms["ce"] > terms["st"] > 0
    assert second.terms["d"].item() == second.loss.item()
    assert (first.player, second.player) == ("net", "discriminator")


def test_the_generator_of_sgan_wants_its_maps_to_be_taken_for_true(batch):
    made = learner(adversarial="standard")
    made.discriminator.score.bias.data.fill_(1.0)  # scores well off 1/2
    update = next(made.step(batch, 0.0))
    net = learner().net
    net(batch.x_l)
    maps = net(batch.x_u).softmax(1)
    scores = made.discriminator(torch.cat([maps, NORMALISE.colours(batch.x_u)], 1))[0].sigmoid()
    assert scores.min() > 0.6
    assert update.terms["fm"].item() == pytest.approx(-scores.log().mean().item(), rel=1e-5)


def test_the_discriminator_sees_true_maps_with_their_images_and_predicted_ones_with_theirs(batch):
    """All images by one rule: bytes / 255."""
    made, seen = learner(), []
    made.discriminator.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    list(made.step(batch, 0.0))
    fake, both = seen
    torch.testing.assert_close(fake, both[2:])
    torch.testing.assert_close(both[:2, :3], one_hot(batch.y_l, 3))
    torch.testing.assert_close(fake[:, :3].sum(1), torch.ones(3, 32, 48))
    torch.testing.assert_close(both[:, 3:], NORMALISE.colours(torch.cat([batch.x_l, batch.x_u])))
    assert both[:, 3:].min() > -1e-6
    assert both[:, 3:].max() < 1 + 1e-6


def test_the_loss_of_the_discriminator_by_hand(batch):
    made = learner()
    *_, update = made.step(batch, 0.0)
    net = learner()
    real = torch.cat([one_hot(batch.y_l, 3), NORMALISE.colours(batch.x_l)], 1)
    net.net(batch.x_l)  # before the others: dropout and statistics as in the step
    fake = torch.cat([net.net(batch.x_u).softmax(1), NORMALISE.colours(batch.x_u)], 1)
    d_real, d_fake = (made.discriminator(pairs)[0].sigmoid() for pairs in (real, fake))
    expected = (-d_real.log().mean() - (1 - d_fake).log().mean()) / 2
    assert update.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert update.terms["d_real"].item() == pytest.approx(d_real.mean().item(), rel=1e-5)
    assert update.terms["d_fake"].item() == pytest.approx(d_fake.mean().item(), rel=1e-5)


def test_self_training_takes_all_pixels_of_the_images_that_pass(batch):
    made = learner(gamma=0.5)
    score_as(made, batch.x_u)
    update = next(made.step(batch, 0.0))
    passed = NORMALISE.colours(batch.x_u)[:, 0].mean((1, 2))
    passed = passed > passed.mean()
    assert 0 < passed.sum() < 3
    net = learner().net
    net(batch.x_l)
    logits = net(batch.x_u)[passed]
    assert update.terms["gate"].item() == pytest.approx(passed.float().mean().item())
    assert update.terms["st"].item() == pytest.approx(cross_entropy(logits, logits.argmax(1)).item(), rel=1e-5)


def test_no_image_passes_and_the_term_is_exactly_0(batch):
    update = next(learner(gamma=1.0, lambda_fm=0).step(batch, 0.0))
    assert update.terms["gate"].item() == 0
    assert update.terms["st"].item() == 0
    assert update.loss.item() == update.terms["ce"].item()


@pytest.mark.parametrize("gate", ["confidence", "pixels"])
def test_the_gate_may_ask_how_sure_the_network_is(batch, gate):
    """Of an image, by the mean of its largest probabilities over what is not padding; or of each pixel."""
    shown = torch.ones(3, 32, 48, dtype=torch.bool)
    shown[:, :, 30:] = False
    shown[2] = False  # nothing of it is seen
    net = learner().net
    net(batch.x_l)
    logits = net(batch.x_u)
    confidence, y_star = logits.softmax(1).max(1)
    means = [confidence[i][shown[i]].mean() for i in range(2)]
    gamma = (sum(means) / 2).item()
    passed = confidence > gamma
    if gate == "confidence":
        passed = torch.stack([means[0] > gamma, means[1] > gamma, torch.tensor(False)])[:, None, None].expand(3, 32, 48)
    assert 0 < (passed & shown).sum() < shown.sum()
    update = next(learner(gate=gate, gamma=gamma).step(replace(batch, shown_u=shown), 0.0))
    st = F.cross_entropy(logits, y_star.masked_fill(~(passed & shown), 255), ignore_index=255)
    assert update.terms["st"].item() == pytest.approx(st.item(), rel=1e-5)
    share = passed if gate == "confidence" else passed & shown
    assert update.terms["gate"].item() == pytest.approx(share.float().mean().item())


def test_padding_is_no_target(batch):
    shown = torch.ones(3, 32, 48, dtype=torch.bool)
    shown[:, :, 30:] = False
    update = next(learner(gamma=0).step(replace(batch, shown_u=shown), 0.0))
    net = learner().net
    net(batch.x_l)
    logits = net(batch.x_u)[..., :30]
    assert update.terms["st"].item() == pytest.approx(cross_entropy(logits, logits.argmax(1)).item(), rel=1e-5)


def test_without_unlabelled_images_it_is_supervised_training(batch):
    (update,) = learner().step(replace(batch, x_u=batch.x_u[:0]), 0.0)
    assert set(update.terms) == {"ce"}
    assert update.loss.item() == cross_entropy(learner().net(batch.x_l), batch.y_l).item()


def test_fewer_images_pass_a_higher_gate(batch):
    shares = []
    for gamma in (0.0, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0):
        made = learner(gamma=gamma)
        score_as(made, batch.x_u)
        shares.append(next(made.step(batch, 0.0)).terms["gate"].item())
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) > 2
    assert (shares[0], shares[-1]) == (1, 0)


def test_class_weights_are_those_of_the_labelled_masks(batch):
    class Data(LabelledData):
        counts = PixelCounts(np.array([300, 100, 0]), 500, np.array([400, 400, 0]))

    made, plain = learner(weight_c=1.1), learner()
    made.begin(Data())
    plain.begin(Data())
    assert plain.weights.tolist() == [1, 1, 1]
    assert made.weights.tolist() == pytest.approx([1 / math.log(1.1 + 0.6), 1 / math.log(1.1 + 0.2), 0])


def test_class_weights_are_for_true_labels_alone(batch):
    class Data(LabelledData):
        counts = PixelCounts(np.array([300, 100, 20]), 500, np.array([400, 400, 400]))

    made, net = learner(weight_c=1.02, gamma=0), learner().net
    made.begin(Data())
    update = next(made.step(batch, 0.0))
    s_l, s_u = net(batch.x_l), net(batch.x_u)
    y_star = s_u.argmax(1)
    assert len(y_star.unique()) > 1
    weights = 1 / (1.02 + torch.tensor([0.6, 0.2, 0.04])).log()
    ce = F.cross_entropy(s_l, batch.y_l, weights, ignore_index=255)
    assert update.terms["ce"].item() == pytest.approx(ce.item(), rel=1e-5)
    assert update.terms["st"].item() == pytest.approx(F.cross_entropy(s_u, y_star).item(), rel=1e-5)


# ---- who moves whom


def gradients(module: torch.nn.Module) -> list[torch.Tensor | None]:
    return [parameter.grad for parameter in module.parameters()]


@pytest.mark.parametrize("adversarial", ["feature_matching", "standard"])
def test_the_loss_of_the_discriminator_gives_the_network_no_gradient(batch, adversarial):
    made = learner(adversarial=adversarial, gamma=0)
    *_, update = made.step(batch, 0.0)
    update.loss.backward()
    assert all(gradient is None for gradient in gradients(made.net))
    assert all(gradient.abs().sum() > 0 for gradient in gradients(made.discriminator))


@pytest.mark.parametrize("adversarial", ["feature_matching", "standard"])
def test_a_step_of_the_network_leaves_the_discriminator_as_it_is(batch, tmp_path, adversarial):
    made = learner(steps=1, adversarial=adversarial, gamma=0, lambda_fm=10)
    before = [parameter.clone() for parameter in made.discriminator.parameters()]
    made.step = lambda batch, t, step=made.step: [next(step(batch, t))].__iter__()
    fit(made, lambda step: batch, made.config, seed=0, folder=tmp_path)
    assert all(gradient is None for gradient in gradients(made.discriminator))
    assert all(map(torch.equal, before, made.discriminator.parameters()))
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients(made.net))


@pytest.mark.parametrize("adversarial", ["feature_matching", "standard"])
def test_the_network_learns_from_the_discriminator_s_view_of_its_maps_alone(batch, adversarial):
    """The gate gives no gradient, and true features are a target."""
    made, outputs = learner(adversarial=adversarial, gamma=0, lambda_fm=1), []

    def watch(module, args, output):
        outputs.append(output)
        for part in output:
            part.retain_grad()

    made.discriminator.register_forward_hook(watch)
    next(made.step(batch, 0.0)).loss.backward()
    (deceived, phi_u), of_both = outputs
    assert phi_u.grad.abs().sum() > 0
    assert (deceived.grad is None) == (adversarial == "feature_matching")
    assert all(part.grad is None for part in of_both)
    alone = learner(lambda_fm=0, gamma=0)
    next(alone.step(batch, 0.0)).loss.backward()
    pairs = zip(gradients(made.net), gradients(alone.net), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_self_training_gives_the_network_a_gradient_and_the_discriminator_none(batch):
    """That of cross-entropy with fixed labels, in each parameter."""
    made, by_hand, without = learner(lambda_fm=0, gamma=0), learner().net, learner(lambda_fm=0, gamma=0, lambda_st=0)
    for each in (made, without):
        next(each.step(batch, 0.0)).loss.backward()
    s_l, s_u = by_hand(batch.x_l), by_hand(batch.x_u)
    (cross_entropy(s_l, batch.y_l) + cross_entropy(s_u, s_u.argmax(1))).backward()
    for found, expected in zip(gradients(made.net), gradients(by_hand), strict=True):
        torch.testing.assert_close(found, expected)
    pairs = zip(gradients(made.net), gradients(without.net), strict=True)
    assert any(not torch.allclose(a, b, rtol=0.01) for a, b in pairs)
    assert not any(gradient.any() for gradient in gradients(made.discriminator) if gradient is not None)


def test_each_player_has_its_optimiser():
    made = learner()
    assert made.config.optimiser_of("net").name == "sgd"
    own = made.config.optimiser_of("discriminator")
    assert (own.name, own.lr, own.momentum, own.beta_2, own.schedule) == ("adam", 1e-4, 0.9, 0.99, "poly")


def test_the_paper_s_optimiser_of_the_discriminator_can_be_changed_in_part():
    own = learner(discriminator={"optimiser": {"lr": 0.001, "schedule": "constant"}}).config.discriminator.optimiser
    assert (own.name, own.lr, own.beta_2, own.schedule) == ("adam", 0.001, 0.99, "constant")


# ---- what a step costs


def test_at_most_three_images_a_labelled_one_go_through_the_discriminator(batch):
    """Released code: four forward passes. Here two, of the predicted maps alone and of both kinds."""
    made, sizes = learner(), []
    made.discriminator.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    list(made.step(batch, 0.0))
    assert sizes == [3, 2 + 3]


@pytest.fixture
def round_trips(monkeypatch) -> list[str]:
    """What asks the device for values, by name; on CUDA each waits for all that was begun."""
    asked = []
    for name in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__"):
        whole = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda *args, name=name, whole=whole: asked.append(name) or whole(*args)
        )
    return asked


class Waits(TorchDispatchMode):
    """Names the operations whose value, or whose size, the host has to be told, wherever they are written."""

    KINDS = ("item", "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "bincount")

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name.startswith(("index", "_index")) and isinstance(args[1], list | tuple) else ()
        by_mask = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
        if by_mask or name in self.KINDS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("gate", ["discriminator", "confidence", "pixels"])
def test_a_step_asks_the_device_for_nothing(batch, round_trips, gate):
    made = learner(gamma=0.5, gate=gate)
    batch = replace(batch, shown_u=torch.ones(3, 32, 48, dtype=torch.bool))
    with Waits() as waits:
        list(made.step(batch, 0.5))
    assert (waits.found, round_trips) == ([], [])
    assert torch.zeros(1).item() == 0
    assert round_trips == ["item"]


def test_what_asks_the_device_is_found():
    x = torch.arange(3.0)
    wanted = {"nonzero": x.nonzero, "_local_scalar_dense": x.max().item, "index": lambda: x[x > 1]}
    wanted |= {"index_put_": lambda: x.__setitem__(x > 1, x[:1])}
    for name, ask in wanted.items():
        with Waits() as waits:
            ask()
        assert waits.found == [name]
    with Waits() as waits:
        x[torch.tensor([0, 2])].sum()
    assert waits.found == []


@pytest.mark.gpu
def test_a_step_waits_for_nothing_on_cuda(batch):
    made = learner(gamma=0.5).cuda()
    made.task = Task(["a", "b", "c"], {}, lambda: made.net, Normalise(*IMAGENET, "cuda"))
    moved = Batch(batch.x_l.cuda(), batch.y_l.cuda(), batch.x_u.cuda())
    list(made.step(moved, 0.5))  # the first finds its algorithms
    torch.cuda.set_sync_debug_mode("error")
    try:
        players = [update.player for update in made.step(moved, 0.5)]
        with pytest.raises(RuntimeError, match="synchronizing"):
            moved.x_l.max().item()  # what waits is told
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert players == ["net", "discriminator"]
