"""Shards of generated images in the store: written piece by piece, read as one memory-mapped sequence.

A shard is a folder with `images.npy` uint8 (n, H, W, C) and `labels.npy` int64 (n,)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.errors import JobError

IMAGES, LABELS = "images.npy", "labels.npy"


def read_array(path: Path, dtype: type[np.generic], dimensions: int) -> NDArray[Any]:
    """A .npy file, memory-mapped, without pickle. Raises JobError R404 if it is not such an array."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise JobError("R401", f"missing: {path}", "run the study again: the shard will be made") from None
    except (ValueError, OSError, EOFError) as error:
        raise JobError("R404", f"{path} is not an array file: {error}") from error
    if array.dtype != dtype or array.ndim != dimensions:
        raise JobError(
            "R404",
            f"{path} holds {array.dtype} of {array.ndim} dimensions, not {np.dtype(dtype)} of {dimensions}",
        )
    return array


@dataclass(frozen=True, slots=True)
class Shards:
    """Several shards as one set, cut at `images`. Nothing is in memory but what `take` is asked for."""

    parts: tuple[tuple[NDArray[np.uint8], NDArray[np.int64]], ...]
    images: int

    def __len__(self) -> int:
        return self.images

    def take(self, index: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images uint8 (m, H, W, C) and labels int64 (m,) at positions `index` in [0, len), in that order."""
        if len(index) and not 0 <= index.min() <= index.max() < self.images:
            raise IndexError(f"positions must be in [0, {self.images})")
        ends = np.cumsum([len(labels) for _, labels in self.parts])
        which = np.searchsorted(ends, index, side="right")
        images = np.empty((len(index), *self.parts[0][0].shape[1:]), dtype=np.uint8)
        labels = np.empty(len(index), dtype=np.int64)
        for number in np.unique(which):
            chosen = which == number
            local = index[chosen] - (ends[number] - len(self.parts[number][1]))
            images[chosen], labels[chosen] = self.parts[number][0][local], self.parts[number][1][local]
        return images, labels

    def first(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return self.take(np.arange(count, dtype=np.int64))


def open_shards(folders: Sequence[Path], images: int, classes: int | None = None) -> Shards:
    """The first `images` images of shards in order. Raises JobError: R401 missing, R404 of another form,
    R405 fewer images than asked for, R406 one shard named twice."""
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise JobError("R406", "a shard is named twice: its images would count as more than they are")
    parts = []
    for folder in folders:
        pixels = read_array(folder / IMAGES, np.uint8, 4)
        labels = np.asarray(read_array(folder / LABELS, np.int64, 1))
        if len(labels) != len(pixels):
            raise JobError("R404", f"{folder} has {len(pixels)} images and {len(labels)} labels")
        if classes is not None and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise JobError("R404", f"labels in {folder} are not in 0 … {classes - 1}")
        parts.append((pixels, labels))
    held = sum(len(labels) for _, labels in parts)
    if held < images:
        raise JobError("R405", f"{images:,} images are needed, the shards hold {held:,}")
    if len({pixels.shape[1:] for pixels, _ in parts}) != 1:
        raise JobError("R404", "the shards hold images of different shapes")
    return Shards(tuple(parts), images)
