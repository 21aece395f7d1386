"""Rows of array files by plain reads: what is read takes the memory of its buffer and nothing else.

A memory map would count as memory while its pages stay, and faults one page at a time in the thread that waits.
In: arrays, memory-mapped or not. Out: copies of rows, wherever they lie."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.errors import JobError


class Rows:
    """Several arrays of rows of one shape, one after the other."""

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = list(arrays)
        self.starts = np.cumsum([0, *(len(array) for array in arrays)])
        self._files = [_File.of(array) for array in arrays]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill `out` with rows [start, start + len(out)). Raises JobError R404 where a file has become shorter."""
        done = 0
        while done < len(out):
            part = int(np.searchsorted(self.starts, start + done, side="right")) - 1
            local = start + done - int(self.starts[part])
            count = min(len(out) - done, len(self._arrays[part]) - local)
            file, target = self._files[part], out[done : done + count]
            if file is None:
                target[:] = self._arrays[part][local : local + count]
            else:
                file.read(local, target)
            done += count


class _File:
    """The bytes of a memory-mapped array in its file."""

    def __init__(self, path: str, offset: int, row_bytes: int) -> None:
        self._path, self._offset, self._row_bytes = path, offset, row_bytes
        self._descriptor = -1

    @classmethod
    def of(cls, array: NDArray[Any]) -> _File | None:
        """None for an array that isn't a contiguous part of a file."""
        mapped = getattr(array, "_mmap", None)
        if (
            not isinstance(array, np.memmap)
            or mapped is None
            or not array.flags.c_contiguous
            or not len(array)
        ):
            return None
        # `offset` is that of the whole map, also of a slice: the place is told by the addresses.
        begin = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        address = np.frombuffer(mapped, np.uint8).ctypes.data
        return cls(str(array.filename), begin + array.ctypes.data - address, array.nbytes // len(array))

    def read(self, row: int, out: NDArray[Any]) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY)
        view, place = out.data.cast("B"), self._offset + row * self._row_bytes
        while view:
            count = os.preadv(self._descriptor, [view], place)
            if count == 0:
                raise JobError("R404", f"{self._path} ends before its last image", "run the study again")
            view, place = view[count:], place + count

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
