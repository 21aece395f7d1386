"""A fitted (or published) law: parameters, resamples, status, domain; predictions with intervals.

In: what fit.py found or a paper printed. Out: `Range`s (95 %), or None where nothing is known. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.fitting.interval_terms import Domain, Misfit
from isoloss.compiler.laws.fitting.options import Status
from isoloss.compiler.laws.fitting.pooled import FREEDOM, student
from isoloss.compiler.laws.forms import solve
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.plan import Range
from isoloss.dsl.vocabulary.quantity_text import flop_text

#: Two-sided 95 %.
LEVEL = (0.025, 0.975)
_CHUNK = 4096  # points predicted at once: bounds memory at resamples x 4096 doubles


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader of the fit must know. `kind` is stable: at_bound, not_identified, ..."""

    kind: str
    message: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Many Ranges: arrays [n]. `low` and `high` are nan where the interval is not estimated."""

    low: Floats
    mid: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Optimum:
    """The compute-optimal run: each None where the law has none. `exponents` a, b of N* ~ C^a, D* ~ C^b."""

    params: Range | None
    images: Range | None
    flops: Range
    loss: Range | None
    exponents: Mapping[str, Range]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Loss as N and D grow without bound (`asymptote`), as N alone (`params`: at given images), D alone."""

    asymptote: Range | None
    params: Range | None
    images: Range | None


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """A network of `size` times the optimal N at the optimal loss: images times `images`, training FLOPs
    times 1 + `overhead` (Bartoldson 2024, Eq. 6)."""

    size: float
    images: Range
    overhead: Range


