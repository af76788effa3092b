"""The routing network: a training step against the sum of its parts, with a target, and what skipping saves.

    python -m benchmarks.routing                          # on a CPU, the sizes of the streets
    python -m benchmarks.routing --paper                  # on a GPU, the paper's
    python -m benchmarks.routing --models models/selene.safetensors budget_0.4.safetensors --images data/images.h5

Of models it also measures latency: of the store's first 24 evaluated images, one by one and in batches of 8, with what
is closed left out, against every gate open.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from benchmarks.timing import Result, interleaved
from fewmask.costs.route_cost import costs_of
from fewmask.nets.base.device import choose_device, keep_memory
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.routing import routing
from fewmask.nets.routing.cells import Cell
from fewmask.nets.routing.routing import Config, encoder_of
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import Images

STREETS = Config(layers=6, channels=16), (8, 96, 128), 10  # network, images and size, classes
PAPER = Config(), (16, 512, 512), 21
BATCH = 8


def settled(run: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The same, not over before the device is done."""

    def whole() -> None:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return whole


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
            times = interleaved(
                rounds, whole=settled(lambda: forth_and_back(net, x), device), parts=settled(parts, device)
            )
        name = str(precision).removeprefix("torch.")
        found.append(
            Result(f"{title}, {name}, against its parts", times["whole"] / times["parts"], most=1.3, absolute=times)
        )
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

        times = interleaved(rounds, skipping=settled(skipping, device), all_open=settled(dense, device))
        ratio = times["all_open"] / times["skipping"]
        each = {key: value / len(x) for key, value in times.items()}
        note = f"{share:.2f} of the cost is executed"
        found.append(Result(f"latency an image, batch {batch}, {model.stem}", ratio, absolute=each, note=note))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="the paper's network, crops and batch")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="measure the latency of these, too")
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    keep_memory()
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    results = step(*(PAPER if args.paper else STREETS), device, args.rounds)
    for model in args.models:
        results += latency(model, args.images, device, args.rounds)
    print("\n".join(result.line() for result in results))
    if args.out:
        gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
        environment: dict[str, Any] = {**describe(), **gpu, "threads": args.threads, "rounds": args.rounds}
        rows = [result.plain() for result in results]
        args.out.write_text(json.dumps({"environment": environment, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
