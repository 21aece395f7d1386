"""Several laws as one: each answers, and the answer's interval holds their disagreement.

In: LawFits of the same question. Out: the same `predict`, `optimum`, `limits` as a LawFit. The law's form is
the largest error of an extrapolation (planning.md Q1); a single law's interval doesn't know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.fitted import LEVEL, Band, LawFit, Limits, Optimum
from isoloss.compiler.plan import Range

_FEWEST_DRAWS = 2


@dataclass(frozen=True, eq=False)
class Portfolio:
    """`weights` default to rolling-origin scores: laws that predicted the held-out dearest runs badly count
    less. Members that can't answer a question are left out of it."""

    fits: Sequence[LawFit]
    weights: Sequence[float] | None = None
    given: Floats = field(init=False)

    def __post_init__(self) -> None:
        if not self.fits:
            raise ValueError("a portfolio needs at least one law")
        values = score_weights(self.fits) if self.weights is None else np.asarray(self.weights, dtype=float)
        if len(values) != len(self.fits) or not (values >= 0).all() or not values.sum() > 0:
            raise ValueError("weights must be one per law, not below 0, and not all 0")
        object.__setattr__(self, "given", values / values.sum())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of all members, each once."""
        return tuple(dict.fromkeys(f"{f.law.name}: {w}" for f in self.fits for w in f.warnings))

    def predict(self, params: float, images: float, fid: float, *, new_run: bool = False) -> Range | None:
        band = self.predict_many(params, images, fid, new_run=new_run)
        mid = float(band.mid[0])
        return Range(float(band.low[0]), mid, float(band.high[0])) if np.isfinite(mid) else None

    def predict_many(
        self, params: ArrayLike, images: ArrayLike, fid: ArrayLike, *, new_run: bool = False
    ) -> Band:
        """Weighted mixture of the laws at points [n]."""
        bands = [f.predict_many(params, images, fid, new_run=new_run) for f in self.fits]
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (params, images, fid)))
        x = Inputs.of(*columns)
        draws = [f.log_draws(x, new_run=new_run) for f in self.fits]
        mixed = [
            _mix([np.log(b.mid[i]) for b in bands], [d[:, i] for d in draws], self.given)
            for i in range(len(columns[0]))
        ]
        return Band(*(np.array(column) for column in zip(*mixed, strict=True)))

    def optimum(self, flops: float, fid: float, flops_per_image: FlopsPerImage | None = None) -> Optimum:
        mids = [f.optimum_draws(flops, fid, flops_per_image, mid=True) for f in self.fits]
        draws = [f.optimum_draws(flops, fid, flops_per_image) for f in self.fits]
        ranges: list[Range | None] = []
        for k in range(3):
            low, mid, high = _mix([float(m[k][0]) for m in mids], [d[k] for d in draws], self.given)
            ranges.append(Range(float(low), float(mid), float(high)) if np.isfinite(mid) else None)
        notes = tuple(
            f"{f.law.name} has no answer here"
            for f, m in zip(self.fits, mids, strict=True)
            if np.isnan(m[2][0])
        )
        return Optimum(ranges[0], ranges[1], Range(flops, flops, flops), ranges[2], self._exponents(), notes)

    def limits(self, fid: float, params: float | None = None, images: float | None = None) -> Limits:
        inf = float("inf")
        return Limits(
            self.predict(inf, inf, fid),
            None if images is None else self.predict(inf, images, fid),
            None if params is None else self.predict(params, inf, fid),
        )

    def _exponents(self) -> dict[str, Range]:
        members = [f.exponents for f in self.fits]
        result = {}
        for name in ("a", "b"):
            have = [(e[name], w) for e, w in zip(members, self.given, strict=True) if name in e]
            if have:
                total = sum(w for _, w in have)
                mid = sum(r.mid * w for r, w in have) / total
                result[name] = Range(min(r.low for r, _ in have), float(mid), max(r.high for r, _ in have))
        return result


def _mix(mids: Sequence[float], draws: Sequence[Floats], weights: Floats) -> tuple[float, float, float]:
    """(low, mid, high) of the mixture, not logs: mid the weighted mean of log predictions, ends weighted
    quantiles of the pooled draws."""
    answering = [k for k, m in enumerate(mids) if np.isfinite(m) and weights[k] > 0]
    if not answering:
        return (float("nan"),) * 3
    share = weights[answering] / weights[answering].sum()
    mid = float(np.exp(np.sum(share * np.array([mids[k] for k in answering]))))
    pools = [draws[k][np.isfinite(draws[k])] for k in answering]
    if any(len(p) < _FEWEST_DRAWS for p in pools):
        return float("nan"), mid, float("nan")
    values = np.concatenate(pools)
    each = np.concatenate([np.full(len(p), s / len(p)) for p, s in zip(pools, share, strict=True)])
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(each[order]) - 0.5 * each[order]
    low, high = np.exp(np.interp(LEVEL, cumulative, values[order]))
    return min(float(low), mid), mid, max(float(high), mid)


def score_weights(fits: Sequence[LawFit]) -> Floats:
    """Inverse mean squared rolling-origin error, smoothed by the residual scale so that luck on a few
    held-out runs can't silence a law; equal where a law was not scored."""
    errors = [f.held_out["rms_log_error"] if f.held_out else float("nan") for f in fits]
    known = [e for e in errors if np.isfinite(e)]
    if len(known) < len(fits):
        return np.ones(len(fits))
    floor = max(min(known), 1e-3)
    return np.array([1.0 / (e**2 + floor**2) for e in errors])
