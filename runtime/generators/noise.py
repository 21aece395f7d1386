"""Noise keyed by (seed, image index): the same image whatever shard, batch or order it is made in.

Images are made in aligned blocks; a block's noise is one vectorised draw of a Philox counter generator
(Salmon et al., SC 2011) whose key is the seed and whose counter starts at the block. (The published
generators seed one host generator per image, which costs more than the sampling.)"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

#: About how many images a block holds; rounded up so that every class has equally many.
BLOCK_IMAGES = 2000

#: What a stream of a block is for. Churn of sampler step i draws from stream CHURN + i.
LATENT, START_RADIUS, CHURN = 0, 1, 16


def block_size(classes: int) -> int:
    """Images per block: the least multiple of `classes` that is at least BLOCK_IMAGES."""
    return classes * -(-BLOCK_IMAGES // classes)


@dataclass(frozen=True, slots=True)
class BlockNoise:
    """The random numbers of one block of images: `rows` images of `dimensions` numbers."""

    seed: int
    block: int
    rows: int
    dimensions: int

    def rng(self, stream: int) -> np.random.Generator:
        """A generator that no other (seed, block, stream) shares: counter words 2 and 3 name block and
        stream, words 0 and 1 count 2^128 draws within it."""
        key = int.from_bytes(hashlib.sha256(b"isoloss noise %d" % self.seed).digest()[:16], "little")
        return np.random.Generator(np.random.Philox(key=key, counter=(stream << 192) | (self.block << 128)))

    def normal(self, stream: int) -> torch.Tensor:
        """Standard normal float64 (rows, dimensions)."""
        return torch.from_numpy(self.rng(stream).standard_normal((self.rows, self.dimensions)))

    def beta(self, stream: int, a: float, b: float) -> NDArray[np.float64]:
        """Beta(a, b) variates, float64 (rows,)."""
        return self.rng(stream).beta(a, b, size=self.rows)
