"""What a measurement was made on."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "numpy", "h5py", "pillow", "dvc", "timm")


def describe() -> dict[str, Any]:
    """Processor, cores, memory and versions; no names of hosts or people."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": cpu or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**20),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES if _has(name)},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _has(name: str) -> bool:
    return any(distribution.name.lower() == name for distribution in importlib.metadata.distributions(name=name))
