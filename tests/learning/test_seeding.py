"""Randomness is a function of (seed, keys)."""

import itertools

import numpy as np

from fewmask.learning.seeding import generator, torch_seed


def test_the_same_keys_give_the_same_numbers_whoever_asks_whenever() -> None:
    first = generator(3, "fit", 7).random(4).tolist()
    generator(3, "fit", 8).random(100)
    assert generator(3, "fit", 7).random(4).tolist() == first


def test_every_other_seed_name_number_or_order_is_another_stream() -> None:
    keys = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, 1, "a"), (0, "a", 2)]
    seeds = [torch_seed(*key) for key in keys]
    assert all(a != b for a, b in itertools.combinations(seeds, 2))
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_a_name_has_a_fixed_number() -> None:
    """Python's own hash of a string differs between processes; CRC32 does not: that of "123456789" is 0xCBF43926."""
    again = np.random.default_rng([5, 0xCBF43926, 2])
    assert generator(5, "123456789", 2).random(3).tolist() == again.random(3).tolist()
