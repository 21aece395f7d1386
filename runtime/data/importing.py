"""Files of images -> one shuffled shard with a manifest, in a folder that is whole or not there.

In: paths, as they were downloaded. Out: `images.npy`, `labels.npy` and `manifest.json`. Memory stays constant,
nothing in the files is run. Published sets are ordered by class (Wang et al. 2023), so that a prefix would lack
classes: images are permuted here, once, and every prefix is a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from isoloss.runtime import disk
from isoloss.runtime.data.archives import open_archive
from isoloss.runtime.data.folders import open_folder
from isoloss.runtime.data.hdf5 import SUFFIXES, open_hdf5
from isoloss.runtime.data.parts import Chunk, Part
from isoloss.runtime.data.shards import FORMAT, MANIFEST
from isoloss.runtime.data.shuffle import Order, write_shuffled
from isoloss.runtime.errors import JobError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a study says of the files: images of `shape` (H, W, C) in `classes`, their checksums (empty: not
    stated), how many to keep (None: all), and the seed of their order."""

    shape: tuple[int, int, int]
    classes: int
    sha256: tuple[str, ...] = ()
    images: int | None = None
    seed: int = 0


@dataclass(slots=True)
class Seen:
    """What the images and labels of a set came to, while every byte is read anyway."""

    low: int
    high: int
    counts: NDArray[np.int64]  # images by class

    @classmethod
    def nothing(cls, classes: int) -> Seen:
        return cls(255, 0, np.zeros(classes, dtype=np.int64))

    def add(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.low, self.high = min(self.low, int(images.min())), max(self.high, int(images.max()))
        self.counts += np.bincount(np.asarray(labels), minlength=len(self.counts))[: len(self.counts)]

    def check(self, where: str) -> None:
        """Raises JobError R409 for what nothing can be learnt from."""
        if self.high <= 1:
            what = "every pixel is black" if self.high == 0 else f"pixels go from {self.low} to {self.high}"
            raise JobError(
                "R409", f"{where}: {what}, of 0 to 255",
                "images in [0, 1] were probably rounded to whole numbers: multiply by 255 before they are stored",
            )  # fmt: skip
        if self.low == self.high:
            raise JobError("R409", f"{where}: every pixel is {self.low}", "fetch or write the images again")
        if int((self.counts > 0).sum()) == 1:
            only = int(np.argmax(self.counts))
            raise JobError("R409", f"{where}: every label is {only}", "name the array that holds the labels")

    @property
    def alarms(self) -> tuple[str, ...]:
        """Classes that no image is of."""
        missing = [str(k) for k in np.flatnonzero(self.counts == 0)]
        if not missing:
            return ()
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        return (f"alarm: no image of {len(missing)} of {len(self.counts)} classes: {shown}",)


def import_files(
    paths: Sequence[Path],
    root: Path,
    wanted: Wanted,
    output: Path,
    work: Path,
    facts: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[int, tuple[str, ...]]:
    """Read all parts, in the order given, and write them to the folder `output`; returns the number of images, and
    alarms about them.

    `facts` (generator, FID, licence) go into the manifest as they are. Raises JobError: R402 another checksum,
    R404 a file of another form, R405 fewer images than wanted, R406 a part twice, R407, R408 (hdf5.py), R409 images
    or labels that are all the same."""
    parts = [_open(path, wanted.classes) for path in paths]
    for part in parts:
        if part.shape != wanted.shape:
            raise JobError(
                "R404", f"{part.path} has images {part.shape}, the dataset's are {wanted.shape}",
                "name the dataset that these images are of",
            )  # fmt: skip
    sums = _checksums(parts, wanted.sha256, progress)
    count = sum(part.count for part in parts)
    kept = count if wanted.images is None else wanted.images
    if not count:
        raise JobError("R405", "the files hold no images", "fetch them again")
    if kept > count:
        raise JobError(
            "R405", f"{kept:,} images are wanted, there are {count:,} in {_files(parts)}",
            f"state as many as there are: `images = {count}`, or fetch the missing files",
        )  # fmt: skip
    order = Order(count, kept, wanted.seed)
    seen = Seen.nothing(wanted.classes)
    written = write_shuffled(_chunks(parts, seen), order, wanted.shape, output, work, progress)
    seen.check(_files(parts))
    manifest = {
        "format": FORMAT,
        "count": kept,
        "shape": list(wanted.shape),
        "classes": wanted.classes,
        "shuffle_seed": wanted.seed,
        "images_in_files": count,
        "parts": [_described(part, root, digest) for part, digest in zip(parts, sums, strict=True)],
        "sha256": written,
        "facts": dict(facts or {}),
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    disk.replace(output / MANIFEST, orjson.dumps(manifest, option=options))
    return kept, seen.alarms


def _files(parts: Sequence[Part]) -> str:
    return str(parts[0].path) if len(parts) == 1 else f"{len(parts)} files"


def _open(path: Path, classes: int) -> Part:
    if path.is_dir():
        return open_folder(path, classes)
    if path.suffix.lower() in SUFFIXES:
        return open_hdf5(path, classes)
    return open_archive(path, classes)


def _checksums(
    parts: Sequence[Part], stated: tuple[str, ...], progress: Callable[[float], None]
) -> list[str]:
    """Of every part, before anything is written: none twice, each what the study states."""
    sums = []
    for part in parts:
        sums.append(part.sha256())
        progress(0.0)  # a place to stop at
    for index, digest in enumerate(sums):
        if digest in sums[:index]:
            raise _twice(parts[index], parts[sums.index(digest)])
    if stated and len(stated) != len(sums):
        raise JobError(
            "R402",
            f"{len(stated)} checksums are stated, {len(sums)} files are there",
            "state one for each file",
        )
    for part, digest, said in zip(parts, sums, stated, strict=False):
        if digest != said:
            raise JobError(
                "R402", f"{part.path} has SHA-256 {digest}, the study states {said}",
                "it is another file, or damaged: fetch it again",
            )  # fmt: skip
    return sums


def _chunks(parts: Sequence[Part], seen_values: Seen) -> Iterator[Chunk]:
    """All images of all parts. Raises JobError R406 at the end of one whose images another has too: packed anew,
    the same images have another checksum."""
    seen: dict[bytes, Part] = {}
    for part in parts:
        pixels = hashlib.sha256()
        for images, labels in part.chunks():
            pixels.update(np.ascontiguousarray(images).data)
            seen_values.add(images, labels)
            yield images, labels
        other = seen.setdefault(pixels.digest(), part)
        if other is not part:
            raise _twice(part, other)


def _twice(part: Part, other: Part) -> JobError:
    return JobError(
        "R406", f"{part.path} has the same images as {other.path}",
        "its images would count as more than they are: remove one of the two",
    )  # fmt: skip


def _described(part: Part, root: Path, digest: str) -> dict[str, Any]:
    """A line of the manifest: name below the root, checksum, count, and what a manifest of its own says."""
    try:
        name = part.path.relative_to(root).as_posix()
    except ValueError:
        name = part.path.name
    said = {k: part.facts[k] for k in ("generator", "facts", "parts") if k in part.facts}
    return {"name": name, "sha256": digest, "count": part.count, **said}