@dataclass(frozen=True, eq=False)
class LawFit:
    """theta [p] in the form's own parametrisation; `samples` [r, p] bootstrap refits (r may be 0).

    A Range whose ends are nan says: no interval was estimated (a published law prints none)."""

    law: Law
    theta: Floats
    samples: Floats
    status: Status
    domain: Domain
    misfit: Misfit = field(default_factory=Misfit)
    objective: float = float("nan")
    residual_sigma: float = float("nan")
    starts: int = 0
    share_at_best: float = float("nan")
    points: int = 0
    runs: int = 0
    r2: float | None = None
    held_out: Mapping[str, float] | None = None
    unidentified: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: str = ""
    features: str | None = None  # space of the FIDs it was fitted to; None: not known, or it uses none

    @property
    def usable(self) -> bool:
        """Whether there is a fit at all."""
        return bool(np.isfinite(self.theta).all())

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(note.message for note in self.notes)

    @property
    def errors(self) -> str | None:
        """Of a fit with correlated errors, in words; None: its errors are independent."""
        share = self.settings.get("misfit_share")
        return (
            None
            if share is None
            else f"correlated: {share:.0%} of their variance is misfit, which neighbours share"
        )

    @property
    def parameters(self) -> dict[str, float]:
        """In the papers' FID = 0 form, full precision; nan for what the design can't identify."""
        values = {name: float(v) for name, v in self.law.to_paper(self.theta).items()}
        return {name: float("nan") if name in self.unidentified else v for name, v in values.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % of each parameter over resamples; empty without resamples, and without unidentified ones."""
        if not self.usable or len(self.samples) == 0:
            return {}
        table = self.law.to_paper(self.samples)
        names = [name for name in table if name not in self.unidentified]
        return {name: tuple(float(v) for v in np.quantile(table[name], LEVEL)) for name in names}  # type: ignore[misc]

    @cached_property
    def covariance(self) -> Floats:
        """Of theta over resamples, [p, p]; nan without resamples."""
        p = len(self.theta)
        if len(self.samples) < 2:
            return np.full((p, p), np.nan)
        deviation = self.samples - self.theta
        return np.asarray(deviation.T @ deviation / len(deviation))

    @cached_property
    def noise(self) -> Floats:
        """Student's t [r, 4] that go with the resamples: of misfit, size, shared error, a run."""
        rng = np.random.default_rng([self.seed, 0x15010])
        return student(rng.standard_normal((len(self.samples), 4)), rng.chisquare(FREEDOM, len(self.samples)))

    # Predictions.

    def predict(self, params: float, images: float, fid: float, *, new_run: bool = False) -> Range | None:
        """Loss of a run. None where the law can't say (unknown or unidentified fid, no fit). `new_run` adds
        the scatter of single runs, so that the interval is about a measurement yet to be made."""
        band = self.predict_many(params, images, fid, new_run=new_run)
        return _range(band.low[0], band.mid[0], band.high[0])

    def predict_many(
        self, params: ArrayLike, images: ArrayLike, fid: ArrayLike, *, new_run: bool = False
    ) -> Band:
        """`predict` at points [n] (scalars broadcast): arrays [n], nan where the law can't say."""
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (params, images, fid)))
        parts = []
        for begin in range(0, max(len(columns[0]), 1), _CHUNK):
            N, D, F = (c[begin : begin + _CHUNK] for c in columns)
            parts.append(self._band(Inputs.of(N, D, F), new_run))
        return Band(*(np.concatenate([getattr(b, k) for b in parts]) for k in ("low", "mid", "high")))

    def mids(self, params: ArrayLike, images: ArrayLike, fid: ArrayLike) -> Floats:
        """The middles of `predict_many`, [n], without its intervals: for searches over many runs."""
        return np.asarray(
            np.exp(self.log_mid(Inputs.of(*np.broadcast_arrays(params, images, fid)))), dtype=np.float64
        )

    def jacobian(self, params: ArrayLike, images: ArrayLike, fid: ArrayLike) -> Floats:
        """d ln L / d theta at points [n]: [n, p], for design by linearisation."""
        return self.law.jacobian(self.theta, self.seen(Inputs.of(params, images, fid)))

    def log_draws(self, x: Inputs, *, new_run: bool = False) -> Floats:
        """ln L [r, n] over resamples with misfit and shared error; nan where the law can't say."""
        draws = self.law.log_prediction(self.samples, self.seen(x))
        z = self.noise
        draws = draws + z[:, :1] * self.misfit.scale(self.domain.beyond(x)) + z[:, 2:3] * self.misfit.shared
        if new_run and np.isfinite(self.residual_sigma):
            draws = draws + z[:, 3:4] * self.residual_sigma
        return np.asarray(np.where(self._speechless(x), np.nan, draws))

    def log_mid(self, x: Inputs) -> Floats:
        """ln L [n] of the full-data fit; nan where the law can't say."""
        value = self.law.log_prediction(self.theta, self.seen(x))
        return np.asarray(np.where(self._speechless(x), np.nan, value))

    def _band(self, x: Inputs, new_run: bool) -> Band:
        return _exp_band(self.log_draws(x, new_run=new_run), self.log_mid(x))

    def seen(self, x: Inputs) -> Inputs:
        """A law without FID terms, or one whose FID terms are fixed, answers for any FID it is asked at."""
        if self.law.uses_fid and not self._quality_fixed:
            return x
        return Inputs(x.lnN, x.lnD, np.zeros_like(x.fid), x.lnX)

    def seen_fid(self, fid: float) -> float:
        """The FID as the form is asked: 0 where it has no free FID term."""
        return fid if self.law.uses_fid and not self._quality_fixed else 0.0

    @property
    def _quality_fixed(self) -> bool:
        return "epsilon" in self.unidentified and self.law.uses_fid

    def _speechless(self, x: Inputs) -> Any:
        """Where a contrast the design never had would be needed."""
        silent = np.zeros(np.broadcast_shapes(x.lnN.shape, x.lnD.shape, x.fid.shape), dtype=bool)
        if not self.usable or not self.law.pointwise:
            return ~silent
        if self._quality_fixed and np.isfinite(self.domain.fid[0]):
            silent = silent | ~(np.abs(x.fid - self.domain.fid[0]) <= 1e-6 * (1 + x.fid))
        if self.law.two_dimensional:
            for name, value, (low, high) in (
                ("alpha", x.lnN, np.log(self.domain.params)),
                ("beta", x.lnD, np.log(self.domain.images)),
            ):
                if name in self.unidentified:
                    silent = silent | (value < low - 1e-6) | (value > high + 1e-6)
        return silent

    # Optimum, limits, trade-off.

    def optimum(self, flops: float, fid: float, flops_per_image: FlopsPerImage | None = None) -> Optimum:
        """Best N, D and loss for `flops` of training. `flops_per_image`: N -> FLOP per image; None: 7822
        N."""
        lnN, lnD, lnL = self.optimum_draws(flops, fid, flops_per_image, mid=True)
        draws = self.optimum_draws(flops, fid, flops_per_image) if len(self.samples) else None
        bands = [
            _exp_band(d[:, None], m) for d, m in zip(draws or [_none()] * 3, (lnN, lnD, lnL), strict=True)
        ]
        N, D, L = (_range(b.low[0], b.mid[0], b.high[0]) for b in bands)
        notes: tuple[str, ...] = ()
        if self.usable and N is None:
            notes = (f"{self.law.name} has no optimal size at {flop_text(flops)} within its range",)
        return Optimum(N, D, Range(flops, flops, flops), L, self.exponents, notes)

    def optimum_draws(
        self, flops: float, fid: float, flops_per_image: FlopsPerImage | None = None, *, mid: bool = False
    ) -> tuple[Floats, Floats, Floats]:
        """ln N*, ln D*, ln L* [r] over resamples, with misfit; with `mid` at theta itself, [1]."""
        theta = self.theta[None, :] if mid else self.samples
        blank = np.full(len(theta), np.nan)
        if not self.usable or {"alpha", "beta"} & set(self.unidentified):
            return blank, blank, blank
        if self._quality_fixed and abs(fid - self.domain.fid[0]) > 1e-6 * (1 + fid):
            return blank, blank, blank
        fid = self.seen_fid(fid)
        lnN, lnD, lnL = solve.optimum(self.law, theta, flops, fid, flops_per_image)
        if mid or not np.isfinite(lnN).any():
            return lnN, lnD, lnL
        z = self.noise
        if self.law.pointwise:
            beyond = self.domain.beyond(Inputs(lnN, lnD, np.full_like(lnN, fid), lnD))
            # The isoFLOP line is flat: what hardly shows in the loss moves its minimum far.
            shift = z[:, 1] * self.misfit.of_size(beyond[0])
            lnN, lnD = lnN + shift, lnD - shift
        else:
            outside = np.abs(np.log(flops / np.clip(flops, *self.domain.flops)))
            beyond = np.array([[outside], [0.0]])
        lnL = lnL + z[:, 0] * self.misfit.scale(beyond) + z[:, 2] * self.misfit.shared
        return lnN, lnD, lnL

    @property
    def exponents(self) -> dict[str, Range]:
        """a and b with intervals; empty where the form has none or the design can't tell."""
        if not self.usable or {"alpha", "beta"} & set(self.unidentified):
            return {}
        mids = self.law.exponents(self.theta)
        draws = self.law.exponents(self.samples) if len(self.samples) else {}
        result = {}
        for name, mid in mids.items():
            low, high = np.quantile(draws[name], LEVEL) if name in draws else (np.nan, np.nan)
            made = _range(low, float(mid), high)
            if made is not None:
                result[name] = made
        return result

    def limits(self, fid: float, params: float | None = None, images: float | None = None) -> Limits:
        """Loss as N and D grow; as N grows at `images`; as D grows at `params`."""
        inf = float("inf")
        return Limits(
            self.predict(inf, inf, fid),
            None if images is None else self.predict(inf, images, fid),
            None if params is None else self.predict(params, inf, fid),
        )


