"""Fit a law to points: Points + FitOptions -> LawFit, with bootstrap intervals, a status and what to beware of.

Runs when the compiler knows its observations, and behind `isoloss fit`. Pure: the seed is an option.
Filters are the caller's; selection of points per run is `FitOptions.points`."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, cast

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs, Ints
from isoloss.compiler.laws.descend import Solution, descend
from isoloss.compiler.laws.fitted import LawFit, Note, unfit
from isoloss.compiler.laws.kernel import Kernel, kernel_for
from isoloss.compiler.laws.law import Law
from isoloss.compiler.laws.options import FitOptions, Status
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.registry import LAWS
from isoloss.compiler.laws.review import review
from isoloss.compiler.laws.rolling import held_out_score, misfit_from
from isoloss.compiler.laws.spread import domain_of
from isoloss.compiler.laws.weights import compact, run_weights

__all__ = ["FitOptions", "LawFit", "Status", "fit_law"]

#: Wide Huber thresholds on the way to the wanted one (log residuals): 10 %, 1 %, 0.1 %.
_HOMOTOPY = (0.1, 0.01, 1e-3, 1e-5)
#: Starts count as agreeing when their objective is within this of the best, relatively.
AGREE = 1e-6
#: A log residual of 1e-10 is rounding: below its square per point, objectives don't differ.
EXACT = 1e-20


class FitsItself(Protocol):
    """A law that is no least-squares problem of single runs (approach1)."""

    def fit(self, points: Points, options: FitOptions) -> LawFit:
        """As fit_law."""


def fit_law(law: str | Law, points: Points, options: FitOptions | None = None) -> LawFit:
    """Fit `law` (a name of the registry) to `points`.

    Never raises for bad data that `Points` could be built from: too few points, one N, constant loss give a
    status and notes. Raises KeyError for an unknown law, ValueError for options that make no sense."""
    form = LAWS[law] if isinstance(law, str) else law
    options = options or FitOptions()
    _check(options)
    if not form.pointwise:
        return cast(FitsItself, form).fit(points, options)
    chosen, notes = select(form, points, options)
    return _fit_chosen(form, chosen, options, notes)


def _check(options: FitOptions) -> None:
    if not options.delta > 0:
        raise ValueError(f"delta must be above 0, got {options.delta:g}")
    if options.resamples < 0:
        raise ValueError(f"resamples must be at least 0, got {options.resamples}")
    if options.points not in {"as given", "best", "final", "curve"}:
        raise ValueError(f"points must be best, final, curve or as given, got {options.points}")


def select(law: Law, points: Points, options: FitOptions) -> tuple[Points, list[Note]]:
    """The rows that enter the fit, and what was left out and why."""
    notes: list[Note] = []
    if options.points == "best":
        points = points.best_per_run(options.floor)
    elif options.points == "final":
        points = points.final_per_run(options.floor)
    elif options.points == "curve":
        points = points.curves(options.floor)
    unknown = np.isnan(points.fid)
    if law.uses_fid and unknown.any() and not unknown.all():
        notes.append(Note("unknown_fid", f"{unknown.sum()} points with unknown fid were left out"))
        points = points.select(~unknown)
    return points, notes


def _fit_chosen(law: Law, points: Points, options: FitOptions, notes: list[Note]) -> LawFit:
    x, y = inputs_of(law, points, options), np.log(points.loss)
    domain = domain_of(points)
    fixed = law.unidentified(x) if len(points) else {}
    free = len(law.parameters) - len(fixed)
    if len(points) < free + 1 or np.unique(points.run).size < 2:
        message = f"{law.name} has {free} free parameters, {len(points)} points are too few to fit it"
        runs = int(np.unique(points.run).size)
        return unfit(law, len(points), runs, domain, (*notes, Note("too_few_points", message)))
    problem = Problem(law, x, y, points.weight, fixed, options)
    best, share, starts = problem.solve()
    samples = problem.resample(best, points.run)
    fit = LawFit(
        law=law,
        theta=problem.natural(best.theta[0]),
        samples=compact(problem.natural(samples), problem.natural(best.theta[0])),
        status=Status.CONVERGED if best.converged[0] else Status.NOT_CONVERGED,
        domain=domain,
        objective=float(best.value[0]),
        starts=starts,
        share_at_best=share,
        points=len(points),
        runs=int(np.unique(points.run).size),
        unidentified=tuple(name for name in law.parameters if name in fixed),
        notes=tuple(notes + [Note("not_identified", f"{n}: {why[1]}", (n,)) for n, why in fixed.items()]),
        seed=options.seed,
        settings={"delta": options.delta, "resamples": options.resamples, "seed": options.seed},
    )
    fit = review(fit, points, x, y, problem.at_bound(best.theta[0]))
    if options.rolling:
        score = held_out_score(fit, points, options)
        fit = replace(fit, held_out=score.summary(), misfit=misfit_from(fit, score, points, options))
    return fit


def inputs_of(law: Law, points: Points, options: FitOptions) -> Inputs:
    """Unknown FIDs, if all are unknown, count as 0: law.unidentified then fixes what they'd determine."""
    x = points.inputs(options.x)
    if law.uses_fid and np.isnan(x.fid).all():
        x = Inputs(x.lnN, x.lnD, np.zeros_like(x.fid), x.lnX)
    return x


