"""Several laws as one: each answers, and the answer's interval holds their disagreement.

In: LawFits of the same question. Out: the same `predict`, `optimum`, `limits` as a LawFit. The law's form is
the largest error of an extrapolation (assumed); a single law's interval doesn't know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.fitting.fitted import LEVEL, Band, LawFit, Limits, Optimum
from isoloss.compiler.laws.fitting.pooled import FREEDOM
from isoloss.compiler.laws.points import Points
from isoloss.compiler.plan import Range

_FEWEST_DRAWS = 2
#: Residuals that count as independent when laws are compared, at most, and runs to each. Neighbouring runs share
#: a law's misfit, so that hundreds of them witness about as much as this many (assumed).
INDEPENDENT, RUNS_PER_RESIDUAL = 8, 4
#: Differences of residual scale below this are no evidence.
SAME = 1e-3
_CHUNK = 1024  # points mixed at once: bounds memory at all resamples x 1024 doubles, a few times


@dataclass(frozen=True, eq=False)
class Portfolio:
    """`weights` default to `score_weights`: laws that predicted the held-out dearest runs badly, or lie farther
    from the runs they were fitted to, count less. Members that can't answer a question are left out of it."""

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
        """Weighted mixture of the laws at points [n]; nan where no law can say."""
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (params, images, fid)))
        parts = []
        for begin in range(0, max(len(columns[0]), 1), _CHUNK):
            x = Inputs.of(*(c[begin : begin + _CHUNK] for c in columns))
            mids = np.stack([f.log_mid(x) for f in self.fits])
            draws = [f.log_draws(x, new_run=new_run) for f in self.fits]
            parts.append(_mixed(mids, draws, self.given))
        return Band(*(np.concatenate([getattr(b, k) for b in parts]) for k in ("low", "mid", "high")))

    def mids(self, params: ArrayLike, images: ArrayLike, fid: ArrayLike) -> Floats:
        """The middles of `predict_many`, [n], without its intervals: for searches over many runs."""
        x = Inputs.of(*np.broadcast_arrays(params, images, fid))
        return _weighted(np.stack([f.log_mid(x) for f in self.fits]), self.given)[0]

    def optimum(self, flops: float, fid: float, flops_per_image: FlopsPerImage | None = None) -> Optimum:
        mids = [f.optimum_draws(flops, fid, flops_per_image, mid=True) for f in self.fits]
        draws = [f.optimum_draws(flops, fid, flops_per_image) for f in self.fits]
        ranges = []
        for k in range(3):
            band = _mixed(np.stack([m[k] for m in mids]), [d[k][:, None] for d in draws], self.given)
            low, mid, high = (float(v[0]) for v in (band.low, band.mid, band.high))
            ranges.append(Range(low, mid, high) if np.isfinite(mid) else None)
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


def _mixed(mids: Floats, draws: Sequence[Floats], weights: Floats) -> Band:
    """Mixture at n points from log predictions [k, n] and log draws [r_k, n] of k laws: the middle is the
    weighted mean of log predictions, the ends are weighted quantiles of the pooled draws. A law that has no
    answer at a point weighs nothing there; the interval is not estimated (nan) where an answering law has no
    draws."""
    mid, share = _weighted(mids, weights)
    total = share.sum(axis=0)
    counts = np.stack([np.isfinite(d).sum(axis=0) for d in draws])
    known = (total > 0) & ((counts >= _FEWEST_DRAWS) | (share == 0)).all(axis=0)
    values = np.concatenate(list(draws))
    weight = np.concatenate(
        [
            np.where(np.isfinite(d), s / np.maximum(c, 1), 0.0)
            for d, s, c in zip(draws, share, counts, strict=True)
        ]
    )
    low, high = np.full(mid.shape, np.nan), np.full(mid.shape, np.nan)
    if known.any():
        low[known], high[known] = np.exp(_quantiles(values[:, known], weight[:, known]))
    return Band(np.minimum(low, mid), mid, np.maximum(high, mid))


