"""What a law's interval must hold besides the resamples: misfit that grows with compute beyond the data, and
the error of the one test set that all runs share.

In: the domain of the points and scales estimated from held-out runs. Out: log-loss deviations per
resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.points import Points


@dataclass(frozen=True, slots=True)
class Domain:
    """Ranges (low, high) of the points a law was fitted to; nan where unknown. `work`: of N times D, which compute goes
    with."""

    params: tuple[float, float]
    images: tuple[float, float]
    flops: tuple[float, float]
    fid: tuple[float, float]
    work: tuple[float, float]

    def beyond(self, x: Inputs) -> Floats:
        """How far outside each point lies, in e-folds, [2, n]: along compute (or along N or D alone, where that is
        farther), and in 1 + FID. 0 inside, inf at limits."""
        with np.errstate(invalid="ignore"):
            work = x.lnN + x.lnD
        axes = ((work, self.work), (x.lnN, self.params), (x.lnD, self.images))
        size = [_outside(values, np.log(ends)) for values, ends in axes]
        far = np.max(np.stack(np.broadcast_arrays(*size)), axis=0)
        return np.stack(np.broadcast_arrays(far, _outside(x.lnQ, np.log1p(self.fid))))


def _outside(values: Floats, ends: Floats) -> Floats:
    low, high = ends
    far = np.maximum(np.maximum(low - values, values - high), 0.0)
    return np.asarray(np.nan_to_num(far, nan=0.0, posinf=np.inf))


def domain_of(points: Points) -> Domain:
    """The ranges of these points."""

    def ends(values: Floats) -> tuple[float, float]:
        known = values[np.isfinite(values)]
        return (float(known.min()), float(known.max())) if known.size else (float("nan"), float("nan"))

    work = points.params * points.images
    return Domain(*map(ends, (points.params, points.images, points.flops, points.fid, work)))


#: Beyond this many e-folds of compute (half as many of 1 + FID) the misfit grows no more: past a factor of 1e8 a law is
#: at its floor.
FAR = float(np.log(1e8))


@dataclass(frozen=True, slots=True)
class Misfit:
    """Standard deviations, of log loss: `base`, lack of fit inside the data, which replicates can't average away;
    `drift`, per e-fold of compute beyond them; `quality`, per e-fold of 1 + FID; `shared`, test-set error. Of ln N*:
    `size`, at the compute of the dearest run, and `size_drift`, per e-fold beyond."""

    base: float = 0.0
    drift: float = 0.0
    quality: float = 0.0
    shared: float = 0.0
    size: float = 0.0
    size_drift: float = 0.0

    def scale(self, beyond: Floats) -> Floats:
        """Of log loss [n], at distances [2, n] outside the data."""
        compute, quality = np.minimum(beyond[0], FAR), np.minimum(beyond[1], FAR / 2)
        return np.asarray(np.sqrt(self.base**2 + (self.drift * compute) ** 2 + (self.quality * quality) ** 2))

    def of_size(self, compute: Floats) -> Floats:
        """Of ln N* [n], at so many e-folds of compute beyond the data."""
        return np.asarray(np.hypot(self.size, self.size_drift * np.minimum(compute, FAR)))


def shared_error(test_images: int | None) -> float:
    """Test-set sampling error of log loss, common to all runs; 0 where the number of images isn't known. Per-image
    losses of robust networks scatter about as much as their mean (assumed): relative error 1 / sqrt(n)."""
    return 0.0 if test_images is None else float(1.0 / np.sqrt(test_images))
