"""The section ``runtime`` of params.yaml: where and how fast things run; it changes no result."""

from pydantic import NonNegativeInt, PositiveFloat

from fewmask.core.params import Params, Section


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
