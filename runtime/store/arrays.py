"""Arrays that are files: as large as the disk, not the memory.

In: a path, a type, a shape. Out: a mapped array whose blocks the disk has already: writing to a mapped page that a full
disk has no room for would kill the process (SIGBUS), where this raises an error that can be told."""

from __future__ import annotations

import os
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
