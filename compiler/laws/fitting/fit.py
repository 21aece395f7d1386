"""Fit a law to points: Points + FitOptions -> LawFit, with bootstrap intervals, a status and what to beware
of.

Runs when the compiler knows its observations, and behind `isoloss fit`. Pure: the seed is an option.
Filters are the caller's; selection of points per run is `FitOptions.points`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs, Ints
from isoloss.compiler.laws.fitting.bootstrap import compact, run_weights
from isoloss.compiler.laws.fitting.correlated import Box, Correlated, Errors, fit_correlated, refit_correlated
from isoloss.compiler.laws.fitting.descend import Solution, descend
from isoloss.compiler.laws.fitting.fit_diagnostics import review
from isoloss.compiler.laws.fitting.fitted import LawFit, Note, unfit
from isoloss.compiler.laws.fitting.interval_terms import domain_of
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.fitting.residuals import Kernel, kernel_for
from isoloss.compiler.laws.fitting.rolling import held_out_score, misfit_from
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.registry import LAWS

__all__ = ["FitOptions", "LawFit", "Status", "fit_law"]

#: Wide Huber thresholds on the way to the wanted one. With residuals far outside delta the objective is
#: almost a sum of absolute values, whose valleys Newton descends kink by kink; wide thresholds smooth them.
_HOMOTOPY = (0.1, 0.01, 1e-3, 1e-4, 1e-6)
#: Taken from the best points again where few starts agreed.
_FINE = (0.01, 6e-3, 4e-3, 2.5e-3, 1.5e-3, 1e-3, 5e-4, 2e-4, 1e-4, 1e-5, 1e-6, 1e-7)
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
    fit = _fit(form, points, options)
    return replace(fit, features=options.features) if form.uses_fid else fit


def _fit(form: Law, points: Points, options: FitOptions) -> LawFit:
    if options.errors == "correlated" and not (form.pointwise and options.joint):
        raise ValueError("errors = correlated is for a law of single runs, fitted in one stage")
    if not form.pointwise:
        return cast(FitsItself, form).fit(points, options)
    chosen, notes = select(form, points, options)
    if form.name == "approach2" and not options.joint:
        from isoloss.compiler.laws.fitting.staged import fit_staged, stages

        if options.base_runs is not None or stages(chosen, options)[0].any():
            return fit_staged(form, chosen, options, notes)
    return _fit_chosen(form, chosen, options, notes)


def _check(options: FitOptions) -> None:
    if not options.delta > 0:
        raise ValueError(f"delta must be above 0, got {options.delta:g}")
    if options.resamples < 0:
        raise ValueError(f"resamples must be at least 0, got {options.resamples}")
    if options.points not in {"as given", "best", "final", "curve"}:
        raise ValueError(f"points must be best, final, curve or as given, got {options.points}")
    if options.errors not in {"independent", "correlated"}:
        raise ValueError(f"errors must be independent or correlated, got {options.errors}")


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
    settings: dict[str, Any] = {"resamples": options.resamples, "seed": options.seed}
    if options.errors == "correlated":
        found = problem.correlated(best.theta[0], points)
        # What the starts agreed on was another objective.
        best = Solution(found.theta[None, :], np.array([np.nan]), np.array([found.converged]))
        samples = found.samples
        settings |= {"errors": "correlated", "misfit_share": found.share}
        notes = [*notes, *_distrusted(found, points)]
    else:
        samples = problem.resample(best, points.run)
        settings["delta"] = options.delta
    theta = problem.natural(best.theta[0])
    fit = LawFit(
        law=law,
        theta=theta,
        samples=compact(problem.natural(samples), theta),
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
        settings=settings,
    )
    return finish(fit, points, options, problem.at_bound(best.theta[0]))


def _distrusted(found: Correlated, points: Points) -> list[Note]:
    """Runs that lie too far off the law and its misfit to be counted in full."""
    rows = np.flatnonzero(found.outliers)
    if not rows.size:
        return []
    names = list(dict.fromkeys(points.run_names[points.run[i]] for i in rows))
    shown = ", ".join(f"`{name}`" for name in names[:3])
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    runs, lie = ("run", "lies") if len(names) == 1 else ("runs", "lie")
    off = "beyond three standard deviations of the law and of what neighbours share, so that less is made of"
    return [
        Note(
            "outliers",
            f"{runs} {shown}{rest} {lie} {off} {'it' if len(names) == 1 else 'them'}",
            tuple(names),
        )
    ]


def finish(fit: LawFit, points: Points, options: FitOptions, at_bound: tuple[str, ...]) -> LawFit:
    """Reservations, residual scale, and what held-out runs say."""
    fit = review(fit, points, inputs_of(fit.law, points, options), np.log(points.loss), at_bound)
    if options.rolling:
        score = held_out_score(fit, points, options)
        misfit, measured = misfit_from(fit, score, points, options)
        if not measured:
            drift = f"{100 * misfit.slope:.2g}% of the loss per e-fold"
            told = f"no held-out run lies beyond the others: outside the data a drift of {drift} is assumed"
            fit = replace(fit, notes=(*fit.notes, Note("drift_assumed", told)))
        fit = replace(fit, held_out=score.summary(), misfit=misfit)
    return fit


def refit(fit: LawFit, points: Points, options: FitOptions) -> Floats | None:
    """theta [p] of the same law on other points, roughly (relative objective 1e-6): for scoring on held-out
    runs. From the given fit and the best grid starts, so that what only the dearest runs showed can be
    unlearnt. None where the points are too few."""
    x = inputs_of(fit.law, points, options)
    fixed = fit.law.unidentified(x)
    if len(points) < len(fit.theta) - len(fixed) + 3:
        return None
    problem = Problem(fit.law, x, np.log(points.loss), points.weight, fixed, options)
    near = problem.rough(fit.theta)
    if options.errors == "correlated":
        near = refit_correlated(problem.box, Errors(points, x), problem.y, near, fit.settings["misfit_share"])
    return problem.natural(near)


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

    def natural(self, theta: Floats) -> Floats:
        """theta in the law's own coordinates, from centred ones."""
        return np.asarray(theta @ self.T.T)

    def solve(self) -> tuple[Solution, float, int]:
        """The best of all starts, the share of starts that reach it, and how many there were."""
        starts = np.clip(self.law.starts(self.x, self.y, self.weight), self.lower, self.upper)
        starts = starts[: self.options.max_starts]
        found = self._descend(starts, self.weight, self._down(_HOMOTOPY), passes=25)
        if np.mean(found.value <= found.value.min() * (1 + AGREE)) < 0.5:
            ranked = found.theta[np.argsort(found.value, kind="stable")]
            found = self._descend(ranked, self.weight, self._down(_FINE), passes=60)
        first = found.theta[int(np.nanargmin(found.value))][None, :]
        best = self._polish(first)
        share = float(np.mean(found.value <= best.value * (1 + AGREE) + EXACT * len(self.y)))
        return best, share, len(starts)

    def rough(self, near: Floats) -> Floats:
        """The best of a few starts, one of them `near` (natural coordinates), without polish."""
        grid = self.law.starts(self.x, self.y, self.weight)[:3]
        starts = np.vstack([np.linalg.solve(self.T, near), grid])
        starts = np.clip(starts, self.lower, self.upper)
        found = self._descend(starts, self.weight, self._down((0.1, 0.01)), passes=25, tolerance=1e-7)
        return np.asarray(found.theta[int(np.nanargmin(found.value))])

    @property
    def box(self) -> Box:
        return Box(self.law, self.x, self.lower, self.upper)

    def correlated(self, start: Floats, points: Points) -> Correlated:
        """The optimum of correlated errors near the one of independent ones."""
        options = self.options
        errors = Errors(points, inputs_of(self.law, points, options))
        return fit_correlated(self.box, errors, self.y, start, options.resamples, options.seed)

    def resample(self, best: Solution, run: Ints) -> Floats:
        """Refits [r, p] with runs drawn with replacement, as weights on the same points."""
        return self.resample_with(
            best, run_weights(run, self.options.resamples, self.options.seed) * self.weight
        )

    def resample_with(self, best: Solution, draws: Floats) -> Floats:
        """Refits [r, p] with these weights [r, n]."""
        if not len(draws):
            return np.empty((0, len(best.theta[0])))
        starts = np.repeat(best.theta, len(draws), axis=0)
        return self._descend(starts, draws, self._down((0.01,)), passes=30, tolerance=1e-8).theta

    def _polish(self, theta: Floats) -> Solution:
        """The tight descent. A coefficient that creeps towards zero (its log towards minus infinity, through
        ever flatter ground) is tried at its bound."""
        best = self._descend(theta, self.weight, (self.options.delta,), passes=300, tolerance=1e-13)
        if best.converged[0]:
            return best
        slope = self.kernel(best.theta, self.weight, self.options.delta).gradient[0]
        creeping = [i for i in self.law.coefficients if slope[i] > 0 and self.lower[i] < self.upper[i]]
        trials = np.repeat(best.theta, len(creeping) + 1, axis=0)
        for row, i in enumerate(creeping):
            trials[row, i] = self.lower[i]
        tried = self._descend(trials, self.weight, (self.options.delta,), passes=600, tolerance=1e-13)
        k = int(np.argmin(tried.value))
        return Solution(tried.theta[k : k + 1], tried.value[k : k + 1], tried.converged[k : k + 1])

    def descend_between(self, starts: Floats, weight: Floats, bounds: tuple[Floats, Floats]) -> Solution:
        """From each start within its own bounds [b, p]: a stage that freezes what an earlier one found."""
        deltas = self._down((0.1, 0.01))
        return descend(self.kernel, starts, weight, bounds, deltas, tolerance=1e-11, max_passes=100)

    def _down(self, homotopy: tuple[float, ...]) -> tuple[float, ...]:
        """From wide thresholds to the wanted one."""
        return (*(d for d in homotopy if d > self.options.delta), self.options.delta)

    def _descend(
        self, starts: Floats, weight: Floats, deltas: tuple[float, ...], passes: int, tolerance: float = 1e-9
    ) -> Solution:
        return descend(self.kernel, starts, weight, (self.lower, self.upper), deltas, tolerance, passes)

    def at_bound(self, theta: Floats) -> tuple[str, ...]:
        """Names of free parameters at the edge of their range."""
        width = self.upper - self.lower
        touching = (theta <= self.lower + 1e-9 * width) | (theta >= self.upper - 1e-9 * width)
        return tuple(n for n, t, w in zip(self.law.parameters, touching, width, strict=True) if t and w > 0)
