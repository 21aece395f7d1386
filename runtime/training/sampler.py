"""Which image stands at position p of a training: a keyed permutation per pass over the images. Stateless.

Position p belongs to pass p // n and is image perm[seed, pass](p % n): no image twice within a pass, none
missing, O(1) per position, any n; a resumed run needs p alone. (Bartoldson et al., App. G.3, lost sampler
state at every restart.)"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.noise import key

ROUNDS = 6
_MIX_A, _MIX_B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

U64 = NDArray[np.uint64]


def mix(value: U64) -> U64:
    """SplitMix64's finaliser (Steele et al. 2014), a bijection of 64-bit words."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_A
    value = (value ^ (value >> np.uint64(27))) * _MIX_B
    return value ^ (value >> np.uint64(31))


def permute(positions: U64, keys: U64, size: int) -> NDArray[np.int64]:
    """A permutation of [0, size) per key, at `positions` (m,) in [0, size); `keys` (m,).

    A balanced Feistel network over the next even number of bits, walked until it lands in range: the domain
    is under 4 times `size`, so walks are short."""
    if size == 1:
        return np.zeros(len(positions), dtype=np.int64)
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    value = positions.astype(np.uint64)
    walking = np.ones(len(value), dtype=bool)
    while walking.any():
        value[walking] = _feistel(value[walking], keys[walking], half, mask)
        walking = value >= np.uint64(size)
    return value.astype(np.int64)


def _feistel(value: U64, keys: U64, half: np.uint64, mask: np.uint64) -> U64:
    left, right = value >> half, value & mask
    for turn in range(ROUNDS):
        left, right = right, left ^ (mix(right ^ keys ^ mix(keys + np.uint64(turn))) & mask)
    return (left << half) | right


class Sampler:
    """`indices(positions)` -> image numbers in [0, images)."""

    def __init__(self, seed: int, images: int, stream: str = "data") -> None:
        if images < 1:
            raise ValueError(f"images must be at least 1, got {images}")
        self.images = images
        self._seed = seed
        self._stream = stream
        self._keys: dict[int, int] = {}

    def indices(self, start: int, stop: int) -> NDArray[np.int64]:
        """Images at positions [start, stop), (stop - start,)."""
        positions = np.arange(start, stop, dtype=np.int64)
        passes = positions // self.images
        keys = np.empty(len(positions), dtype=np.uint64)
        for number in range(start // self.images, (stop - 1) // self.images + 1 if stop > start else 0):
            keys[passes == number] = self._key(number)
        return permute((positions % self.images).astype(np.uint64), keys, self.images)

    def _key(self, number: int) -> int:
        if number not in self._keys:
            self._keys = {
                number: key(self._seed, self._stream, "pass", number),
                **dict([*self._keys.items()][:3]),
            }
        return self._keys[number]
