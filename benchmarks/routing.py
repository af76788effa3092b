"""The routing network: a training step against the sum of its parts, and what skipping closed cells saves.

On a CPU it has the sizes of the streets, on a GPU the paper's. Of ``models`` it also measures latency: of the store's
first 24 evaluated images, one by one and in batches of 8, with what is closed left out, against every gate open.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.timing import Bench, Result, take_turns
from fewmask.costs.route_cost import costs_of
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.routing import routing
from fewmask.nets.routing.cells import Cell
from fewmask.nets.routing.routing import Config, encoder_of
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import Images

STREETS = Config(layers=6, channels=16), (8, 96, 128), 10  # network, images and size, classes
PAPER = Config(), (16, 512, 512), 21
BATCH = 8


def measure(bench: Bench) -> list[Result]:
    """The step, then each model."""
    device, rounds = torch.device(bench.device), bench.some(15, 2)
    found = step(*(PAPER if device.type == "cuda" else STREETS), device, rounds)
    return found + [result for model in bench.models for result in latency(model, bench.images, device, rounds)]


def parts_of(net: SegNet) -> list[nn.Module]:
    """Everything in the network that has parameters, each once: what a step cannot do without."""
    encoder = encoder_of(net)
    assert encoder is not None
    inner = [part for cell in encoder.cells() for part in cell.children()]
    return [encoder.stem, *inner, *net.head.children()]


def separately(net: SegNet, x: Tensor) -> Callable[[], None]:
    """Forward and backward of every part by itself, on inputs as it has them in a step."""
    runs: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs.append((part, inputs[0].detach().clone().requires_grad_(inputs[0].requires_grad), torch.ones_like(output)))

    steps = [step for part in parts_of(net) for step in (part if isinstance(part, nn.ModuleList) else [part])]
    handles = [step.register_forward_hook(note) for step in steps]
    net(x)
    for handle in handles:
        handle.remove()

    def all_of_them() -> None:
        for part, given, gradient in runs:
            part(given).backward(gradient)

    return all_of_them


def step(config: Config, shape: tuple[int, int, int], classes: int, device: torch.device, rounds: int) -> list[Result]:
    """A step of the network against its parts, in float32; on CUDA also under bfloat16 autocast."""
    batch, height, width = shape
    torch.manual_seed(0)
    net = routing.build(config, classes).to(device, memory_format=torch.channels_last).train()
    x = torch.randn(batch, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)
    title = f"step, {config.layers} layers of {config.channels}, {batch} x {height}x{width}"
    found = []
    for precision in [torch.float32, *([torch.bfloat16] if device.type == "cuda" else [])]:
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            parts = separately(net, x)
            turns = take_turns(rounds, whole=lambda: forth_and_back(net, x), parts=parts)
        what = f"{title}, {str(precision).removeprefix('torch.')}, against its parts"
        found.append(Result(what, turns.ratio("whole", "parts"), most=1.3, absolute=turns.seconds()))
    return found


def forth_and_back(net: nn.Module, x: Tensor) -> None:
    net(x).float().mean().backward()


@contextmanager
def all_open() -> Iterator[None]:
    """Every cell and path is computed, whatever the gates say."""
    before = Cell._skips
    Cell._skips = lambda self, x: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        Cell._skips = before  # type: ignore[method-assign]


def latency(model: Path, store: Path, device: torch.device, rounds: int) -> list[Result]:
    """Of the evaluated images: one by one, and in batches."""
    predictor = Predictor(model, device=device)
    with Images(store) as images:
        names = [name for name, role in zip(images.ids, images.roles, strict=True) if role == "test"][: 3 * BATCH]
        pixels = images.stack(names)
    net = predictor.model.net
    assert isinstance(net, SegNet)
    x = predictor.normalise(torch.from_numpy(pixels).to(device))
    costs = costs_of(net, (x.shape[2], x.shape[3]))
    with torch.no_grad():
        gates = net.features(x)[-1].gates  # type: ignore[union-attr]
    share = float(costs.executed(gates.cpu()).mean() / costs.whole)
    found = []
    for batch in (1, BATCH):
        parts = x.split(batch)

        @torch.no_grad()
        def skipping(parts: tuple[Tensor, ...] = parts) -> None:
            for part in parts:
                net(part)

        def dense(run: Callable[[], None] = skipping) -> None:
            with all_open():
                run()

        turns = take_turns(rounds, skipping=skipping, all_open=dense)
        ratio, seconds = turns.ratio("all_open", "skipping"), turns.seconds(each=len(x))
        note = f"{share:.2f} of the cost is executed"
        found.append(Result(f"latency an image, batch {batch}, {model.stem}", ratio, absolute=seconds, note=note))
    return found
