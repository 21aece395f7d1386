"""Features of many images, row by row when asked: memory does not grow with the number of images.

In: images somewhere (a dataset in memory, shards on the disk) and a space. Out: a `FeatureSet`. What a network
computes is kept on the disk, resumably, and for real images under the name of its contents, so that it is computed
once per dataset and space; pixels are made again each time, which is cheaper."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from isoloss.runtime import disk
from isoloss.runtime.data import ImageSet
from isoloss.runtime.data.shards import Shards
from isoloss.runtime.errors import JobError
from isoloss.runtime.quality.features import Floats, Space
from isoloss.runtime.store.arrays import Mapped, mapped

#: Images whose features are made and kept at a time.
PIECE = 1000
_FILE, _MARK, _SUM = "features.npy", "done", "sha256"
Index = NDArray[np.int64]
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Pictures:
    """`take` gives images uint8 (m, H, W, C) and labels int64 (m,) at positions (m,) of `count`. `strata`: how many
    of them, in order, are of each kind (generated, real); each kind's first so many are a sample of it."""

    count: int
    take: Callable[[Index], tuple[NDArray[np.uint8], NDArray[np.int64]]]
    strata: tuple[int, ...]

    @classmethod
    def of(cls, images: ImageSet | Shards) -> Pictures:
        if isinstance(images, Shards):
            return cls(len(images), images.take, (len(images),))
        pixels, labels = images.images, images.labels
        return cls(len(images), lambda index: (pixels[index], labels[index]), (len(images),))

    def read(self, index: Index) -> NDArray[np.uint8]:
        return self.take(index)[0]

    def and_then(self, other: Pictures) -> Pictures:
        """These, then the other ones."""

        def take(index: Index) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            mine = index < self.count
            parts = self.take(index[mine]), other.take(index[~mine] - self.count)
            images = np.empty((len(index), *parts[0][0].shape[1:]), np.uint8)
            labels = np.empty(len(index), np.int64)
            for chosen, (pixels, classes) in zip((mine, ~mine), parts, strict=True):
                images[chosen], labels[chosen] = pixels, classes
            return images, labels

        return Pictures(self.count + other.count, take, self.strata + other.strata)

    def spread(self, parts: int, most: int | None = None) -> list[Index]:
        """Positions of `parts` samples of the whole, each with its share of every stratum, in order; together at
        most `most` of them, the first ones of each stratum."""
        size = self.count if most is None else min(most, self.count)
        found: list[list[Index]] = [[] for _ in range(parts)]
        before = 0
        for count in self.strata:
            cuts = np.linspace(0, round(size * count / self.count), parts + 1).round().astype(np.int64)
            for number, (first, last) in enumerate(pairwise(cuts)):
                found[number].append(before + np.arange(first, last))
            before += count
        return [np.concatenate(each) for each in found]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """`rows` gives features float64 (m, F) at positions (m,) of `count`."""

    count: int
    rows: Callable[[Index], Floats]

    def pieces(self, index: Index | None = None) -> Iterator[Floats]:
        """All rows, or those of `index`, in pieces that fit memory."""
        count = self.count if index is None else len(index)
        for start in range(0, count, PIECE):
            stop = min(start + PIECE, count)
            yield self.rows(np.arange(start, stop) if index is None else index[start:stop])


def computed(space: Space, pictures: Pictures) -> FeatureSet:
    """Features made anew whenever they are asked for. Raises JobError R523 for values that are no numbers."""

    def rows(index: Index) -> Floats:
        features = space.extract(pictures.read(index))
        if not np.isfinite(features).all():
            raise JobError(
                "R523",
                f"features `{space.name}` of some images are not finite numbers",
                "a weights file of another network, or a broken device: the images are integers",
            )
        return features

    return FeatureSet(pictures.count, rows)


def kept(space: Space, pictures: Pictures, folder: Path, progress: Progress) -> FeatureSet:
    """The same, but what a network computes is written to `folder` piece by piece, and a second call goes on
    from there."""
    fresh = computed(space, pictures)
    if space.identity is None or pictures.count == 0:
        return fresh
    folder.mkdir(parents=True, exist_ok=True)
    place, mark = folder / _FILE, folder / _MARK
    done = int(mark.read_text()) if mark.exists() and place.exists() else 0
    array: Mapped | None = None
    while done < pictures.count:
        piece = fresh.rows(np.arange(done, min(done + PIECE, pictures.count)))
        if array is None:
            # Networks compute in float32: nothing is lost.
            array = mapped(place, np.float32, (pictures.count, piece.shape[1]), new=not done)
        array[done : done + len(piece)] = piece
        done += len(piece)
        # Features before the mark: a mark never promises what is not there.
        array.flush()
        disk.replace(mark, str(done).encode())
        progress(done / pictures.count)
    return _stored(np.load(place, mmap_mode="r", allow_pickle=False))


def cached(space: Space, images: ImageSet, cache: Path | None, work: Path, progress: Progress) -> FeatureSet:
    """Features of real images: from `cache` where they are and sound, else made in `work` and put there."""
    pictures = Pictures.of(images)
    if space.identity is None or cache is None:
        return kept(space, pictures, work, progress)
    meaning = [space.identity, images.digest(), len(images)]
    folder = cache / hashlib.sha256(orjson.dumps(meaning)).hexdigest()[:20]
    found = _sound(folder, len(images))
    if found is not None:
        return _stored(found)
    kept(space, pictures, work, progress)
    (work / _MARK).unlink(missing_ok=True)
    disk.replace(work / _SUM, disk.sha256(work / _FILE).encode())
    cache.mkdir(parents=True, exist_ok=True)
    if _sound(folder, len(images)) is None:
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    try:
        work.rename(folder)
    except OSError:
        # Another job was first, with the same features.
        return _stored(np.load(work / _FILE, mmap_mode="r", allow_pickle=False))
    return _stored(np.load(folder / _FILE, mmap_mode="r", allow_pickle=False))


def _sound(folder: Path, count: int) -> NDArray[Any] | None:
    """The kept array, checksum verified; None where there is none, or a damaged one."""
    try:
        if disk.sha256(folder / _FILE) != (folder / _SUM).read_text():
            return None
        array: NDArray[Any] = np.load(folder / _FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return array if array.ndim == 2 and len(array) == count else None


def _stored(array: NDArray[Any]) -> FeatureSet:
    return FeatureSet(len(array), lambda index: np.asarray(array[index], dtype=np.float64))
