"""Images of sets beyond memory, a window of the sampler's order at a time, read ahead by a thread.

In: files and a sampler. Out: batches' images, from memory. Two windows are held: the one that is drawn from and the
next, which is being read meanwhile. Nothing else of the set is in memory, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.runtime.data import ImageSet
from isoloss.runtime.data.rows import Rows
from isoloss.runtime.training.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Window:
    """Images uint8 (n, H, W, C) and labels int64 (n,), in the order of `Sampler.runs`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Streamed:
    """`draw(start, stop)`: images at positions of the sampler, in order. Positions go forward; after a jump, as
    when a run resumes, two windows are read anew."""

    def __init__(self, sets: Sequence[ImageSet], sampler: Sampler, pinned: bool) -> None:
        self._images = Rows([part.images for part in sets])
        self._labels = Rows([part.labels for part in sets])
        self._shape = sets[0].images.shape[1:]
        self._sampler, self._pinned = sampler, pinned
        self._held: dict[int, Future[Window]] = {}
        self._spare: list[Window] = []
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="windows")

    def draw(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """uint8 (B, H, W, C) and int64 labels (B,) in host memory, pinned where a GPU will copy them."""
        images = torch.empty((stop - start, *self._shape), dtype=torch.uint8, pin_memory=self._pinned)
        labels = torch.empty(stop - start, dtype=torch.int64, pin_memory=self._pinned)
        done = 0
        for place in self._sampler.places(start, stop):
            window, count = self._window(place.number), len(place.rows)
            np.take(window.images, place.rows, axis=0, out=images.numpy()[done : done + count], mode="clip")
            np.take(window.labels, place.rows, out=labels.numpy()[done : done + count], mode="clip")
            done += count
        return images, labels

    def _window(self, number: int) -> Window:
        """The window, read if it isn't yet; reading of the one after it begins."""
        for old in [n for n in self._held if n not in (number, number + 1)]:
            self._spare.append(self._held.pop(old).result())
        for wanted in (number, number + 1):
            if wanted not in self._held:
                self._held[wanted] = self._reader.submit(self._read, wanted)
        return self._held[number].result()

    def _read(self, number: int) -> Window:
        size = self._sampler.window_images(number)
        window = self._spare.pop() if self._spare else self._buffer()
        last, done = self._sampler.images, 0
        for first, count in self._sampler.runs(number).tolist():
            # A run may pass the end of the set and go on at its beginning.
            for begin, length in ((first, min(count, last - first)), (0, first + count - last)):
                if length > 0:
                    self._images.read(begin, window.images[done : done + length])
                    self._labels.read(begin, window.labels[done : done + length])
                    done += length
        assert done == size
        return window

    def _buffer(self) -> Window:
        count = min(self._sampler.grain.window, self._sampler.images)
        return Window(np.empty((count, *self._shape), np.uint8), np.empty(count, np.int64))