def _weighted(mids: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The weighted geometric mean [n] of log predictions [k, n], and each law's share [k, n] in it."""
    share = np.where(np.isfinite(mids), weights[:, None], 0.0)
    total = share.sum(axis=0)
    share = share / np.where(total > 0, total, 1.0)
    mean = np.exp(np.sum(share * np.where(share > 0, mids, 0.0), axis=0))
    return np.asarray(np.where(total > 0, mean, np.nan)), np.asarray(share)


def _quantiles(values: Floats, weight: Floats) -> Floats:
    """Weighted LEVEL quantiles [2, n] of columns [s, n], linear between the middles of the steps."""
    values = np.where(weight > 0, values, np.inf)
    order = np.argsort(values, axis=0, kind="stable")
    values, weight = np.take_along_axis(values, order, 0), np.take_along_axis(weight, order, 0)
    middle = np.cumsum(weight, axis=0) - 0.5 * weight
    last = (weight > 0).sum(axis=0) - 1
    columns = np.arange(values.shape[1])
    ends = []
    for level in LEVEL:
        above = np.minimum((middle < level).sum(axis=0), last)
        below = np.maximum(above - 1, 0)
        gap = middle[above, columns] - middle[below, columns]
        part = np.clip((level - middle[below, columns]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)
        ends.append(values[below, columns] + part * (values[above, columns] - values[below, columns]))
    return np.stack(ends)


#: Laws that a table of single runs may hold: without quality in it, and with. Without FIDs approaches 2 and 3 are
#: Chinchilla's form, which is there once.
PLAIN, OF_QUALITY = ("powersum", "chinchilla"), ("approach2", "approach3")
#: Laws whose log predictions differ by no more than this, at the runs and at ten times their compute, are one law.
_COINCIDE = 1e-3


def candidates(points: Points) -> tuple[str, ...]:
    """Names of the laws that points like these may hold: those with quality where their FIDs differ."""
    known = points.fid[np.isfinite(points.fid)]
    return OF_QUALITY if known.size and np.ptp(known) > 0 else PLAIN


def distinct(fits: Sequence[LawFit], points: Points) -> list[LawFit]:
    """The usable fits, without those that say what an earlier one says: a law counts once."""
    kept: list[LawFit] = []
    fid = np.nan_to_num(points.fid)
    step = np.sqrt(10.0)
    x = [Inputs.of(points.params * k, points.images * k, fid) for k in (1.0, step)]
    for fit in fits:
        if not fit.usable:
            continue
        here = [fit.log_mid(at) for at in x]
        twins = (
            all(
                np.nanmax(np.abs(a - o.log_mid(at)), initial=0.0) <= _COINCIDE
                for a, at in zip(here, x, strict=True)
            )
            for o in kept
        )
        if not any(twins):
            kept.append(fit)
    return kept


def width_shares(model: LawFit | Portfolio, x: Inputs, *, new_run: bool = False) -> dict[str, float]:
    """What the variance of ln L at one point is made of, as shares: `resampling`, `drift` (misfit inside and beyond the
    data), `test set`, `scatter` of a single run, `form` (the laws' disagreement). Empty where no law says anything."""
    fits = model.fits if isinstance(model, Portfolio) else [model]
    weights = model.given if isinstance(model, Portfolio) else np.ones(1)
    known = [
        (fit, weight)
        for fit, weight in zip(fits, weights, strict=True)
        if len(fit.samples) > 1 and np.isfinite(fit.log_mid(x)).all()
    ]
    total = sum(weight for _, weight in known)
    if not total > 0:
        return {}
    heavy = FREEDOM / (FREEDOM - 2)  # a t's variance over its scale's square
    parts = dict.fromkeys(("resampling", "drift", "test set", "scatter", "form"), 0.0)
    mids = [(float(fit.log_mid(x)[0]), weight / total) for fit, weight in known]
    middle = sum(mid * weight for mid, weight in mids)
    parts["form"] = sum(weight * (mid - middle) ** 2 for mid, weight in mids)
    for fit, weight in known:
        share, misfit = weight / total, fit.misfit
        parts["resampling"] += share * float(np.nanvar(fit.law.log_prediction(fit.samples, fit.seen(x))))
        parts["drift"] += share * heavy * float(misfit.scale(fit.domain.beyond(x))[0]) ** 2
        parts["test set"] += share * heavy * misfit.shared**2
        if new_run and np.isfinite(fit.residual_sigma):
            parts["scatter"] += share * heavy * fit.residual_sigma**2
    whole = sum(parts.values())
    return {name: float(part / whole) for name, part in parts.items() if part > 0} if whole > 0 else {}


def score_weights(fits: Sequence[LawFit]) -> Floats:
    """How much each law counts: inverse mean squared rolling-origin error, times what the residuals say. The
    former is smoothed by the best law's, so that luck on a few held-out runs can't silence a law; equal where a
    law was not scored."""
    errors = [f.held_out["rms_log_error"] if f.held_out else float("nan") for f in fits]
    floor = max(min(errors), 1e-3) if np.isfinite(errors).all() else float("nan")
    scores = np.array([1.0 / (e**2 + floor**2) for e in errors])
    spare = [f.points - (len(f.theta) - len(f.unidentified)) for f in fits]
    witness = evidence([f.residual_sigma for f in fits], spare)
    return witness * (scores if np.isfinite(floor) else 1.0)


def evidence(scales: Sequence[float], spare: Sequence[int]) -> Floats:
    """Likelihood of the residuals of each law at their own scale, sigma^-k, relative to the best law's: standard
    deviations of log loss, and runs beyond the law's free parameters. k residuals count as independent. All ones
    where a scale isn't known (published laws)."""
    sizes = np.hypot(np.asarray(scales, dtype=float), SAME)
    if not np.isfinite(sizes).all():
        return np.ones(len(sizes))
    independent = min(INDEPENDENT, max(0, min(spare)) / RUNS_PER_RESIDUAL)
    return np.asarray((sizes / sizes.min()) ** -independent)