def unfit(law: Law, points: int, runs: int, domain: Domain, notes: tuple[Note, ...]) -> LawFit:
    """A fit that isn't: every prediction is None."""
    p = len(law.parameters)
    return LawFit(
        law=law,
        theta=np.full(p, np.nan),
        samples=np.empty((0, p)),
        status=Status.TOO_FEW_POINTS,
        domain=domain,
        points=points,
        runs=runs,
        notes=notes,
    )


def _none() -> Floats:
    return np.empty(0)


def _exp_band(log_draws: Floats, log_mid: Floats) -> Band:
    """Quantiles over axis 0; draws without a value are left out, the middle is the full-data fit's."""
    mid = np.exp(log_mid)
    usable = np.isfinite(log_draws).mean(axis=0) > 0.5 if len(log_draws) else np.zeros(mid.shape, dtype=bool)
    low, high = np.full(mid.shape, np.nan), np.full(mid.shape, np.nan)
    if usable.any():
        kept = log_draws[:, usable]
        ends = (
            np.nanquantile(kept, LEVEL, axis=0) if np.isnan(kept).any() else np.quantile(kept, LEVEL, axis=0)
        )
        low[usable], high[usable] = np.exp(ends[0]), np.exp(ends[1])
    # The full-data fit is always inside its own interval: np.minimum keeps nan (not estimated) as nan.
    return Band(np.minimum(low, mid), mid, np.maximum(high, mid))


def _range(low: float, mid: float, high: float) -> Range | None:
    return Range(float(low), float(mid), float(high)) if np.isfinite(mid) else None
