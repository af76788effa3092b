"""Randomness that depends on names and numbers, never on order or on a worker."""

import zlib

import numpy as np


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A generator of its own for (seed, keys): the same whoever asks, whenever."""
    return np.random.default_rng([seed, *(_number(key) for key in keys)])


def torch_seed(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for torch's generator from (seed, keys)."""
    return int(generator(seed, *keys).integers(1 << 63))


def _number(key: int | str) -> int:
    return zlib.crc32(key.encode()) if isinstance(key, str) else key
