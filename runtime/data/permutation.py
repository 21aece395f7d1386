"""Keyed permutations of [0, n) without a table: where one position goes costs the same however large n is.

In: positions, a key, n. Out: images of the positions. Used for the order of training images and of imports."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6
_MIX_A, _MIX_B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

U64 = NDArray[np.uint64]


def mix(value: U64) -> U64:
    """SplitMix64's finaliser (Steele et al. 2014), a bijection of 64-bit words."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_A
    value = (value ^ (value >> np.uint64(27))) * _MIX_B
    return value ^ (value >> np.uint64(31))


def permute(positions: U64, key: int, size: int) -> NDArray[np.int64]:
    """A permutation of [0, size) at `positions` (m,) in [0, size); another one for every key.

    A balanced Feistel network over the next even number of bits, walked until it lands in range: the domain
    is under 4 times `size`, so walks are short."""
    if size == 1:
        return np.zeros(len(positions), dtype=np.int64)
    half, end = max(1, ((size - 1).bit_length() + 1) // 2), np.uint64(size)
    keys = _round_keys(key)
    value = _feistel(positions, keys, np.uint64(half), np.uint64((1 << half) - 1))
    outside = np.flatnonzero(value >= end)
    while len(outside):
        value[outside] = _feistel(value[outside], keys, np.uint64(half), np.uint64((1 << half) - 1))
        outside = outside[value[outside] >= end]
    return value.astype(np.int64)


@lru_cache(maxsize=256)
def _round_keys(key: int) -> tuple[np.uint64, ...]:
    keys: U64 = np.full(ROUNDS, key, np.uint64)
    turns: U64 = np.arange(ROUNDS, dtype=np.uint64)
    mixed: U64 = keys ^ mix(keys + turns)
    return tuple(mixed)


def _feistel(value: U64, keys: tuple[np.uint64, ...], half: np.uint64, mask: np.uint64) -> U64:
    left, right = value >> half, value & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return (left << half) | right
