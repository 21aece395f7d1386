"""Fit a law to points: Points + FitOptions -> LawFit, with bootstrap intervals, a status and what to beware
of.

Runs when the compiler knows its observations, and behind `isoloss fit`. Pure: the seed is an option.
Filters are the caller's; selection of points per run is `FitOptions.points`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from isoloss.compiler.laws.fitting.bootstrap import compact
from isoloss.compiler.laws.fitting.correlated import Correlated
from isoloss.compiler.laws.fitting.descend import Solution
from isoloss.compiler.laws.fitting.envelope import fit_envelope
from isoloss.compiler.laws.fitting.fit_diagnostics import finish
from isoloss.compiler.laws.fitting.fitted import LawFit, Note, unfit
from isoloss.compiler.laws.fitting.interval_terms import domain_of
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.fitting.problem import Problem, inputs_of
from isoloss.compiler.laws.fitting.staged import fit_staged, stages
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points

__all__ = ["FitOptions", "LawFit", "Status", "fit_law"]


#: Approaches that are no least-squares problem of single runs, by name.
OWN_FITS: Mapping[str, Callable[[Law, Points, FitOptions], LawFit]] = {"approach1": fit_envelope}


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
        return OWN_FITS[form.name](form, points, options)
    chosen, notes = select(form, points, options)
    in_stages = form.name == "approach2" and not options.joint
    if in_stages and (options.base_runs is not None or stages(chosen, options)[0].any()):
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
