"""Squiggles as a source of labelled images: [start, stop) of a split, the same whenever they are made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler.plan import Component
from isoloss.runtime.data.imageset import ImageSet
from isoloss.runtime.generators.squiggles import curves
from isoloss.runtime.generators.squiggles.render import render

Variant = Literal["taylor", "sinenet"]
#: Images of a split where no limit says otherwise: one of the paper's shards of training images and its three of
#: test images; the size of the validation split is ours.
SPLIT_IMAGES = {"train": 32_768, "train+validation": 32_768, "validation": 8_192, "test": 98_304}
#: The split is a part of the key itself. (The released code shifts it into the seed with the wrong
#: precedence, so that test item s equals train item 2 s.)
_SPLITS = ("train", "validation", "test")
BLOCK_IMAGES = 512
CLASSES = 2


@dataclass(frozen=True, slots=True)
class Squiggles:
    """`variant` of curves at `resolution` pixels; image i of a split depends on (seed, split, i) alone."""

    variant: Variant
    resolution: int = 60
    seed: int = 0
    units: int = curves.SINENET_UNITS

    def latents(self, split: str, block: int) -> NDArray[np.float64]:
        """Latents of BLOCK_IMAGES curves: (512, 2, 7) for Taylor, (512, 4, units) for SineNet.

        Raises ValueError for a split that isn't one."""
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        # A 128-bit key per (variant, split, seed) and a counter per block: streams of different keys or
        # counters are different, so no curve is in two splits.
        text = f"squiggles {self.variant} {split} {self.seed}".encode()
        key = int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
        rng = np.random.Generator(np.random.Philox(key=key, counter=block << 128))
        if self.variant == "taylor":
            return curves.draw_taylor(rng, BLOCK_IMAGES)
        return curves.draw_sinenet(rng, BLOCK_IMAGES, self.units)

    def points(self, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points float64 (n, 100, 2) in the unit square."""
        return curves.rescale((curves.taylor if self.variant == "taylor" else curves.sinenet)(latents))

    def images(self, split: str, start: int, stop: int) -> ImageSet:
        """uint8 (stop - start, resolution, resolution, 1); label 1: the curve crosses itself."""
        pieces = [(images, labels) for _, images, labels in self.pieces(split, start, stop)]
        return ImageSet(
            np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces]), CLASSES
        )

    def pieces(
        self, split: str, start: int, stop: int
    ) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int64]]]:
        """The same, a block at a time: (index of the first image, images, labels)."""
        if not 0 <= start < stop:
            raise ValueError(f"images [start, stop) need 0 <= start < stop, got [{start}, {stop})")
        for block in range(start // BLOCK_IMAGES, -(-stop // BLOCK_IMAGES)):
            first = block * BLOCK_IMAGES
            chosen = slice(max(start - first, 0), min(stop - first, BLOCK_IMAGES))
            yield first + chosen.start, *self.block(split, block, chosen)

    def block(
        self, split: str, block: int, chosen: slice = slice(None)
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images and labels of (a part of) one block."""
        points = self.points(self.latents(split, block)[chosen])
        pixels = np.rint(render(points, self.resolution) * np.float32(255)).astype(np.uint8)
        return pixels[..., np.newaxis], curves.crosses_itself(points)


def of_component(dataset: Component, seed: int = 0) -> Squiggles:
    """`{"kind": "squiggles", "variant": ..., "resolution": ..., "units": ...}`; a value that isn't there is the
    paper's."""
    units, side = dataset.get("units", curves.SINENET_UNITS), dataset.get("resolution", 60)
    return Squiggles(dataset["variant"], int(side), seed, int(units))


def make_squiggles(dataset: Component, split: str, limit: int | None) -> ImageSet:
    """The first `limit` images of a split. Of training images there is no end; `train+validation` is them."""
    count = SPLIT_IMAGES[split]
    if limit is not None:
        count = limit if split.startswith("train") else min(limit, count)
    return of_component(dataset).images(split.partition("+")[0], 0, count)


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """Images [start, stop) to train on, for a `generate` job: what a generator is, without a network."""

    squiggles: Squiggles
    classes: int = CLASSES

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.squiggles.resolution, self.squiggles.resolution, 1

    def pieces(
        self, start: int, stop: int, threads: int = 1
    ) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int64]]]:
        """(index of the first image, images, labels), in order; blocks are made by `threads` threads at once."""
        from isoloss.runtime.generators.registry import in_order

        if threads == 1:
            yield from self.squiggles.pieces("train", start, stop)
            return
        numbers = range(start // BLOCK_IMAGES, -(-stop // BLOCK_IMAGES))
        made = in_order(lambda number: self.squiggles.block("train", number), numbers, threads)
        for number, (images, labels) in zip(numbers, made, strict=True):
            first = number * BLOCK_IMAGES
            low, high = max(start - first, 0), min(stop - first, BLOCK_IMAGES)
            yield first + low, images[low:high], labels[low:high]
