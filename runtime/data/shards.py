"""Shards of images in the store: written piece by piece, read as one sequence.

A shard is a folder with `images.npy` uint8 (n, H, W, C), `labels.npy` int64 (n,) and `manifest.json`, which says
what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from isoloss.runtime.data.rows import Rows
from isoloss.runtime.errors import JobError, first_line

IMAGES, LABELS, MANIFEST = "images.npy", "labels.npy", "manifest.json"
FORMAT = "isoloss.images/1"
_LABELS = 1 << 20


def read_array(path: Path, dtype: type[np.generic], dimensions: int) -> NDArray[Any]:
    """A .npy file, memory-mapped, without pickle. Raises JobError R404 if it is not such an array."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise JobError("R401", f"missing: {path}", "run the study again: the shard will be made") from None
    except Exception as error:
        # A header is an expression that numpy parses: it can fail in any way that its bytes like.
        raise _not_an_array(path, first_line(error)) from error
    if not isinstance(array, np.ndarray):
        raise _not_an_array(path, "it is an archive of some")
    if array.dtype != dtype or array.ndim != dimensions:
        raise JobError(
            "R404",
            f"{path} holds {array.dtype} of {array.ndim} dimensions, not {np.dtype(dtype)} of {dimensions}",
        )
    return array


def _not_an_array(path: Path, reason: str) -> JobError:
    return JobError("R404", f"{path} is not an array file: {reason}", "import or make it again")


@dataclass(frozen=True, slots=True)
class Shards:
    """Several shards as one set, cut at `images`. Nothing is in memory but what is asked for."""

    parts: tuple[tuple[NDArray[np.uint8], NDArray[np.int64]], ...]
    images: int

    def __len__(self) -> int:
        return self.images

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C) of an image."""
        return self.parts[0][0].shape[1:]

    def take(self, index: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images uint8 (m, H, W, C) and labels int64 (m,) at positions `index` in [0, len), in that order."""
        if len(index) and not 0 <= index.min() <= index.max() < self.images:
            raise IndexError(f"positions must be in [0, {self.images})")
        ends = np.cumsum([len(labels) for _, labels in self.parts])
        which = np.searchsorted(ends, index, side="right")
        images = np.empty((len(index), *self.shape), dtype=np.uint8)
        labels = np.empty(len(index), dtype=np.int64)
        for number in np.unique(which):
            chosen = which == number
            local = index[chosen] - (ends[number] - len(self.parts[number][1]))
            images[chosen], labels[chosen] = self.parts[number][0][local], self.parts[number][1][local]
        return images, labels

    def first(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The first `count` images uint8 (count, H, W, C) and labels int64 (count,)."""
        if not 0 <= count <= self.images:
            raise IndexError(f"count must be in [0, {self.images}], got {count}")
        images, labels = np.empty((count, *self.shape), np.uint8), np.empty(count, np.int64)
        Rows([pixels for pixels, _ in self.parts]).read(0, images)
        Rows([classes for _, classes in self.parts]).read(0, labels)
        return images, labels


def open_shards(folders: Sequence[Path], images: int, classes: int | None = None) -> Shards:
    """The first `images` images of shards in order, each as its manifest says. Raises JobError: R401 missing,
    R402 another manifest, R404 of another form, R405 fewer images than asked for, R406 one shard named twice."""
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise JobError("R406", "a shard is named twice: its images would count as more than they are")
    parts = []
    for folder in folders:
        pixels = read_array(folder / IMAGES, np.uint8, 4)
        labels = read_array(folder / LABELS, np.int64, 1)
        if len(labels) != len(pixels):
            raise JobError("R404", f"{folder} has {len(pixels)} images and {len(labels)} labels")
        if (folder / MANIFEST).exists():
            check_manifest(folder, pixels, classes)
        _check_labels(folder, labels, classes)
        parts.append((pixels, labels))
    held = sum(len(labels) for _, labels in parts)
    if held < images:
        raise JobError(
            "R405", f"{images:,} images are needed, the shards hold {held:,}",
            f"state as many as there are: `images = {held}`",
        )  # fmt: skip
    if len({pixels.shape[1:] for pixels, _ in parts}) != 1:
        raise JobError("R404", "the shards hold images of different shapes")
    return Shards(tuple(parts), images)


def check_manifest(folder: Path, pixels: NDArray[np.uint8], classes: int | None) -> Mapping[str, Any]:
    """The manifest of a shard, if it is of these images. Raises JobError R402; its checksums are the store's to
    verify, or `folders.py`'s."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        said = manifest["format"], manifest["count"], tuple(manifest["shape"]), manifest["classes"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise JobError("R402", f"{folder / MANIFEST} is damaged", "import or make it again") from error
    found = FORMAT, len(pixels), pixels.shape[1:], said[3] if classes is None else classes
    if said != found:
        raise JobError(
            "R402", f"{folder} holds other images than its manifest says", "import or make it again"
        )
    checked: Mapping[str, Any] = manifest
    return checked


def _check_labels(folder: Path, labels: NDArray[np.int64], classes: int | None) -> None:
    if classes is None:
        return
    # In pieces: a map of all labels at once would stay in memory.
    rows, piece = Rows([labels]), np.empty(min(len(labels), _LABELS), np.int64)
    for start in range(0, len(labels), _LABELS):
        part = piece[: min(_LABELS, len(labels) - start)]
        rows.read(start, part)
        if len(part) and not 0 <= part.min() <= part.max() < classes:
            raise JobError("R404", f"labels in {folder} are not in 0 … {classes - 1}")
