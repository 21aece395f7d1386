"""Community archives of generated images (.npz) as parts of a set: `image` and `label` (Wang et al. 2023), with
one-hot labels under `samples` and `label` (discriminator guidance), or the names numpy gives.

Streamed, never unpacked; nothing in them is run (no pickles), and no name in them is ever a path."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from isoloss.runtime import disk
from isoloss.runtime.data.parts import (
    Chunk,
    class_indices,
    image_shape,
    label_form,
    not_images,
    rows_at_a_time,
)
from isoloss.runtime.errors import JobError, first_line

#: Names under which published archives keep images and labels.
IMAGE_KEYS, LABEL_KEYS = ("image", "images", "samples", "arr_0"), ("label", "labels", "arr_1")
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Member:
    """An array in an archive."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, file: IO[bytes], rows: int) -> np.ndarray:
        """The next so many rows."""
        shape = (rows, *self.shape[1:])
        wanted = prod(shape) * self.dtype.itemsize
        data = file.read(wanted)
        if len(data) != wanted:
            raise EOFError(f"{wanted - len(data):,} bytes are missing")
        return np.frombuffer(data, self.dtype).reshape(shape)


@dataclass(frozen=True, slots=True)
class Archive:
    """One .npz file whose form was checked."""

    path: Path
    images: Member
    labels: Member
    shape: tuple[int, int, int]
    classes: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.images.shape[0]

    def sha256(self) -> str:
        return disk.sha256(self.path)

    def chunks(self) -> Iterator[Chunk]:
        """See `Part`. The archive's own CRCs are checked at its end."""
        rows = rows_at_a_time(self.shape)
        with (
            _reading(self.path),
            zipfile.ZipFile(self.path) as archive,
            archive.open(self.images.name) as pixels,
            archive.open(self.labels.name) as classes,
        ):
            for file in (pixels, classes):
                _header(file, self.path)
            for start in range(0, self.count, rows):
                count = min(rows, self.count - start)
                images = self.images.read(pixels, count).reshape(count, *self.shape)
                yield images, class_indices(self.labels.read(classes, count), self.classes, self.path)
            if pixels.read(1) or classes.read(1):
                raise not_images(self.path, "its arrays go on after their end")


def open_archive(path: Path, classes: int) -> Archive:
    """Check an archive's form; images and labels stay where they are. Raises JobError R404."""
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        image, label = (_chosen(names, keys) for keys in (IMAGE_KEYS, LABEL_KEYS))
        if image is None or label is None:
            raise not_images(path, f"it has {sorted(names)[:5]}, not `image` and `label`")
        images, labels = _member(archive, image, path), _member(archive, label, path)
    shape = image_shape(images.shape, images.dtype, path)
    label_form(labels.shape, labels.dtype, images.shape[0], classes, path)
    return Archive(path, images, labels, shape, classes)


def _chosen(names: list[str], keys: tuple[str, ...]) -> str | None:
    """The member to read. One that is there twice is none: which of the two would be a guess."""
    found = [f"{key}.npy" for key in keys if f"{key}.npy" in names]
    if found and names.count(found[0]) > 1:
        raise ValueError(f"{found[0]} is in it twice")
    return found[0] if found else None


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Member:
    with archive.open(name) as file:
        shape, dtype, head = _header(file, path)
    size = archive.getinfo(name).file_size
    # Python's own product: numpy's would wrap around to what is there.
    if min(shape, default=0) < 0 or size != head + prod(shape) * dtype.itemsize:
        raise not_images(path, f"{name} promises {dtype} {shape} and has {size:,} bytes")
    return Member(name, shape, dtype)


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and bytes of the header of an array. Raises JobError R404 for what can't be read safely."""
    try:
        version = np.lib.format.read_magic(file)
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:
        # A header is an expression that numpy parses: it can fail in any way that its bytes like.
        raise not_images(path, f"the header of an array in it is damaged ({first_line(error)})") from error
    if dtype.hasobject:
        raise not_images(path, "it holds Python objects, which can run code when they are read")
    if fortran and len(shape) > 1:
        raise not_images(path, "its arrays are stored by columns; save them in C order")
    return shape, dtype, file.tell()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except JobError:
        raise
    except _BROKEN as error:
        raise not_images(path, f"it is no archive, or damaged ({first_line(error)})") from error
