"""Everything measured of a generator's images in one feature space: FeatureSets -> `Measure`s.

Each has a typed name, a 95 % interval over redrawn generated images, the number of images behind it, and what that
number does to it. Moments are streamed; what compares pairs looks at a stated number of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler.plan import frechet_metric, kernel_metric
from isoloss.runtime.evaluation.intervals import Measured
from isoloss.runtime.quality import agreement, frechet, neighbours
from isoloss.runtime.quality import kernel_distance as kernel
from isoloss.runtime.quality.agreement import Agreement
from isoloss.runtime.quality.frechet import Reference
from isoloss.runtime.quality.neighbours import NEAR, Nearest
from isoloss.runtime.quality.sets import FeatureSet

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Images of each set that measures of pairs look at, where there are as many: the first generated ones, and no more
#: real ones than those, at random. Nearest neighbours are always sought among all training images.
PAIRWISE = 10_000


@dataclass(frozen=True, slots=True)
class Measure:
    """`bias` says what the number of images does to the value; `details` are more numbers for quality.json."""

    metric: str
    measured: Measured
    bias: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compared:
    """Features that measures of pairs are made from: generated (g, F), real (r, F), and the nearest training
    image of each generated (g,) and each held-out (h,) image."""

    generated: Floats
    real: Floats
    nearest: Nearest
    held_out: Nearest


def compare(
    generated: FeatureSet,
    looked: NDArray[np.int64],
    real: FeatureSet,
    held_out: FeatureSet,
    rng: np.random.Generator,
) -> Compared:
    """The images that pairs are made of, generated ones at positions `looked`, and their neighbours."""
    ours = generated.rows(looked)
    theirs = real.rows(subset(real.count, generated.count, rng))
    unseen = held_out.rows(np.arange(held_out.count))
    found = neighbours.nearest(np.concatenate([ours, unseen]), real.pieces())
    cut = len(ours)
    return Compared(
        ours,
        theirs,
        Nearest(found.distance[:cut], found.index[:cut]),
        Nearest(found.distance[cut:], found.index[cut:]),
    )


def subset(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most `most` and PAIRWISE of `count` positions at random, in order; all where there are no more."""
    return np.sort(rng.choice(count, min(count, most, PAIRWISE), replace=False)).astype(np.int64)


def distance(
    space: str, generated: FeatureSet, groups: Sequence[NDArray[np.int64]], reference: Reference
) -> Measure:
    """The Fréchet distance, of all generated images; `groups` are positions of GROUPS samples of them."""
    found = frechet.estimate([partial(generated.pieces, group) for group in groups], reference)
    return Measure(
        frechet_metric(space),
        Measured(found.value, found.low, found.high, found.count),
        f"upwards, by about 1/n: {found.limit:.4g} when extrapolated to n = infinity",
        {"limit": found.limit},
    )


def pairs(space: str, compared: Compared, rng: np.random.Generator) -> list[Measure]:
    """Kernel distance, precision, recall, memorisation."""
    ours, theirs = compared.generated, compared.real
    size = min(len(ours), len(theirs))
    manifolds = neighbours.precision_recall(ours[:size], theirs[:size])
    sharper = f"balls shrink as n grows: compare at n = {size:,} only"
    found = neighbours.memorised(compared.nearest.distance, compared.held_out.distance, rng)
    return [
        Measure(
            kernel_metric(space),
            kernel.block_estimate(ours, theirs),
            "none in n",
            {"blocks": kernel.BLOCKS, "real_images": len(theirs)},
        ),
        Measure(f"precision @ {space}", manifolds.precision, sharper, {"real_images": size}),
        Measure(f"recall @ {space}", manifolds.recall, sharper, {"real_images": size}),
        Measure(
            f"memorisation @ {space}",
            found.share,
            f"none in n; {NEAR:.0%} where nothing is memorised",
            {
                "expected": NEAR,
                "threshold": found.threshold,
                "held_out_images": found.held_out,
                "median_distance": float(np.median(compared.nearest.distance)),
                "median_distance_held_out": float(np.median(compared.held_out.distance)),
            },
        ),
    ]


def agreed(found: Agreement) -> Measure:
    """Classifier agreement."""
    return Measure(
        f"agreement @ {found.classifier}",
        found.share,
        f"none in n; {found.held_out.value:.4g} on held-out real images",
        {"held_out": found.held_out.value, "held_out_images": found.held_out.count},
    )


def by_neighbours(
    space: str, compared: Compared, labels: Labels, train: Labels, held_out: Labels
) -> Agreement:
    """Agreement with the label of the nearest training image."""
    said, theirs = train[compared.nearest.index], train[compared.held_out.index]
    return agreement.agree(agreement.nearest_name(space), (said, labels), (theirs, held_out))
