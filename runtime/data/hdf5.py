"""HDF5 files of images as parts of a set: `image` uint8 (n, H, W, C) and `label`, as Bartoldson et al. (2024) keep
theirs. Needs the package h5py, an extra: `pip install 'isoloss[hdf5]'`.

A file can be put together of others (virtual data sets, external links and storage), and those of others again,
wherever they lie: such arrays are refused, so that what is read is the file that was named and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

IMAGE_KEYS, LABEL_KEYS = ("image", "images"), ("label", "labels")
SUFFIXES = (".h5", ".hdf5", ".hdf")


@dataclass(frozen=True, slots=True)
class Hdf5:
    """One HDF5 file whose form was checked."""

    path: Path
    image: str
    label: str
    count: int
    shape: tuple[int, int, int]
    classes: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def sha256(self) -> str:
        return disk.sha256(self.path)

    def chunks(self) -> Iterator[Chunk]:
        rows = rows_at_a_time(self.shape)
        try:
            with _package(self.path).File(self.path, "r") as file:
                images, labels = file[self.image], file[self.label]
                for start in range(0, self.count, rows):
                    part = slice(start, min(start + rows, self.count))
                    pixels = np.asarray(images[part]).reshape(-1, *self.shape)
                    yield pixels, class_indices(np.asarray(labels[part]), self.classes, self.path)
        except JobError:
            raise
        except Exception as error:
            raise _not_hdf5(self.path, error) from error


def open_hdf5(path: Path, classes: int) -> Hdf5:
    """Check a file's form. Raises JobError: R404 another form, R407 arrays of other files, R408 no h5py here."""
    h5py = _package(path)
    try:
        with h5py.File(path, "r") as file:
            names = sorted(file)
            image, label = (next((k for k in keys if k in names), None) for keys in (IMAGE_KEYS, LABEL_KEYS))
            if image is None or label is None:
                raise not_images(path, f"it has {names[:5]}, not `image` and `label`")
            images, labels = (_array(h5py, file, name, path) for name in (image, label))
            shape = image_shape(images.shape, images.dtype, path)
            label_form(labels.shape, labels.dtype, images.shape[0], classes, path)
            return Hdf5(path, image, label, images.shape[0], shape, classes)
    except JobError:
        raise
    except Exception as error:
        raise _not_hdf5(path, error) from error


def _not_hdf5(path: Path, error: Exception) -> JobError:
    """A stranger's bytes make the HDF5 library fail in any way they like."""
    return not_images(path, f"it is no HDF5 file, or damaged ({first_line(error)})")


def _package(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise JobError(
            "R408", f"{path} needs the package h5py, which is not installed", "`pip install 'isoloss[hdf5]'`"
        ) from None
    return h5py


def _array(h5py: Any, file: Any, name: str, path: Path) -> Any:
    """The array `name`, all of it in this file: nothing that leads elsewhere is followed."""
    array = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if array is None or (isinstance(array, h5py.Dataset) and (array.external or array.is_virtual)):
        raise JobError("R407", f"{path} takes `{name}` from elsewhere", "copy it into one file")
    if not isinstance(array, h5py.Dataset):
        raise not_images(path, f"`{name}` is not an array")
    if array.shape is None:
        raise not_images(path, f"`{name}` is empty")
    if array.dtype.hasobject:
        raise not_images(path, f"`{name}` holds objects, not numbers")
    return array
