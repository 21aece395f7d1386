"""Write images in a random order that memory could not hold: two passes over the disk, both in order.

Pass one puts each image into the bucket that its place in the order falls into; pass two reads one bucket at a time,
sorts it in memory and appends it. Image i goes to place permute(i), so that the order depends on the seed and
the count alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.data.parts import Chunk
from isoloss.runtime.data.permutation import permute
from isoloss.runtime.data.shards import IMAGES, LABELS
from isoloss.runtime.noise import key

#: Bytes of images sorted in memory at a time; pass two holds them twice.
BUCKET_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """`kept` of `count` images in the order of a seed: image i goes to place places(i), and stays if that is below
    `kept`."""

    count: int
    kept: int
    seed: int

    def places(self, start: int, stop: int) -> NDArray[np.int64]:
        return permute(np.arange(start, stop, dtype=np.uint64), key(self.seed, "import"), self.count)


def write_shuffled(
    chunks: Iterable[Chunk],
    order: Order,
    shape: tuple[int, ...],
    output: Path,
    work: Path,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, str]:
    """Write `images.npy` and `labels.npy` to `output`; buckets lie in `work` meanwhile. Returns the SHA-256 of both
    files. Raises ValueError where the chunks hold other than `order.count` images, OSError of the disk."""
    record = np.dtype([("place", "<i8"), ("label", "<i8"), ("image", np.uint8, shape)])
    rows = max(1, BUCKET_BYTES // record["image"].itemsize)
    buckets, done = -(-order.kept // rows), 0
    for images, labels in chunks:
        places = order.places(done, done + len(images))
        done += len(images)
        _distribute(images, labels, places, rows, order.kept, record, work)
        progress(0.5 * done / max(1, order.count))
    if done != order.count:
        raise ValueError(f"{done:,} images came, {order.count:,} were promised")
    pixels = _Output(output / IMAGES, (order.kept, *shape), np.dtype(np.uint8))
    classes = _Output(output / LABELS, (order.kept,), np.dtype(np.int64))
    with pixels, classes:
        for number in range(buckets):
            _append(_bucket(work, number), number * rows, record, pixels, classes)
            progress(0.5 + 0.5 * (number + 1) / buckets)
    return {IMAGES: pixels.sha256(), LABELS: classes.sha256()}


def _bucket(work: Path, number: int) -> Path:
    return work / f"bucket.{number}"


def _distribute(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    places: NDArray[np.int64],
    rows: int,
    kept: int,
    record: np.dtype[np.void],
    work: Path,
) -> None:
    """Append each image to its bucket."""
    chosen = np.flatnonzero(places < kept)
    chosen = chosen[np.argsort(places[chosen] // rows, kind="stable")]
    table = np.empty(len(chosen), record)
    table["place"], table["label"], table["image"] = places[chosen], labels[chosen], images[chosen]
    numbers = table["place"] // rows
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(table)]
    for begin, end in pairwise(cuts):
        if end > begin:
            # Opened anew each time: a set of hundreds of gigabytes has more buckets than a process may have files.
            with _bucket(work, int(numbers[begin])).open("ab") as file:
                table[begin:end].tofile(file)


def _append(path: Path, first: int, record: np.dtype[np.void], pixels: _Output, classes: _Output) -> None:
    """One bucket in order to the ends of the files."""
    table = np.fromfile(path, record)
    path.unlink()
    images = np.empty((len(table), *record["image"].shape), np.uint8)
    labels = np.empty(len(table), np.int64)
    place = table["place"] - first
    images[place], labels[place] = table["image"], table["label"]
    pixels.append(images)
    classes.append(labels)


class _Output:
    """A .npy file written from its beginning to its end, and its checksum on the way."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        np.lib.format.write_array_header_2_0(
            self, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        )

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def append(self, rows: NDArray[np.generic]) -> None:
        if rows.size:
            data = rows.data.cast("B")
            self._digest.update(data)
            self._file.write(data)

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
