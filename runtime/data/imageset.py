"""Labelled images as every part of the runtime passes them around: uint8 NHWC and int64 labels.

In: arrays that a reader or a generator made. Out: an `ImageSet`, checked once at its door."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ImageSet:
    """`images` uint8 (n, H, W, C), `labels` int64 (n,) in [0, classes). Either may be memory-mapped.

    Raises ValueError where the arrays are not that: a reader's bug, for readers check what users give
    them."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images are uint8 (n, H, W, C), got {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels are int64 (n,), got {self.labels.dtype} {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: NDArray[np.int64] | slice) -> ImageSet:
        return ImageSet(self.images[index], self.labels[index], self.classes)

    def digest(self) -> str:
        """SHA-256 over shape, pixels and labels: two equal sets have one digest on any machine."""
        h = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        h.update(np.ascontiguousarray(self.images).data)
        h.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return h.hexdigest()


def order_by_digest(images: NDArray[np.uint8], salt: bytes) -> NDArray[np.int64]:
    """A shuffle that depends on nothing but the pixels: positions sorted by SHA-256(salt + image).

    Unlike a seeded permutation it is the same under every version of every random generator, and an image
    keeps its side of a split when others are added or removed. Equal images keep their given order."""
    keys = [hashlib.sha256(salt + np.ascontiguousarray(image).tobytes()).digest() for image in images]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
