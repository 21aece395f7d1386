"""Loss -> accuracy: a second stage after a law, a robust line with its own uncertainty.

In: (loss, accuracy) of the points of a fit. Out: `AccuracyFit`, which turns a forecast loss and its interval
into an accuracy and its interval. Runs after fit.py, for answers and the report. Form and published line:
Bartoldson et al. 2024, Appendix H.2.2 (accuracy = 1.2575 - 0.7496 loss, CW-PGD40 on CIFAR-10)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.plan import Range
from isoloss.compiler.rounding import rounded

#: Standard normal quantile of a central 95 % interval.
Z95 = 1.959963984540054

#: Huber's constant: 95 % efficiency under normal errors. Points farther out count less.
HUBER_SCALES = 1.345

#: Losses farther apart than this share of themselves make a line; fewer distinct ones don't.
MIN_DISTINCT = 3


@dataclass(frozen=True, slots=True)
class AccuracyFit:
    """accuracy = intercept + slope * loss, accuracies in [0, 1].

    `covariance` of (intercept, slope) is (ii, is, ss), from resampling runs; `residual` the robust standard
    deviation about the line; `count` the test images behind each accuracy. None: not known (published fits).
    `loss_range` is where the points lie."""

    intercept: float
    slope: float
    covariance: tuple[float, float, float] | None
    residual: float | None
    r2: float
    count: int | None
    points: int
    loss_range: tuple[float, float] | None
    source: str = ""

    def value(self, loss: float) -> float:
        """Accuracy at a loss, clipped to [0, 1]."""
        return min(1.0, max(0.0, self.intercept + self.slope * loss))

    def predict(self, loss: Range) -> Range:
        """Accuracy at a forecast loss. The 95 % interval adds in quadrature: the loss's own interval (per
        side), the line's uncertainty, the residual of one more run, and the binomial error of a test set
        of `count` images, which all runs share and no residual shows. Outside the losses of the points the
        residual grows as `_stretch` says. Clipped to [0, 1]."""
        mid = self.value(loss.mid)
        ends = []
        for end in (loss.low, loss.high):
            # The line is as sure as where it is read: an end far from the points says little.
            noise = max(self._variance(end, mid), self._variance(loss.mid, mid)) * Z95**2
            ends.append((self.slope * (end - loss.mid), noise))
        (down, below), (up, above) = sorted(ends)
        low = mid - math.sqrt(min(down, 0.0) ** 2 + below)
        high = mid + math.sqrt(max(up, 0.0) ** 2 + above)
        return Range(max(0.0, low), mid, min(1.0, high))

    def _variance(self, loss: float, accuracy: float) -> float:
        total = 0.0
        if self.covariance is not None:
            ii, cross, ss = self.covariance
            total += max(0.0, ii + 2.0 * loss * cross + loss * loss * ss)
        if self.residual is not None:
            total += (self.residual * self._stretch(loss)) ** 2
        if self.count:
            total += accuracy * (1.0 - accuracy) / self.count
        return total

    def beyond(self, loss: float) -> bool:
        """Whether a loss lies outside those of the points; False where the points aren't known."""
        return self.loss_range is not None and not self.loss_range[0] <= loss <= self.loss_range[1]

    def _stretch(self, loss: float) -> float:
        """1 inside the losses of the points. Outside, the square of the distance from their middle in
        half-widths: a bend as large as the residual at both ends hides among the points, and grows so."""
        if self.loss_range is None or not self.beyond(loss) or self.loss_range[0] >= self.loss_range[1]:
            return 1.0
        low, high = self.loss_range
        return ((loss - (low + high) / 2) / ((high - low) / 2)) ** 2

    def to_json(self) -> dict[str, Any]:
        """Plain data; floats rounded to 10 digits as everything fitted in a plan."""
        pairs = self.covariance
        return {
            "intercept": rounded(self.intercept),
            "slope": rounded(self.slope),
            "covariance": None if pairs is None else [rounded(v) for v in pairs],
            "residual": None if self.residual is None else rounded(self.residual),
            "r2": rounded(self.r2),
            "count": self.count,
            "points": self.points,
            "loss_range": None if self.loss_range is None else [rounded(v) for v in self.loss_range],
            "source": self.source,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> AccuracyFit:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for other data."""
        pairs = data["covariance"]
        ends = data["loss_range"]
        return AccuracyFit(
            intercept=float(data["intercept"]),
            slope=float(data["slope"]),
            covariance=None if pairs is None else (float(pairs[0]), float(pairs[1]), float(pairs[2])),
            residual=None if data["residual"] is None else float(data["residual"]),
            r2=float(data["r2"]),
            count=None if data["count"] is None else int(data["count"]),
            points=int(data["points"]),
            loss_range=None if ends is None else (float(ends[0]), float(ends[1])),
            source=str(data.get("source", "")),
        )


#: The published line: 28 to 40 DG points at their lowest loss, no uncertainty given (Appendix H.2.2, Fig. 9).
#: CIFAR-10's test set has 10,000 images.
BARTOLDSON2024 = AccuracyFit(
    intercept=1.2575,
    slope=-0.7496,
    covariance=None,
    residual=None,
    r2=0.98,
    count=10_000,
    points=0,
    loss_range=None,
    source="Bartoldson et al. 2024, Appendix H.2.2",
)


def fit_accuracy(
    loss: ArrayLike,
    accuracy: ArrayLike,
    run: ArrayLike | None = None,
    count: int | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> AccuracyFit | None:
    """Fit the line through `loss` > 0 and `accuracy` in [0, 1] (arrays [n]; nan pairs left out), resampling
    whole runs (`run`, group ids [n]; None: every point is its own). `count`: test images per accuracy.

    None if fewer than three points differ in loss: no line, hence no accuracy, can be stated."""
    x, y = np.asarray(loss, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    group = np.arange(len(x)) if run is None else np.asarray(run)
    known = np.isfinite(x) & np.isfinite(y)
    x, y, group = x[known], y[known], group[known]
    if len(np.unique(x)) < MIN_DISTINCT:
        return None
    inside = _on_one_line(x, y)
    x, y, group = x[inside], y[inside], group[inside]
    if len(np.unique(x)) < MIN_DISTINCT:
        return None
    _, group = np.unique(group, return_inverse=True)
    weights = _run_weights(group.reshape(-1), resamples, np.random.default_rng(seed))
    lines = _huber_lines(x, y, np.vstack([np.ones((1, len(x))), weights]))
    intercept, slope = (float(v) for v in lines[0])
    residuals = y - (intercept + slope * x)
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1.0 - float((residuals**2).sum()) / spread if spread > 0 else 0.0
    # n - 2 degrees of freedom; the resampled line has the same small-sample factor.
    inflate = len(x) / max(1, len(x) - 2)
    resampled = lines[1:][np.isfinite(lines[1:]).all(axis=1)]
    spreads = np.cov(resampled.T) * inflate if len(resampled) > 1 else np.zeros((2, 2))
    return AccuracyFit(
        intercept=intercept,
        slope=slope,
        covariance=(float(spreads[0, 0]), float(spreads[0, 1]), float(spreads[1, 1])),
        residual=_robust_sd(residuals) * math.sqrt(inflate),
        r2=r2,
        count=count,
        points=len(x),
        loss_range=(float(x.min()), float(x.max())),
    )


#: A point is left out of the line that lies this many robust standard deviations off it, and by this much accuracy.
FAR_OFF, FAR_OFF_ACCURACY = 8.0, 0.05


def _on_one_line(x: Floats, y: Floats) -> np.ndarray:
    """Which points [n] share a line: all but those far off the one through the median of pairwise slopes (Theil 1950,
    Sen 1968). A collapsed run at chance has so large a loss that it would turn any line that weighs it at all."""
    # scipy.stats takes as long to load as the rest of planning: only where there is a curve to fit.
    from scipy.stats import theilslopes

    slope, intercept, _, _ = theilslopes(y, x)
    off = np.abs(y - intercept - slope * x)
    return np.asarray(off <= max(FAR_OFF * 1.4826 * float(np.median(off)), FAR_OFF_ACCURACY), dtype=bool)


def _run_weights(group: np.ndarray, resamples: int, rng: np.random.Generator) -> Floats:
    """[resamples, n]: how often each point's run was drawn, with replacement."""
    runs = int(group.max()) + 1
    drawn = rng.multinomial(runs, np.full(runs, 1.0 / runs), size=resamples)
    return drawn[:, group].astype(np.float64)


def _huber_lines(x: Floats, y: Floats, counts: Floats) -> Floats:
    """(intercept, slope) per row of `counts` [s, n], by iteratively reweighted least squares; nan for a
    resample that drew a single loss."""
    weights = counts.copy()
    lines = np.full((len(counts), 2), np.nan)
    for _ in range(30):
        total = weights.sum(axis=1)
        mean_x, mean_y = (weights @ x) / total, (weights @ y) / total
        dx = x[None, :] - mean_x[:, None]
        variance = (weights * dx**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = (weights * dx * (y[None, :] - mean_y[:, None])).sum(axis=1) / variance
        slope[variance <= 1e-18 * total * mean_x**2] = np.nan
        lines = np.stack([mean_y - slope * mean_x, slope], axis=1)
        away = np.abs(y[None, :] - lines[:, :1] - lines[:, 1:] * x[None, :])
        # One scale for all resamples, that of the first row: resampling varies the points, not the rule.
        limit = HUBER_SCALES * max(_robust_sd(y - lines[0, 0] - lines[0, 1] * x), 1e-12)
        weights = counts * np.minimum(1.0, limit / np.maximum(np.nan_to_num(away), 1e-300))
    return lines


def _robust_sd(residuals: Floats) -> float:
    """1.4826 median absolute deviation; the plain one where over half the points lie on the line."""
    scale = 1.4826 * float(np.median(np.abs(residuals)))
    return scale if scale > 0 else float(np.sqrt(np.mean(residuals**2)))
