"""What a law's interval must hold besides the resamples: misfit that grows beyond the data, and the error of
the one test set that all runs share.

In: the domain of the points and scales estimated from held-out runs. Out: log-loss deviations per
resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.points import Points


@dataclass(frozen=True, slots=True)
class Domain:
    """Ranges (low, high) of the points a law was fitted to; nan where unknown."""

    params: tuple[float, float]
    images: tuple[float, float]
    flops: tuple[float, float]
    fid: tuple[float, float]

    def beyond(self, x: Inputs) -> Floats:
        """How far outside each point lies, in e-folds: [3, n] for N, D and 1 + FID; 0 inside, inf at
        limits."""
        axes = ((x.lnN, np.log(self.params)), (x.lnD, np.log(self.images)), (x.lnQ, np.log1p(self.fid)))
        rows = [np.maximum(np.maximum(low - v, v - high), 0.0) for v, (low, high) in axes]
        return np.asarray(np.nan_to_num(np.stack(np.broadcast_arrays(*rows)), nan=0.0, posinf=np.inf))


def domain_of(points: Points) -> Domain:
    """The ranges of these points."""

    def ends(values: Floats) -> tuple[float, float]:
        known = values[np.isfinite(values)]
        return (float(known.min()), float(known.max())) if known.size else (float("nan"), float("nan"))

    return Domain(ends(points.params), ends(points.images), ends(points.flops), ends(points.fid))


#: Beyond this many e-folds in N or D the misfit grows no more: past a factor of 1e4 a law is at its floor.
FAR = float(np.log(1e4))


@dataclass(frozen=True, slots=True)
class Misfit:
    """Scales of log loss. `base`: lack of fit inside the data, which replicates can't average away.
    `slope`: drift per e-fold outside, an independent one for each axis. `shared`: test-set error."""

    base: float = 0.0
    slope: float = 0.0
    shared: float = 0.0

    def scale(self, beyond: Floats) -> Floats:
        """Standard deviation [n] of the misfit in log loss, at distances [axes, n] outside the data."""
        far = np.minimum(beyond, FAR)
        return np.asarray(np.sqrt(self.base**2 + self.slope**2 * np.sum(far**2, axis=0)))


def shared_error(test_images: int | None) -> float:
    """Test-set sampling error of log loss, common to all runs; 0 where the number of images isn't known. Per-image
    losses of robust networks scatter about as much as their mean (assumed): relative error 1 / sqrt(n)."""
    return 0.0 if test_images is None else float(1.0 / np.sqrt(test_images))
