"""The device that networks run on, and a process set up for it."""

import ctypes
import os

import torch

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.core.runtime import Runtime, read_runtime

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4  # glibc's mallopt


def start(params: Params | None) -> tuple[Runtime, torch.device]:
    """Set up the process as ``runtime`` says and return it with the device.

    Raises:
        ConfigError: the device does not exist here.
    """
    runtime = read_runtime(params)
    keep_memory()
    torch.set_num_threads(runtime.threads or cores())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms() does the same and imports PyTorch's compiler, which costs a labelling three seconds
    torch.set_deterministic_debug_mode("error" if runtime.deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return runtime, choose_device(runtime.device)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: the device does not exist here.
    """
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


def keep_memory() -> bool:
    """Keep freed activation buffers in the process; False (and no harm) where the C library has no mallopt.

    By default glibc maps every block over 32 MB afresh and gives it back on free: 600 000 page faults in one training
    step at 360x480, half of its time. docs/performance.md has the measured ratios.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {M_MMAP_THRESHOLD: 1 << 30, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 << 20}
    return sum(mallopt(option, value) for option, value in settings.items()) == len(settings)
