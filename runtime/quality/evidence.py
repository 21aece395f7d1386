"""What a quality measurement leaves to look at: generated images beside the nearest real training images.

In: images, their nearest and distances. Out: `samples.npz` and `samples.png`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.data import ImageSet
from isoloss.runtime.evaluation.samples import montage, png
from isoloss.runtime.quality.neighbours import Nearest
from isoloss.runtime.quality.sets import Pictures

#: The first images, not chosen: with ten classes two of each; then those that lie nearest to a training image.
FIRST, CLOSEST = 20, 6


@dataclass(frozen=True, slots=True)
class Shown:
    """Positions of the generated images that are shown, (m,); `suspects` of them, the last, are the nearest to
    training images of all that were looked at."""

    index: NDArray[np.int64]
    suspects: int


def choose(found: Nearest) -> Shown:
    first = np.arange(min(FIRST, len(found.distance)))
    nearest = np.argsort(found.distance, kind="stable")[:CLOSEST]
    return Shown(np.concatenate([first, nearest]), len(nearest))


def save_samples(
    folder: Path, generated: Pictures, looked: NDArray[np.int64], real: ImageSet, found: Nearest
) -> None:
    """`found`: of the generated images at positions `looked`. Write `samples.npz`: `generated`, `nearest` uint8
    (m, H, W, C), `labels`, `nearest_labels`, `index`, `nearest_index` int64 (m,), `distance` float64 (m,) in the
    features' space, `suspects` int64 (); and `samples.png`: generated above nearest."""
    shown = choose(found)
    index, real_index = looked[shown.index], found.index[shown.index]
    (pictures, labels), originals = generated.take(index), np.asarray(real.images[real_index])
    np.savez_compressed(
        folder / "samples.npz",
        generated=pictures,
        nearest=originals,
        labels=labels,
        nearest_labels=real.labels[real_index],
        index=index,
        nearest_index=real_index,
        distance=found.distance[shown.index],
        suspects=np.int64(shown.suspects),
    )
    rows = [images.astype(np.float32) / 255.0 for images in (pictures, originals)]
    (folder / "samples.png").write_bytes(png(montage(rows)))
