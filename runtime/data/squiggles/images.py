"""Squiggles as a source of labelled images: [start, stop) of a split, the same whenever they are made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.data.imageset import ImageSet
from isoloss.runtime.data.squiggles import curves
from isoloss.runtime.data.squiggles.render import render

Variant = Literal["taylor", "sinenet"]
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
        if not 0 <= start < stop:
            raise ValueError(f"images [start, stop) need 0 <= start < stop, got [{start}, {stop})")
        pixels, labels = [], []
        for block in range(start // BLOCK_IMAGES, -(-stop // BLOCK_IMAGES)):
            first = block * BLOCK_IMAGES
            chosen = slice(max(start - first, 0), min(stop - first, BLOCK_IMAGES))
            points = self.points(self.latents(split, block)[chosen])
            pixels.append(np.rint(render(points, self.resolution) * np.float32(255)).astype(np.uint8))
            labels.append(curves.crosses_itself(points))
        return ImageSet(np.concatenate(pixels)[..., np.newaxis], np.concatenate(labels), CLASSES)
