"""Images to batches: uint8 in memory or on disk, floats in [0, 1] made on the training device.

One source (generated or real) or two mixed at an exact ratio; each has its own stateless sampler, so every source
is drawn without replacement. Sets that memory may not hold are read ahead (stream.py)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.runtime.data import ImageSet
from isoloss.runtime.data.rows import Rows
from isoloss.runtime.training.sampler import WHOLE_BYTES, Sampler, grain
from isoloss.runtime.training.stream import Streamed

#: Sets up to these sizes live in the training device's memory; larger ones are streamed.
RESIDENT_BYTES = {"cpu": WHOLE_BYTES, "cuda": 4 << 30}
#: Batches made ahead of the step that trains on them, where images are streamed.
AHEAD = 3
_COPY_ROWS = 1 << 14


class Images(Protocol):
    """The images at positions of a sampler."""

    def draw(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """uint8 (B, H, W, C) and int64 labels (B,)."""
        ...


class Resident:
    """The first `limit` images of some sets, all in device memory."""

    def __init__(self, sets: Sequence[ImageSet], limit: int, device: str) -> None:
        images = np.empty((limit, *sets[0].images.shape[1:]), np.uint8)
        labels = np.empty(limit, np.int64)
        # Read, not mapped: pages of a map would be in memory beside the copy.
        for rows, out in ((Rows([s.images for s in sets]), images), (Rows([s.labels for s in sets]), labels)):
            for start in range(0, limit, _COPY_ROWS):
                rows.read(start, out[start : start + _COPY_ROWS])
        self._images = torch.from_numpy(images).to(device)
        self._labels = torch.from_numpy(labels).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """uint8 (B, C, H, W) in channels-last memory and int64 labels (B,), on the device."""
        images, labels = self.rows(index)
        return images.permute(0, 3, 1, 2), labels

    def rows(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(index).to(self._labels.device)
        return self._images.index_select(0, rows), self._labels.index_select(0, rows)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Resident images in a sampler's order."""

    images: Resident
    sampler: Sampler

    def draw(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        return self.images.rows(self.sampler.indices(start, stop))


def open_images(sets: Sequence[ImageSet], limit: int | None, device: str) -> Resident:
    """The first `limit` images of the sets, in order, on the device: for evaluations, whose sets are small."""
    available = sum(len(part) for part in sets)
    return Resident(sets, available if limit is None else min(limit, available), device)


@dataclass(frozen=True, slots=True)
class Source:
    """`share` of all images drawn come from here."""

    images: Images
    sampler: Sampler
    share: Fraction = Fraction(1)


def open_source(
    sets: Sequence[ImageSet],
    limit: int,
    seed: int,
    device: str = "cpu",
    *,
    name: str = "data",
    share: Fraction = Fraction(1),
) -> Source:
    """The first `limit` images of the sets, in an order that (seed, name) and their number and size decide."""
    image_bytes = int(np.prod(sets[0].images.shape[1:]))
    sampler = Sampler(seed, limit, name, grain(limit, image_bytes))
    if limit * image_bytes <= RESIDENT_BYTES[device.partition(":")[0]]:
        return Source(Drawn(Resident(sets, limit, device), sampler), sampler, share)
    return Source(Streamed(sets, sampler, pinned=device.startswith("cuda")), sampler, share)


class Feed:
    """Batch of a step: float32 (B, C, H, W) in [0, 1], labels (B,), and which images they are.

    Of the first n images drawn, ceil(n x share) come from the first source, for every n that ends a step: a
    ratio of 7:1 is exact whenever n is a multiple of 8, and off by less than one image else. (The published
    "better" sampler rounds up in every batch.) `rows`: this process's, [start, stop) of every batch; no others
    are read."""

    def __init__(
        self,
        sources: Sequence[Source],
        batch: int,
        device: str = "cpu",
        rows: tuple[int, int] | None = None,
    ) -> None:
        assert len(sources) == 1 or (len(sources) == 2 and sources[0].share + sources[1].share == 1)
        self.sources, self.batch, self.device = tuple(sources), batch, device
        self.start, self.stop = rows or (0, batch)
        self.waited_seconds = 0.0
        streamed = any(isinstance(source.images, Streamed) for source in sources)
        # One thread: windows of one source must be drawn from in order.
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="batches") if streamed else None
        self._ahead: deque[tuple[int, Future[list[tuple[Tensor, Tensor]]]]] = deque()
        self._drawn: tuple[int, Tensor, Tensor] | None = None  # the latest step's, uint8, on the device

    def _positions(self, step: int) -> list[tuple[int, int]]:
        """Positions [start, stop) of a step in each source, for the whole global batch."""
        before, after = step * self.batch, (step + 1) * self.batch
        first = self.sources[0].share
        cuts = (
            -(-before * first.numerator // first.denominator),
            -(-after * first.numerator // first.denominator),
        )
        return [cuts, (before - cuts[0], after - cuts[1])][: len(self.sources)]

    def indices(self, step: int) -> list[NDArray[np.int64]]:
        """Image numbers per source of 0-based `step`, for the whole global batch."""
        pairs = zip(self.sources, self._positions(step), strict=True)
        return [source.sampler.indices(*positions) for source, positions in pairs]

    def load(self, step: int, start: int | None = None, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows [start, stop) of the step's batch, of this process's; all of these unless said.

        Steps go forward; after a jump images are read anew."""
        if self._drawn is None or self._drawn[0] != step:
            self._drawn = (step, *self._transferred(step))
        _, x_BHWC, y_B = self._drawn
        first = self.start if start is None else start
        last = self.stop if stop is None else stop
        part = slice(first - self.start, last - self.start)
        return x_BHWC[part].permute(0, 3, 1, 2).float().div_(255.0), y_B[part]

    def _transferred(self, step: int) -> tuple[Tensor, Tensor]:
        began = time.monotonic()
        parts = self._draw(step) if self._maker is None else self._made(step)
        self.waited_seconds += time.monotonic() - began
        parts = [
            (x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)) for x, y in parts
        ]
        if len(parts) == 1:
            return parts[0]
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])

    def _made(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """A step's images from the thread that makes them ahead."""
        assert self._maker is not None
        while self._ahead and self._ahead[0][0] != step:
            self._ahead.popleft()[1].cancel()
        following = self._ahead[-1][0] + 1 if self._ahead else step
        for wanted in range(following, step + AHEAD + 1):
            self._ahead.append((wanted, self._maker.submit(self._draw, wanted)))
        return self._ahead.popleft()[1].result()

    def _draw(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """uint8 images and labels of this process's rows, per source that has any."""
        found, offset = [], 0
        for source, (first, last) in zip(self.sources, self._positions(step), strict=True):
            begin, end = max(0, self.start - offset), min(last - first, self.stop - offset)
            offset += last - first
            if begin < end:
                found.append(source.images.draw(first + begin, first + end))
        return found
