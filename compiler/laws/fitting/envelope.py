"""The fit of Approach 1 (Bartoldson 2024): the lower envelope of training curves over FLOPs, then log-log lines.

The released algorithm: per run, loss interpolated linearly in FLOPs over evaluations with fraction >= .5;
1000 log-spaced queries; a run whose first evaluation lies later is skipped, one past its end offers its
minimum, but a query won that way is dropped; a query counts only if it doesn't exceed the running minimum. N
is the winner's, D = min(1, f / f_max) x its images. Resampling draws runs, as everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Ints
from isoloss.compiler.laws.fitting.bootstrap import compact, run_counts
from isoloss.compiler.laws.fitting.fitted import LawFit, Note, unfit
from isoloss.compiler.laws.fitting.interval_terms import Domain, Misfit, domain_of, shared_error
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.fitting.pooled import BASE, DRIFT
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.points import Points

#: Queries along the FLOP axis, as published.
QUERIES = 1000
#: Fewer winning runs leave the lines for N* and D* to chance.
_FEWEST_WINNERS = 3


def fit_envelope(law: Law, points: Points, options: FitOptions) -> LawFit:
    """As fit_law; `points` are whole curves."""
    points = points.curves(options.floor)
    domain = domain_of(points)
    curves = Curves.of(points) if len(points) else None
    best = None if curves is None else curves.lines(np.ones(len(curves.params)))
    if curves is None or best is None:
        message = (
            "the envelope needs training curves of at least 3 runs that are best somewhere: "
            "several evaluations per run at or above the fraction floor"
        )
        return _unfit(law, points, domain, message)
    counts = run_counts(len(curves.params), options.resamples, options.seed)
    refits = [lines for row in counts if (lines := curves.lines(row)) is not None]
    samples = np.array([lines.theta for lines in refits]).reshape(-1, 6)
    notes = []
    if len(refits) < 0.5 * options.resamples:
        notes.append(
            Note("few_resamples", f"only {len(refits)} of {options.resamples} resamples have an envelope")
        )
    score = curves.held_out()
    misfit = Misfit(
        base=max(BASE, best.sigma), drift=max(DRIFT, score or 0.0), shared=shared_error(options.test_images)
    )
    return LawFit(
        law=law,
        theta=best.theta,
        samples=compact(samples, best.theta),
        status=Status.CONVERGED,
        domain=domain,
        misfit=misfit,
        objective=best.sigma**2,
        residual_sigma=best.sigma,
        starts=1,
        share_at_best=1.0,
        points=len(points),
        runs=len(curves.params),
        r2=best.r2[0],
        held_out=None if score is None else {"rms_log_error": score, "points": 1.0, "beyond": 1.0},
        notes=tuple(notes),
        seed=options.seed,
        settings={"resamples": options.resamples, "seed": options.seed, "r2": list(best.r2)},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Regression lines of one envelope: theta [6], residual scale of ln L, R2 of the three lines."""

    theta: Floats
    sigma: float
    r2: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Every run's offer at every query: `loss` [runs, queries] (inf before its first point), `past` where the
    query lies beyond its end; `params`, `images` (at the run's last point), `end` FLOPs [runs]."""

    ln_queries: Floats
    loss: Floats
    past: Floats
    params: Floats
    images: Floats
    end: Floats

    @classmethod
    def of(cls, points: Points) -> Curves:
        low, high = np.log(points.flops.min()), np.log(points.flops.max())
        ln_queries = np.linspace(low, high, QUERIES)
        queries = np.exp(ln_queries)
        runs = np.unique(points.run)
        shape = (len(runs), QUERIES)
        loss, past = np.full(shape, np.inf), np.zeros(shape)
        params, images, end = np.empty(len(runs)), np.empty(len(runs)), np.empty(len(runs))
        for i, run in enumerate(runs):
            rows = np.flatnonzero(points.run == run)
            rows = rows[np.argsort(points.flops[rows], kind="stable")]
            flops, losses = points.flops[rows], points.loss[rows]
            offer = np.interp(queries, flops, losses, left=np.inf)
            past[i] = queries > flops[-1] * (1 + 1e-12)
            loss[i] = np.where(past[i] > 0, losses.min(), offer)
            params[i], images[i], end[i] = points.params[rows[-1]], points.images[rows[-1]], flops[-1]
        return cls(ln_queries, loss, past, params, images, end)

    def lines(self, count: Floats, upto: float = np.inf) -> Lines | None:
        """Regressions over the envelope of the runs with count > 0 (drawn twice is there once: an envelope
        knows no weights), over queries below `upto` FLOPs. None where too few runs ever win."""
        drawn = np.flatnonzero(count > 0)
        winners, queries = self._winners(drawn, upto)
        if len(np.unique(winners)) < _FEWEST_WINNERS or len(queries) < 10:
            return None
        lnC = self.ln_queries[queries]
        lnL = np.log(self.loss[winners, queries])
        lnN = np.log(self.params[winners])
        share = np.minimum(1.0, np.exp(lnC) / self.end[winners])
        lnD = np.log(share * self.images[winners])
        theta, r2, sigma = [], [], 0.0
        for k, y in enumerate((lnL, lnN, lnD)):
            middle = lnC.mean()
            slope = float((lnC - middle) @ (y - y.mean()) / ((lnC - middle) @ (lnC - middle)))
            residual = y - y.mean() - slope * (lnC - middle)
            theta += [float(y.mean() - slope * middle), slope]
            total = float(((y - y.mean()) ** 2).sum())
            r2.append(1.0 - float(residual @ residual) / total if total > 0 else float("nan"))
            if k == 0:
                sigma = float(np.sqrt(np.mean(residual**2)))
        return Lines(np.array(theta), sigma, (r2[0], r2[1], r2[2]))

    def _winners(self, drawn: Ints, upto: float) -> tuple[Ints, Ints]:
        """(run, query) of the queries that count."""
        offers = self.loss[drawn]
        first = offers.argmin(axis=0)
        best = offers[first, np.arange(QUERIES)]
        run = drawn[first]
        live = np.isfinite(best) & (self.past[run, np.arange(QUERIES)] == 0)
        live &= self.ln_queries <= np.log(upto) if np.isfinite(upto) else True
        queries = np.flatnonzero(live)
        falling = best[queries] <= np.minimum.accumulate(best[queries]) if queries.size else live[:0]
        return run[queries[falling]], queries[falling]

    def held_out(self) -> float | None:
        """Error of log L per e-fold of FLOPs, of lines through the envelope below a tenth of the top compute
        against the envelope above it. None where there is too little on either side."""
        cut = float(np.exp(self.ln_queries[-1])) / 10.0
        everyone = np.arange(len(self.params))
        lower = self.lines(np.ones(len(everyone)), upto=cut)
        winners, queries = self._winners(everyone, np.inf)
        above = self.ln_queries[queries] > np.log(cut) + 0.5
        if lower is None or not above.any():
            return None
        lnC = self.ln_queries[queries[above]]
        seen = np.log(self.loss[winners[above], queries[above]])
        error = lower.theta[0] + lower.theta[1] * lnC - seen
        return float(np.sqrt(np.sum(error**2) / np.sum((lnC - np.log(cut)) ** 2)))


def _unfit(law: Law, points: Points, domain: Domain, message: str) -> LawFit:
    return unfit(
        law, len(points), int(np.unique(points.run).size), domain, (Note("too_few_points", message),)
    )
