"""What was drawn: evidence that within a pass no image came twice and none was missed.

Counted as the images are drawn, from the very indices that were loaded. The chain is SHA-256 over all of
them in order: two runs with equal chains saw equal streams."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ledger:
    """Of one source of `images` images."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.drawn = 0
        self.twice = 0
        self.missed = 0
        self.chain = b""
        self._seen = np.zeros(images, dtype=bool)

    def add(self, index: NDArray[np.int64]) -> None:
        """Indices in the order of their positions; a pass ends after every `images` of them."""
        self.chain = hashlib.sha256(self.chain + index.astype("<i8").tobytes()).digest()
        while len(index):
            room = self.images - self.drawn % self.images
            part, index = index[:room], index[room:]
            fresh = np.unique(part[~self._seen[part]])
            self.twice += len(part) - len(fresh)
            self._seen[part] = True
            self.drawn += len(part)
            if self.drawn % self.images == 0:
                self.missed += int(self.images - self._seen.sum())
                self._seen[:] = False

    def summary(self) -> dict[str, Any]:
        """`twice` and `missed` are 0 for a sound run; `missed` counts complete passes only."""
        return {
            "images": self.images,
            "drawn": self.drawn,
            "passes": self.drawn // self.images,
            "twice": self.twice,
            "missed": self.missed,
            "sha256": self.chain.hex(),
        }

    def state(self) -> dict[str, Any]:
        return {
            "drawn": self.drawn,
            "twice": self.twice,
            "missed": self.missed,
            "chain": self.chain,
            "seen": np.packbits(self._seen).tobytes(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.drawn, self.twice, self.missed = state["drawn"], state["twice"], state["missed"]
        self.chain = state["chain"]
        bits = np.unpackbits(np.frombuffer(state["seen"], np.uint8), count=self.images)
        self._seen = bits.astype(bool)
