"""A part of a published set: what every kind of file of images gives. One class per kind reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.errors import JobError

#: Bytes of images read at a time.
CHUNK_BYTES = 16 << 20
#: Images and their labels: uint8 (m, H, W, C), int64 (m,).
Chunk = tuple[NDArray[np.uint8], NDArray[np.int64]]


class Part(Protocol):
    """`count` images of `shape` (H, W, C); `facts`: what its own manifest says of it, if it has one."""

    @property
    def path(self) -> Path: ...

    @property
    def count(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def chunks(self) -> Iterator[Chunk]:
        """All images in their published order, a few megabytes at a time; labels checked. Raises JobError R404
        where the file isn't what its header promised."""
        ...

    def sha256(self) -> str:
        """Of the file, or for a folder of what its manifest vouches for, every byte verified."""
        ...


def rows_at_a_time(shape: tuple[int, ...]) -> int:
    return max(1, CHUNK_BYTES // int(np.prod(shape)))


def image_shape(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> tuple[int, int, int]:
    """(H, W, C) of an array of images. Grey ones may lack their one channel. Raises JobError R404."""
    if dtype == np.uint8 and len(shape) == 3:
        return shape[1], shape[2], 1
    if dtype != np.uint8 or len(shape) != 4:
        raise not_images(path, f"its images are {dtype} {shape}, not uint8 (n, H, W, C)")
    return shape[1], shape[2], shape[3]


def label_form(shape: tuple[int, ...], dtype: np.dtype[Any], count: int, classes: int, path: Path) -> None:
    """Labels are whole numbers (n,) or (n, 1), or one-hot rows (n, classes). Raises JobError R404."""
    if shape[:1] != (count,):
        raise not_images(path, f"it has {count:,} images and {shape[0] if shape else 0:,} labels")
    whole = shape in ((count,), (count, 1)) and dtype.kind in "iu"
    if not whole and not (shape == (count, classes) and dtype.kind in "iufb"):
        raise not_images(path, f"its labels are {dtype} {shape}, not whole numbers (n,)")


def class_indices(values: NDArray[Any], classes: int, path: Path) -> NDArray[np.int64]:
    """Labels int64 (n,) of whole numbers or one-hot rows, see `label_form`. Raises JobError R404 for labels that
    are no class."""
    if values.ndim == 2 and values.shape[1] == classes and classes > 1:
        if not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
            raise not_images(path, "its label rows are not one-hot")
        return values.argmax(1).astype(np.int64)
    labels = values.reshape(-1)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise not_images(path, f"its labels go from {labels.min()} to {labels.max()}, not 0 … {classes - 1}")
    return labels.astype(np.int64)


def not_images(path: Path, reason: str) -> JobError:
    return JobError("R404", f"{path} is not a file of images: {reason}", "fetch or save it again")
