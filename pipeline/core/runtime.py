"""Where and how fast things run: the section ``runtime`` of params.yaml, declared by no stage. torch comes late."""

import os
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, PositiveFloat

from pipeline.core.allocator import keep_memory
from pipeline.core.errors import ConfigError
from pipeline.core.params import Params, Section

if TYPE_CHECKING:
    import torch


class Runtime(Section):
    """``threads`` 0 takes every core (bits repeat for one number of threads only); ``workers`` decode files."""

    device: str = "auto"
    threads: NonNegativeInt = 0
    workers: NonNegativeInt = 2
    checkpoint_seconds: PositiveFloat = 60.0
    deterministic: bool = True


def read_runtime(params: Params | None) -> Runtime:
    """The section ``runtime``, or its defaults."""
    return params.section("runtime", Runtime) if params and params.has("runtime") else Runtime()


def start(params: Params | None) -> tuple[Runtime, "torch.device"]:
    """Set up the process as ``runtime`` says and return it with the device.

    Raises:
        ConfigError: the device does not exist here.
    """
    import torch

    runtime = read_runtime(params)
    keep_memory()
    torch.set_num_threads(runtime.threads or cores())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(runtime.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return runtime, choose_device(runtime.device)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str) -> "torch.device":
    """``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: the device does not exist here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("computes nothing")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"runtime.device: {name!r} is not usable here; expected auto, cpu, or a CUDA device."
        ) from error
    return device
