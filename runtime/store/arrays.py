"""Arrays that are files: as large as the disk, not the memory; and small ones in archives, from whomever.

In: a path, a type, a shape. Out: a mapped array whose blocks the disk has already: writing to a mapped page that a full
disk has no room for would kill the process (SIGBUS), where this raises an error that can be told."""

from __future__ import annotations

import os
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Mapped = np.memmap[Any, np.dtype[Any]]


def mapped(path: Path, dtype: DTypeLike, shape: tuple[int, ...], *, new: bool = True) -> Mapped:
    """An .npy file as an array to write to; `new` False: one that is there, with what was written to it.

    Raises OSError: ENOSPC where the disk hasn't room for all of it."""
    mode = "w+" if new else "r+"
    array: Mapped = np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=shape)
    if new:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return array


#: More than samples and states of an attack hold.
ARCHIVE_BYTES = 64 << 20


def read_archive(path: Path, limit_bytes: int = ARCHIVE_BYTES) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, of at most `limit_bytes` together, however small the file is: a compressed
    archive may expand a thousandfold. Raises ValueError for what is no such file or too large; FileNotFoundError."""
    try:
        with zipfile.ZipFile(path) as archive:
            found, left = {}, limit_bytes
            for member in archive.infolist():
                array = _member(archive, member, left)
                found[member.filename.removesuffix(".npy")] = array
                left -= array.nbytes
            return found
    except FileNotFoundError:
        raise
    except Exception as error:
        # A header is an expression that numpy parses, and a stream may be broken anywhere: it fails as it likes.
        raise ValueError(f"{path} holds no arrays: {error}") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit_bytes: int) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        # Python's own product: numpy's would wrap around to what is there.
        size = prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size > limit_bytes:
            raise ValueError(f"{member.filename} promises {dtype} {shape}")
        data = file.read(size)
        if len(data) != size or file.read(1):
            raise ValueError(f"{member.filename} has not the bytes of {dtype} {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
