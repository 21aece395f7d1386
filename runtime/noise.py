"""Random numbers that belong to a place in a run: (seed, purpose, position) -> the same numbers always.

A rank that works on rows [offset, offset + n) of a global batch draws for the whole batch and keeps its rows,
so a batch gets the same noise however many processes share it, and a resumed run gets what it would have
had."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def key(*parts: int | str) -> int:
    """A 63-bit seed from a place: SHA-256 over the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True, slots=True)
class Noise:
    """Draws for the rows [offset, offset + n) of a batch of `total` rows; total None: the rows are the
    batch."""

    rng: torch.Generator
    offset: int = 0
    total: int | None = None

    def uniform(self, like: Tensor) -> Tensor:
        """U[0, 1), shape, dtype and device of `like` (B, ...)."""
        return self._rows(like, torch.rand(self._shape(like), generator=self.rng, device=self.rng.device))

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1), shape, dtype and device of `like` (B, ...)."""
        return self._rows(like, torch.randn(self._shape(like), generator=self.rng, device=self.rng.device))

    def integers(self, high: int, count: int, columns: int) -> Tensor:
        """int64 (count, columns) in [0, high)."""
        total = count if self.total is None else self.total
        drawn = torch.randint(high, (total, columns), generator=self.rng, device=self.rng.device)
        return drawn[self.offset : self.offset + count]

    def beta(self, count: int, a: float, b: float) -> NDArray[np.float64]:
        """Beta(a, b), float64 (count,), on the host: torch draws no Beta from a generator."""
        total = count if self.total is None else self.total
        rng = np.random.Generator(np.random.Philox(self.rng.initial_seed()))
        return rng.beta(a, b, size=total)[self.offset : self.offset + count]

    def thinned(self) -> Noise:
        """The noise of every second row of the batch: what is drawn for rows 1, 3, 5, … Where processes share
        a batch, each must hold an even number of rows."""
        return Noise(self.rng, self.offset // 2, None if self.total is None else self.total // 2)

    def _shape(self, like: Tensor) -> Sequence[int]:
        return (like.shape[0] if self.total is None else self.total, *like.shape[1:])

    def _rows(self, like: Tensor, drawn: Tensor) -> Tensor:
        return drawn[self.offset : self.offset + like.shape[0]].to(like)


def noise_at(*parts: int | str, device: str = "cpu", offset: int = 0, total: int | None = None) -> Noise:
    """The noise of a place, e.g. noise_at(seed, "attack", first_position)."""
    return Noise(torch.Generator(device).manual_seed(key(*parts)), offset, total)


def as_noise(rng: torch.Generator | Noise) -> Noise:
    return rng if isinstance(rng, Noise) else Noise(rng)
