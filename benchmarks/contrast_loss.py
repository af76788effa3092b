"""The time of the contrastive loss against the pairwise way, and what drawing pixels does to value and gradients."""

import torch
from torch.nn import functional as F

from benchmarks.contrast_case import Case, cases, named
from benchmarks.timing import Bench, Result, take_turns

WAYS = ("reference", "exact", "sampled", "products")


def measure(bench: Bench) -> list[Result]:
    """Times, after value and gradients of ``exact`` and ``reference`` were found equal; then the draws."""
    results = []
    for total, classes in cases(bench):
        case = Case.make(total, classes, bench.device)
        case.require_equal()
        for threads in sorted({1, bench.threads}):
            torch.set_num_threads(threads)
            results += times(bench, case, f"{named(total, classes)}, {threads} threads", total)
        if classes == 19:
            results += draws(case, named(total, classes), bench.some(32, 4))
    return results


def times(bench: Bench, case: Case, end: str, total: int) -> list[Result]:
    """How many times faster than the reference."""
    turns = take_turns(bench.some(9, 2), **{way: getattr(case, f"of_{way}") for way in WAYS})
    targets = {"exact": 1.9, "sampled": 5.0 if total == 100000 else None, "products": None}
    return [turns.against(f"time: {way}, {end}", "reference", way, least) for way, least in targets.items()]


def draws(case: Case, end: str, number: int) -> list[Result]:
    """Bias and spread of the drawn loss and of its gradient over ``number`` draws."""
    expected, exact = case.of_exact().item(), case.gradient()
    layer = case.vectors.detach().t() @ exact  # of a linear layer, had it made these vectors of themselves
    losses, mean, single = [], torch.zeros_like(exact), []
    for draw in range(number):
        losses.append(case.of_sampled().item())
        gradient = case.gradient()
        single.append(F.cosine_similarity((case.vectors.detach().t() @ gradient).flatten(), layer.flatten(), 0))
        if draw < 8:
            mean += gradient
    drawn = torch.tensor(losses, dtype=torch.float64)
    bias, spread = drawn.mean().item() / expected - 1, drawn.std().item() / expected
    whole = F.cosine_similarity(mean.flatten(), exact.flatten(), 0).item()
    one = torch.stack(single).mean().item()
    error = {"standard error of it": spread / number**0.5}
    return [
        Result(f"sampled: relative bias of the loss, {end}", bias, "", absolute=error),
        Result(f"sampled: relative standard deviation of the loss, {end}", spread, ""),
        Result(f"sampled: cosine of the vectors' gradient, mean of 8 draws, {end}", whole, ""),
        Result(f"sampled: cosine of a layer's gradient, one draw, {end}", one, ""),
    ]