class Problem:
    """One fit in centred coordinates: the engine's view of law, points and options."""

    def __init__(
        self,
        law: Law,
        x: Inputs,
        y: Floats,
        weight: Floats,
        fixed: dict[str, tuple[float, str]],
        options: FitOptions,
    ) -> None:
        self.law, self.y, self.weight, self.options = law, y, weight, options
        self.x, self.T = law.centre(x)
        self.lower, self.upper = (b.copy() for b in law.bounds(self.x, y))
        for name, (value, _) in fixed.items():
            i = law.parameters.index(name)
            self.lower[i] = self.upper[i] = value
        self.kernel: Kernel = kernel_for(law, self.x, y)
        self.deltas = (*(d for d in _HOMOTOPY if d > options.delta), options.delta)

    def natural(self, theta: Floats) -> Floats:
        """theta in the law's own coordinates, from centred ones."""
        return np.asarray(theta @ self.T.T)

    def solve(self) -> tuple[Solution, float, int]:
        """The best of all starts, the share of starts that reach it, and how many there were."""
        starts = np.clip(self.law.starts(self.x, self.y, self.weight), self.lower, self.upper)
        starts = starts[: self.options.max_starts]
        bounds = (self.lower, self.upper)
        found = descend(self.kernel, starts, self.weight, bounds, self.deltas, tolerance=1e-9, max_passes=40)
        first = found.theta[int(np.nanargmin(found.value))][None, :]
        best = descend(self.kernel, first, self.weight, bounds, self.deltas[-1:])
        share = float(np.mean(found.value <= best.value * (1 + AGREE) + EXACT * len(self.y)))
        return best, share, len(starts)

    def resample(self, best: Solution, run: Ints) -> Floats:
        """Refits [r, p] with runs drawn with replacement, as weights on the same points."""
        draws = run_weights(run, self.options.resamples, self.options.seed) * self.weight
        if not len(draws):
            return np.empty((0, len(best.theta[0])))
        starts = np.repeat(best.theta, len(draws), axis=0)
        bounds = (self.lower, self.upper)
        return descend(self.kernel, starts, draws, bounds, (self.options.delta,), tolerance=1e-9).theta

    def at_bound(self, theta: Floats) -> tuple[str, ...]:
        """Names of free parameters at the edge of their range."""
        width = self.upper - self.lower
        touching = (theta <= self.lower + 1e-9 * width) | (theta >= self.upper - 1e-9 * width)
        return tuple(n for n, t, w in zip(self.law.parameters, touching, width, strict=True) if t and w > 0)
