"""Which image stands at position p of a training: a keyed permutation per pass over the images. Stateless.

Position p belongs to pass p // n and is image perm[seed, pass](p % n): no image twice within a pass, none
missing, O(1) per position, any n; a resumed run needs p alone. (Bartoldson et al., App. G.3, lost sampler
state at every restart.)

Sets that memory may not hold are permuted in two steps, so that a disk is read in pieces it is quick at: blocks
of consecutive images in random order, then all images of a window of many blocks among themselves. What decides
is the size of the set and of its images, never the machine: a run's order is the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.data.permutation import permute
from isoloss.runtime.noise import key


@dataclass(frozen=True, slots=True)
class Grain:
    """How finely a set is shuffled: `block` consecutive images stay together on the disk, a batch is drawn from a
    window of `window` images, whole blocks. A window as large as the set: one permutation of all images."""

    block: int
    window: int


#: Sets up to this size are shuffled whole.
WHOLE_BYTES = 512 << 20
#: A block is what one read fetches: at 1 MiB a disk of 200 MB/s and 8 ms a seek loses 60 % of its time to seeks, an
#: SSD nothing. A window is what a batch is drawn from, and two of them are in memory: 128 blocks, 43,000 CIFAR
#: images. Files are written in random order (imports) or made so (image i is independent of image j), so that
#: a block is a random sample already; what a window fixes is only which images may meet in a batch.
BLOCK_BYTES, WINDOW_BLOCKS = 1 << 20, 128


def grain(images: int, image_bytes: int) -> Grain:
    """How finely so many images of so many bytes each are shuffled."""
    if images * image_bytes <= WHOLE_BYTES:
        return Grain(images, images)
    block = max(1, BLOCK_BYTES // image_bytes)
    return Grain(block, block * WINDOW_BLOCKS)


@dataclass(frozen=True, slots=True)
class Place:
    """Where positions of one window lie: `rows` (m,) of the window's images, in the order of `Sampler.runs`."""

    number: int  # of the window, counted over all passes
    rows: NDArray[np.int64]


class Sampler:
    """`indices(start, stop)` -> image numbers in [0, images) at positions."""

    def __init__(self, seed: int, images: int, stream: str = "data", grain: Grain | None = None) -> None:
        if images < 1:
            raise ValueError(f"images must be at least 1, got {images}")
        self.images = images
        self.whole = grain is None or grain.window >= images
        self.grain = Grain(images, images) if grain is None or self.whole else grain
        self._per_pass = -(-images // self.grain.window)
        self._seed, self._stream = seed, stream
        self._latest: tuple[int, NDArray[np.int64]] = (0, np.empty(0, np.int64))

    def indices(self, start: int, stop: int) -> NDArray[np.int64]:
        """Images at positions [start, stop), (stop - start,)."""
        begin, last = self._latest
        if not begin <= start <= stop <= begin + len(last):
            found = [self._images_of(place) for place in self.places(start, stop)]
            # The ledger asks for a batch and then the feed: it is worked out once.
            begin, last = self._latest = start, np.concatenate(found) if found else np.empty(0, np.int64)
        return last[start - begin : stop - begin]

    def places(self, start: int, stop: int) -> Iterator[Place]:
        """Positions [start, stop) by the windows they lie in, in order."""
        while start < stop:
            turn, position = divmod(start, self.images)
            window, first = divmod(position, self.grain.window)
            size = self.window_images(turn * self._per_pass + window)
            count = min(stop - start, size - first)
            key = self._key("pass", turn) if self.whole else self._key("pass", turn, "window", window)
            rows = permute(np.arange(first, first + count, dtype=np.uint64), key, size)
            yield Place(turn * self._per_pass + window, rows)
            start += count

    def window_images(self, number: int) -> int:
        """Images of a window: the last one of a pass has what is left."""
        window = number % self._per_pass
        return min(self.grain.window, self.images - window * self.grain.window)

    def runs(self, number: int) -> NDArray[np.int64]:
        """A window's images as runs of consecutive ones: (runs, 2) of first image and count; a run may go on at
        image 0 after the last. The window's rows are these runs, one after the other."""
        turn, window = divmod(number, self._per_pass)
        first, size, block = window * self.grain.window, self.window_images(number), self.grain.block
        slots = np.arange(first // block, -(-(first + size) // block), dtype=np.int64)
        counts = np.minimum(block, first + size - slots * block)
        return np.stack([self._starts(turn, slots), counts], 1)

    def _images_of(self, place: Place) -> NDArray[np.int64]:
        turn, window = divmod(place.number, self._per_pass)
        rows = place.rows + window * self.grain.window
        slots = rows // self.grain.block
        return (self._starts(turn, slots) + rows % self.grain.block) % self.images

    def _starts(self, turn: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """First images of the blocks at `slots` of a pass. Blocks begin at another image in every pass, so that no
        two images are neighbours for ever; what is left over after the last whole block comes last."""
        if self.whole:
            return slots
        blocks = self.images // self.grain.block
        order = slots.copy()
        whole = slots < blocks
        order[whole] = permute(slots[whole].astype(np.uint64), self._key("blocks", turn), blocks)
        shift = self._key("shift", turn) % self.images
        return (order * self.grain.block + shift) % self.images

    def _key(self, *place: int | str) -> int:
        return _key(self._seed, self._stream, *place)


@lru_cache(maxsize=64)
def _key(*place: int | str) -> int:
    return key(*place)
