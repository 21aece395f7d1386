"""Squiggles with labels per second and core: `python benchmarks/squiggles.py`. Goal: 4,000 at 60 pixels.

Beside ours a straightforward version, a picture at a time in NumPy and shapely, which must give the same labels and
pictures. CPU time of one process, so that other work on the machine counts little; the best of five rounds."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import math
import time

import numpy as np
import shapely

from isoloss.runtime.data.imageset import ImageSet
from isoloss.runtime.generators.squiggles import Squiggles

IMAGES, PLAIN_IMAGES, ROUNDS, PIXELS = 4096, 128, 5, 60


def curve(variant: str, latent: np.ndarray) -> np.ndarray:
    """One curve's points (100, 2), as the paper writes them."""
    if variant == "taylor":
        t = np.linspace(-3, 3, 100)
        terms = [t**i / math.factorial(i) for i in range(1, 8)]
        return np.stack([sum(c * term for c, term in zip(axis, terms, strict=True)) for axis in latent], 1)
    t = np.linspace(-2, 2, 100)
    frequency, phase, a, b = latent
    waves = np.sin(frequency[:, None] * t + phase[:, None])
    return np.stack([a @ waves, b @ waves], 1)


def plain(source: Squiggles, count: int) -> ImageSet:
    """The same images as `source.images("train", 0, count)`, one after the other."""
    grid = np.linspace(0, 1, source.resolution)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    images, labels = [], []
    for latent in source.latents("train", 0)[:count]:
        points = curve(source.variant, latent)
        low, high = points.min(0), points.max(0)
        points = (points - (low + high) / 2) * (0.8 / max((high - low).max(), 1e-5)) + 0.5
        labels.append(int(not shapely.LineString(points).is_simple))
        squared = np.min([(x - c[0]) ** 2 + (y - c[1]) ** 2 for c in points], axis=0)
        images.append(np.rint(np.exp(-(source.resolution**2) * squared) * 255).astype(np.uint8))
    return ImageSet(np.stack(images)[..., None], np.array(labels, np.int64), 2)


def rate(source: Squiggles, make: object, count: int) -> float:
    began = time.process_time()
    make(count)  # type: ignore[operator]
    return count / (time.process_time() - began)


def main() -> None:
    print(f"{PIXELS} pixels, labels included; images per CPU second, best of {ROUNDS} rounds in turn")
    for source in (
        Squiggles("taylor", PIXELS),
        Squiggles("sinenet", PIXELS),
        Squiggles("sinenet", PIXELS, units=25),
    ):
        ours, theirs = source.images("train", 0, PLAIN_IMAGES), plain(source, PLAIN_IMAGES)
        assert (ours.labels == theirs.labels).all()
        assert np.abs(ours.images.astype(int) - theirs.images).max() <= 1
        rates: dict[str, list[float]] = {"ours": [], "plain": []}
        for _ in range(ROUNDS):
            rates["ours"].append(rate(source, lambda n, s=source: s.images("train", 0, n), IMAGES))
            rates["plain"].append(rate(source, lambda n, s=source: plain(s, n), PLAIN_IMAGES))
        best, peer = max(rates["ours"]), max(rates["plain"])
        units = f" ({source.units} units)" if source.variant == "sinenet" else ""
        name = f"{source.variant}{units}"
        print(f"{name:19s} ours {best:7,.0f}   plain {peer:5,.0f}   {best / peer:5.1f} times as fast")


if __name__ == "__main__":
    main()
