"""SELENE: the rows of its tables, its terms by hand, who sees and moves what, and the budget."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fewmask.core.errors import ConfigError
from fewmask.learning.fit import fit
from fewmask.learning.learner import Batch, PixelCounts, Task
from fewmask.learning.losses import cross_entropy, mean_of_valid
from fewmask.methods.selene.hard_pixels import ohem_cross_entropy
from fewmask.methods.selene.jigsaw import draw_puzzles
from fewmask.methods.selene.selene import Config, Selene
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build
from fewmask.nets.base.weights import IMAGENET
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing import routing

NETWORKS = {
    "dsnet": dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]),
    "routing": routing.Config(layers=3, channels=4),
}
RAW = {"steps": 100, "batch": 2, "unlabelled": 3, "optimiser": {"lr": 0.1}, "views": {"crop": [32, 48]}}
ROWS = {  # of Tables 1 to 4
    "supervised": ({"semi": "none", "jigsaw": False}, {"sup"}),
    "jigsaw": ({"semi": "none"}, {"sup", "jig"}),
    "mean teacher": ({"jigsaw": False}, {"sup", "mt"}),
    "mean teacher and jigsaw": ({}, {"sup", "jig", "mt"}),
    "co-teaching": ({"semi": "co_teaching", "jigsaw": False}, {"sup", "cps"}),
    "co-teaching and jigsaw": ({"semi": "co_teaching"}, {"sup", "jig", "cps"}),
}
rows = pytest.mark.parametrize("row", ROWS)


def learner(network: str = "dsnet", classes: int = 3, **changes) -> Selene:
    torch.manual_seed(0)
    section, names = NETWORKS[network], ["a", "b", "c"][:classes]
    task = Task(names, section.model_dump(mode="json"), lambda: build(section, classes), Normalise(*IMAGENET))
    return Selene(Config.model_validate({**RAW, **changes}), task).train()


def of(row: str, network: str = "dsnet", **changes) -> Selene:
    return learner(network, **ROWS[row][0], **changes)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 3, 32, 48, generator=generator)
    y = torch.randint(0, 3, (2, 32, 48), generator=generator)
    y[:, :2] = 255
    return Batch(x[:2], y, x[2:])


def padded(batch: Batch) -> Batch:
    """The others are padding in their last twelve columns."""
    shown = torch.ones(3, 32, 48, dtype=torch.bool)
    shown[:, :, 36:] = False
    return replace(batch, shown_u=shown)


def gradients(module: torch.nn.Module) -> list[torch.Tensor | None]:
    return [parameter.grad for parameter in module.parameters()]


def say(net: torch.nn.Module, *logits: float) -> None:
    """Let a network find these logits, one number for each class, everywhere."""
    net.head.forward = lambda features: torch.tensor(logits).view(1, -1, 1, 1).repeat(5, 1, 8, 12)


def perturbed(made: Selene) -> Selene:
    """A teacher that is no longer its student."""
    for parameter in made.teacher.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


# ---- the tables


@rows
@pytest.mark.parametrize("network", NETWORKS)
def test_each_row_of_the_tables_has_its_terms(batch, row, network):
    made, expected = of(row, network), ROWS[row][1]
    told = {"cost", "open"} if network == "routing" else set()
    updates = list(made.step(batch, 0.5))
    assert [update.player for update in updates] == list(made.players())
    assert set(updates[0].terms) == expected | told
    for peer in updates[1:]:
        assert set(peer.terms) == {f"{name}_peer" for name in expected | told}
    assert len(updates) == (2 if row.startswith("co") else 1)


def test_the_defaults_are_those_of_the_paper():
    config = learner().config
    assert (config.semi, config.jigsaw, config.lambda_1, config.shuffled) == ("mean_teacher", True, 0.1, 1.0)
    assert (config.decay, config.publish, config.ohem, config.budget) == (0.99, "student", None, None)
    assert [of(row).config.lambda_2_at(0.0) for row in ROWS] == [0, 0, 100, 100, 5, 5]
    assert learner(lambda_2=1.5, semi="co_teaching").config.lambda_2_at(0.0) == 1.5
    assert learner(lambda_2=0).config.lambda_2_at(1.0) == 0


def test_the_second_weight_may_rise():
    """100 over a fifth of the training: half at a tenth."""
    config = learner(ramp=0.2).config
    assert [config.lambda_2_at(t) for t in (0, 0.1, 0.2, 1)] == pytest.approx([0, 50, 100, 100])


@rows
def test_the_loss_is_the_weighted_sum_of_its_terms(batch, row):
    """Eq. (8)."""
    made = of(row, lambda_1=0.3, lambda_2=7)
    if made.teacher is not None:
        perturbed(made)
    weights = {"sup": 1, "jig": 0.3, "mt": 7, "cps": 7}
    for update in made.step(batch, 0.5):
        values = {name.removesuffix("_peer"): term.item() for name, term in update.terms.items()}
        assert all(value > 0 for value in values.values())
        total = sum(weights[name] * value for name, value in values.items())
        assert update.loss.item() == pytest.approx(total, rel=1e-5)


# ---- the terms


def test_the_teacher_s_term_by_hand(batch):
    """Eq. (3). Student 1/4 and 3/4, teacher halves: (1/16 + 1/16) / 2 = 1/16 at every pixel of every image."""
    made = learner(classes=2, jigsaw=False)
    y = batch.y_l.clamp_max(1)
    say(made.net, 0.0, math.log(3))
    say(made.teacher.net, 0.0, 0.0)
    assert next(made.step(Batch(batch.x_l, y, batch.x_u), 0.0)).terms["mt"].item() == pytest.approx(1 / 16)


@pytest.mark.parametrize("unlabelled", [3, 0])
@pytest.mark.parametrize("jigsaw", [False, True])
def test_the_teacher_s_term_is_a_mean_over_pixels_of_all_images_that_are_not_padding(batch, jigsaw, unlabelled):
    """Of labelled images those with a label: their padding is void."""
    batch = replace(padded(batch), x_u=batch.x_u[:unlabelled], shown_u=padded(batch).shown_u[:unlabelled])
    made, again = (perturbed(learner(jigsaw=jigsaw, unlabelled=unlabelled)) for _ in range(2))
    torch.manual_seed(3)
    update = next(made.step(batch, 0.0))
    torch.manual_seed(3)
    x, known = torch.cat([batch.x_l, batch.x_u]), torch.cat([batch.y_l != 255, batch.shown_u])
    if jigsaw:
        puzzles = draw_puzzles(2 + unlabelled)
        x, known = puzzles(x), puzzles(known)
    p_s, p_t = again.net.net(x) if jigsaw else again.net(x), again.teacher(x)
    squares = (p_s.softmax(1) - p_t.softmax(1)).square().movedim(1, 3)[known]
    assert update.terms["mt"].item() == pytest.approx(squares.mean().item(), rel=1e-4)
    assert 0 < known.sum() < known.numel()


def test_the_peers_terms_by_hand(batch):
    """Eqs. (5), (6). The net says (1/4, 3/4), so class 1; its peer (2/3, 1/3), so class 0: -ln 1/4 and -ln 1/3."""
    made = learner(classes=2, semi="co_teaching", jigsaw=False)
    say(made.net, 0.0, math.log(3))
    say(made.peer, math.log(2), 0.0)
    first, second = made.step(Batch(batch.x_l, batch.y_l.clamp_max(1), batch.x_u), 0.0)
    assert first.terms["cps"].item() == pytest.approx(math.log(4))
    assert second.terms["cps_peer"].item() == pytest.approx(math.log(3))


def test_the_peers_terms_are_means_over_pixels_of_all_images_that_are_not_padding(batch):
    batch = padded(batch)
    made, again = (of("co-teaching", lambda_2=0.5) for _ in range(2))
    first, second = made.step(batch, 0.0)
    s_a, s_b = (net(torch.cat([batch.x_l, batch.x_u])) for net in (again.net, again.peer))
    unknown = torch.cat([batch.y_l == 255, ~batch.shown_u])
    y_a, y_b = (logits.argmax(1).masked_fill(unknown, 255) for logits in (s_a, s_b))
    assert first.terms["cps"].item() == pytest.approx(cross_entropy(s_a, y_b).item(), rel=1e-5)
    assert second.terms["cps_peer"].item() == pytest.approx(cross_entropy(s_b, y_a).item(), rel=1e-5)
    assert first.terms["sup"].item() == pytest.approx(cross_entropy(s_a[:2], batch.y_l).item(), rel=1e-5)
    assert second.terms["sup_peer"].item() == pytest.approx(cross_entropy(s_b[:2], batch.y_l).item(), rel=1e-5)


def test_the_puzzles_term_is_the_mean_over_labelled_images_and_that_over_others(batch):
    made, again = (of("mean teacher and jigsaw") for _ in range(2))
    torch.manual_seed(3)
    update = next(made.step(batch, 0.0))
    torch.manual_seed(3)
    puzzles = draw_puzzles(5)
    maps = again.net.net.features(puzzles(torch.cat([batch.x_l, batch.x_u])))[-1]
    each = F.cross_entropy(again.net.top_down([maps]), puzzles.classes, reduction="none")
    expected = each[:2].mean() + each[2:].mean()
    assert update.terms["jig"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_unlabelled_images_puzzles_are_of_labelled_ones(batch):
    """Whatever the size of no images."""
    made = of("jigsaw", unlabelled=0)
    alone = Batch(batch.x_l, batch.y_l, batch.x_u[:0, :, :16])
    assert next(made.step(alone, 0.0)).terms["jig"] > 0


def test_the_supervised_loss_may_be_of_hard_pixels(batch):
    made = of("supervised", ohem={"threshold": 0.3, "kept": 10})
    logits = of("supervised").net(batch.x_l)
    expected = ohem_cross_entropy(logits, batch.y_l, threshold=0.3, kept=10)
    assert next(made.step(batch, 0.0)).terms["sup"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert expected.item() != pytest.approx(cross_entropy(logits, batch.y_l).item(), rel=0.01)


@pytest.mark.parametrize("ohem", [None, {"threshold": 0.3, "kept": 10}])
def test_rare_classes_may_weigh_more(batch, ohem):
    """W_k = 1 / ln(1.1 + p_k); class c does not occur."""
    made = of("supervised", weight_c=1.1, **({"ohem": ohem} if ohem else {}))
    counts = PixelCounts(np.array([900, 100, 0]), 1000, np.array([1000, 1000, 0]))
    made.begin(SimpleNamespace(counts=counts))
    weights = torch.tensor([1 / math.log(2.0), 1 / math.log(1.2), 0])
    y = batch.y_l.clamp(max=1)
    logits = of("supervised").net(batch.x_l)
    expected = ohem_cross_entropy(logits, y, weights, **ohem) if ohem else cross_entropy(logits, y, weights)
    found = next(made.step(Batch(batch.x_l, y, batch.x_u), 0.0)).terms["sup"].item()
    assert found == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("mode", ["trained", "frozen"])
def test_the_teacher_s_batch_norms_are_frozen_with_the_student_s(mode):
    made = of("mean teacher", batch_norm=mode)
    norms = [module for module in made.teacher.net.blocks.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(norm.training == (mode == "trained") for norm in norms)


def test_a_network_without_gates_that_look_has_no_terms_of_cost(batch):
    """The factors of a fixed network are no share of anything: they may be above 1."""
    section = routing.Config(layers=3, channels=4, paths=["kd", "kd kud", "kd kud kud", "k k k k"])
    task = Task(["a", "b", "c"], section.model_dump(), lambda: build(section, 3), Normalise(*IMAGENET))
    made = Selene(Config.model_validate({**RAW, **ROWS["supervised"][0]}), task).train()
    assert set(next(made.step(batch, 0.0)).terms) == {"sup"}


# ---- who sees what


def seen_by(*nets: torch.nn.Module) -> list[torch.Tensor]:
    """What the first block of each network sees from now on."""
    seen = []
    for net in nets:
        net.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    return seen


@pytest.mark.parametrize("row", ["mean teacher", "co-teaching"])
def test_without_puzzles_the_networks_see_the_batch_as_it_is(batch, row):
    made = of(row)
    seen = seen_by(made.net, made.peer or made.teacher.net)
    list(made.step(batch, 0.0))
    assert len(seen) == 2
    assert all(torch.equal(x, torch.cat([batch.x_l, batch.x_u])) for x in seen)


@pytest.mark.parametrize(("row", "shuffled"), [("mean teacher and jigsaw", 0.5), ("co-teaching and jigsaw", 1.0)])
def test_networks_see_the_same_puzzles_and_labels_move_with_them(batch, row, shuffled):
    made, labels = of(row, shuffled=shuffled, steps=1000), []
    seen = seen_by(made.net.net, made.peer.net if made.peer else made.teacher.net)
    made._supervised = lambda logits, y: labels.append(y) or 0 * logits.sum()
    torch.manual_seed(3)
    list(made.step(batch, 0.0))
    torch.manual_seed(3)
    puzzles = draw_puzzles(5, shuffled)
    assert (puzzles.classes > 0).any()
    assert len(seen) == 2
    assert all(torch.equal(x, puzzles(torch.cat([batch.x_l, batch.x_u]))) for x in seen)
    moved = puzzles._replace(orders=puzzles.orders[:2])(batch.y_l)
    assert all(torch.equal(y, moved) for y in labels)
    assert not torch.equal(moved, batch.y_l)


@pytest.mark.parametrize("publish", ["student", "teacher"])
@pytest.mark.parametrize(("t", "looks"), [(0.899, 0), (0.9, 1)])
def test_in_the_last_100_steps_the_published_network_sees_the_images_as_they_are(batch, publish, t, looks):
    made = of("mean teacher and jigsaw", publish=publish, steps=1000)
    seen, net = [], made.result()[1]
    net.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    before = net.state_dict()
    before = {name: value.clone() for name, value in before.items() if "running" in name}
    list(made.step(batch, t))
    plain = torch.cat([batch.x_l, batch.x_u])
    assert [torch.equal(x, plain) for x in seen] == [False] + [True] * looks
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items()) is not bool(looks)


@pytest.mark.parametrize("unlabelled", [0, 3])
def test_without_either_idea_unlabelled_images_are_not_looked_at(batch, unlabelled):
    """It is supervised training: batch norm, too, sees labelled images alone."""
    made = of("supervised", unlabelled=unlabelled)
    update = next(made.step(Batch(batch.x_l, batch.y_l, batch.x_u[:unlabelled] * math.nan), 0.0))
    expected = cross_entropy(of("supervised").net(batch.x_l), batch.y_l)
    assert update.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_puzzles_need_no_unlabelled_images(batch):
    update = next(of("jigsaw", unlabelled=0).step(Batch(batch.x_l, batch.y_l, batch.x_u[:0]), 0.0))
    assert update.loss.isfinite()


# ---- who moves whom


@pytest.mark.parametrize("row", ["mean teacher", "mean teacher and jigsaw"])
def test_the_student_learns_from_labels_and_the_teacher_gets_no_gradient(batch, row):
    """Eq. (4) as printed would give the student none."""
    made = of(row, lambda_2=0)
    next(made.step(batch, 0.0)).loss.backward()
    assert all(gradient is not None and gradient.any() for gradient in gradients(made.net))
    assert all(gradient is None for gradient in gradients(made.teacher))


def test_the_student_learns_from_its_teacher_as_from_a_target(batch):
    made, by_hand = perturbed(of("mean teacher")), perturbed(of("mean teacher"))
    next(made.step(batch, 0.0)).loss.backward()
    x = torch.cat([batch.x_l, batch.x_u])
    logits, target = by_hand.net(x), by_hand.teacher(x).softmax(1)
    known = torch.cat([batch.y_l, torch.zeros(3, 32, 48, dtype=torch.long)])
    distance = mean_of_valid((logits.softmax(1) - target).square().mean(1), known)
    (cross_entropy(logits[:2], batch.y_l) + 100 * distance).backward()
    for found, expected in zip(gradients(made.net), gradients(by_hand.net), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert all(gradient is None for gradient in gradients(made.teacher))


def test_the_teacher_begins_as_the_student_and_follows_after_its_step(batch):
    """The student goes up by 1, its teacher by 0.01."""
    made = of("mean teacher and jigsaw")
    student, teacher = list(made.net.net.parameters()), list(made.teacher.parameters())
    before = [parameter.detach().clone() for parameter in teacher]
    assert all(map(torch.equal, before, student))
    assert not {parameter.data_ptr() for parameter in student} & {parameter.data_ptr() for parameter in teacher}
    for _ in made.step(batch, 0.0):
        for parameter in student:
            parameter.data += 1
    for after, start in zip(teacher, before, strict=True):
        torch.testing.assert_close(after, start + 0.01)


def test_peers_that_would_begin_alike_are_refused():
    """As where network.weights is a whole published model."""
    net = build(NETWORKS["dsnet"], 3)
    task = Task(["a", "b", "c"], {}, lambda: copy.deepcopy(net), Normalise(*IMAGENET))
    config = Config.model_validate({**RAW, "semi": "co_teaching"})
    with pytest.raises(ConfigError, match="both peers would begin alike; expected weights of its backbone alone"):
        Selene(config, task)


def test_peers_begin_different():
    made = of("co-teaching")
    pairs = zip(made.net.parameters(), made.peer.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs if a.ndim > 1)


@pytest.mark.parametrize(("place", "moving", "resting"), [(0, "net", "peer"), (1, "peer", "net")])
def test_an_update_of_one_peer_leaves_the_other(batch, tmp_path, place, moving, resting):
    made = of("co-teaching and jigsaw")
    made.step = lambda batch, t, step=made.step: iter([list(step(batch, t))[place]])
    before = {name: [p.clone() for p in player.parameters()] for name, player in made.players().items()}
    fit(made, lambda step: batch, made.config.model_copy(update={"steps": 1}), seed=0, folder=tmp_path)
    players = made.players()
    assert all(gradient is None for gradient in gradients(players[resting]))
    assert all(map(torch.equal, before[resting], players[resting].parameters()))
    assert not any(map(torch.equal, before[moving], players[moving].parameters()))


def test_peers_learn_from_what_both_said_before_the_step(batch):
    made = of("co-teaching")
    updates = made.step(batch, 0.0)
    next(updates)
    for parameter in made.net.parameters():
        parameter.data.fill_(math.nan)
    second = next(updates)
    second.loss.backward()
    assert second.loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(made.peer))


# ---- what is published


@rows
def test_the_network_alone_is_published(row):
    made = of(row)
    section, module = made.result()
    assert section == NETWORKS["dsnet"].model_dump(mode="json")
    build(NETWORKS["dsnet"], 3).load_state_dict(module.state_dict())


def test_the_student_or_the_teacher_is_published():
    for publish in ("student", "teacher"):
        made = of("mean teacher and jigsaw", publish=publish)
        assert made.result()[1] is (made.net.net if publish == "student" else made.teacher.net)


# ---- the budget

BUDGET = {"share": 0.6, "weight": 3.0}


@pytest.mark.parametrize(("t", "weight"), [(0.0, 0.0), (0.41, 1.5), (0.9, 3.0)])
@pytest.mark.parametrize("cost", ["expected", "executed"])
def test_the_budget_is_a_squared_distance_with_its_weight(batch, t, weight, cost):
    """Of the logged shares: all gates begin open, so that 1 is executed, and a little less expected."""
    update = next(of("supervised", "routing", budget={**BUDGET, "cost": cost}).step(batch, t))
    terms = {name: term.item() for name, term in update.terms.items()}
    assert set(terms) == {"sup", "budget", "cost", "open"}
    assert 0.8 < terms["cost"] < terms["open"] == 1
    share = terms["cost" if cost == "expected" else "open"]
    assert terms["budget"] == pytest.approx((share - 0.6) ** 2, rel=1e-4)
    assert update.loss.item() == pytest.approx(terms["sup"] + weight * terms["budget"], rel=1e-5)


def test_peers_have_a_budget_each(batch):
    first, second = of("co-teaching", "routing", budget=BUDGET).step(batch, 0.9)
    assert {"budget", "cost", "open"} < set(first.terms)
    assert {"budget_peer", "cost_peer", "open_peer"} < set(second.terms)
    assert first.terms["cost"] != second.terms["cost_peer"]


@pytest.mark.parametrize("cost", ["expected", "executed"])
def test_the_budget_s_gradient_is_that_of_the_expected_cost(batch, cost):
    """2 (share - 0.6) dE / da, be the share the expected or the executed one."""
    made = of("supervised", "routing", budget={**BUDGET, "cost": cost})
    features = made.net.features(batch.x_l)
    gates = features[-1].gates
    terms = made._budget(features)
    (found,) = torch.autograd.grad(terms["budget"], gates, retain_graph=True)
    (expected,) = torch.autograd.grad(made.costs.of(gates).mean() / made.costs.whole, gates)
    share = terms["cost" if cost == "expected" else "open"].item()
    torch.testing.assert_close(found, 2 * (share - 0.6) * expected)
    assert expected.abs().sum() > 0


@pytest.mark.parametrize("cost", ["expected", "executed"])
def test_a_strong_budget_makes_a_network_cheaper(batch, tmp_path, cost):
    budget = {"share": 0.55, "weight": 100.0, "begin": 0.0, "ramp": 0.0, "cost": cost}
    made = of("supervised", "routing", budget=budget, steps=10, optimiser={"lr": 0.05})
    found = fit(made, lambda step: batch, made.config, seed=0, folder=tmp_path)
    assert found[-1]["cost"] < found[0]["cost"] - 0.1
    assert found[-1]["open"] < found[0]["open"] == 1


def test_a_budget_is_for_a_network_with_gates():
    with pytest.raises(ConfigError, match="budget: the network has no gates to close; expected routing"):
        learner(budget=BUDGET)


def test_a_budget_below_what_always_runs_is_refused():
    """At the size of the views."""
    costs = learner("routing").costs
    least = costs.always / costs.whole
    with pytest.raises(ConfigError, match=rf"found 0.1; stem, gates and decoder always run and are {least:.3f} of"):
        learner("routing", budget={"share": 0.1})
    learner("routing", budget={"share": least + 1e-6})
    whole = learner("routing", views={}).costs
    assert whole.whole > costs.whole


# ---- what is refused


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"publish": "teacher", "semi": "none"}, "publish is teacher, and semi: none has none"),
        ({"publish": "teacher", "semi": "co_teaching"}, "publish is teacher, and semi: co_teaching has none"),
        ({"semi": "co_teaching", "begin_with": "supervised"}, "both peers would begin alike"),
    ],
)
def test_what_makes_no_sense_is_one_error(changes, error):
    with pytest.raises(ValidationError) as found:
        Config.model_validate({**RAW, **changes})
    assert found.value.error_count() == 1
    assert error in str(found.value)


def test_a_mean_teacher_may_begin_as_the_supervised_network():
    assert Config.model_validate({**RAW, "begin_with": "supervised"}).begin_with == "supervised"
