"""Images to batches: uint8 on the training device, floats in [0, 1] made there.

One source (generated or real) or two mixed at a fixed ratio per batch; each has its own stateless sampler, so
every source is drawn without replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.runtime.data import ImageSet
from isoloss.runtime.training.sampler import Sampler

#: Sets up to this size live on the device; larger ones are read from their memory maps batch by batch.
RESIDENT_BYTES = 4 << 30


class Images(Protocol):
    """Random access to labelled images."""

    def __len__(self) -> int: ...

    def take(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """uint8 (B, C, H, W) in channels-last memory and int64 labels (B,), on the device."""
        ...


class Resident:
    """All images in device memory."""

    def __init__(self, sets: Sequence[ImageSet], limit: int, device: str) -> None:
        images = np.concatenate([part.images for part in sets])[:limit]
        labels = np.concatenate([part.labels for part in sets])[:limit]
        self._images = torch.from_numpy(images).to(device)
        self._labels = torch.from_numpy(labels).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(index).to(self._labels.device)
        return self._images.index_select(0, rows).permute(0, 3, 1, 2), self._labels.index_select(0, rows)


class Mapped:
    """Images read from their files as they are needed: for sets larger than the device."""

    def __init__(self, sets: Sequence[ImageSet], limit: int, device: str) -> None:
        self._sets = list(sets)
        self._starts = np.cumsum([0, *(len(part) for part in sets)])
        self._length = min(limit, int(self._starts[-1]))
        self._device = device

    def __len__(self) -> int:
        return self._length

    def take(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images = np.empty((len(index), *self._sets[0].images.shape[1:]), dtype=np.uint8)
        labels = np.empty(len(index), dtype=np.int64)
        home = np.searchsorted(self._starts, index, side="right") - 1
        for number in np.unique(home):
            rows = home == number
            local = index[rows] - self._starts[number]
            images[rows], labels[rows] = self._sets[number].images[local], self._sets[number].labels[local]
        x = torch.from_numpy(images).to(self._device, non_blocking=True)
        return x.permute(0, 3, 1, 2), torch.from_numpy(labels).to(self._device, non_blocking=True)


def open_images(sets: Sequence[ImageSet], limit: int | None, device: str) -> Images:
    """The first `limit` images of the sets, in order: resident on the device where they fit."""
    available = sum(len(part) for part in sets)
    wanted = available if limit is None else min(limit, available)
    size = sum(part.images.nbytes for part in sets)
    return (Resident if size <= RESIDENT_BYTES else Mapped)(sets, wanted, device)


@dataclass(frozen=True, slots=True)
class Source:
    """`quota` images of every batch come from here."""

    images: Images
    sampler: Sampler
    quota: int


class Feed:
    """Batch of a step: float32 (B, C, H, W) in [0, 1], labels (B,), and which images they are."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(source for source in sources if source.quota)
        self.batch = sum(source.quota for source in self.sources)

    def indices(self, step: int) -> list[NDArray[np.int64]]:
        """Image numbers per source of 0-based `step`, for the whole global batch."""
        return [s.sampler.indices(step * s.quota, (step + 1) * s.quota) for s in self.sources]

    def load(self, indices: list[NDArray[np.int64]], start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Rows [start, stop) of the global batch."""
        images, labels, offset = [], [], 0
        for source, index in zip(self.sources, indices, strict=True):
            rows = index[max(0, start - offset) : max(0, stop - offset)]
            offset += source.quota
            if len(rows):
                x, y = source.images.take(rows)
                images.append(x)
                labels.append(y)
        x_BCHW = images[0] if len(images) == 1 else torch.cat(images)
        y_B = labels[0] if len(labels) == 1 else torch.cat(labels)
        return x_BCHW.float().div_(255.0), y_B


def quotas(batch: int, fraction: float) -> tuple[int, int]:
    """Generated and real images of a batch, ceil(batch * fraction) generated: as the published "better"
    sampler, which allows a fraction of 1."""
    generated = int(np.ceil(round(batch * fraction, 9)))
    return generated, batch - generated
