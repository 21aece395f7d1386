"""Approach 2 in two stages, as published: N, D and the floor on runs of one quality, then zeta and epsilon on
the rest with everything else frozen.

Runs inside fit_law where `FitOptions.joint` is off; the options say which runs make which stage. Both stages
use the same draw of runs in each resample, so that the second stage's intervals hold the first's errors (the
published ones could not)."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Bools, Floats, Inputs
from isoloss.compiler.laws.fitting.bootstrap import compact, run_weights
from isoloss.compiler.laws.fitting.descend import Solution
from isoloss.compiler.laws.fitting.fit_diagnostics import finish
from isoloss.compiler.laws.fitting.fitted import LawFit, Note, unfit
from isoloss.compiler.laws.fitting.interval_terms import domain_of
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.fitting.problem import Problem, inputs_of
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points

#: Published starts: zeta in +-.3, +-.15 and epsilon in .01, .1, .2.
_STARTS = [(z, e) for z in (-0.3, -0.15, 0.0, 0.15, 0.3) for e in (0.01, 0.1, 0.2, 0.5)]
#: One run more than the first stage has parameters, and than the second has.
_FEWEST_BASE, _FEWEST_QUALITY = 6, 3
#: Positions in theta of Approach 2, and of Chinchilla's parameters among them.
_BASE = [0, 1, 2, 3, 5]
_B, _ZETA, _E, _EPSILON = 2, 4, 5, 6


def stages(points: Points, options: FitOptions) -> tuple[Bools, Bools]:
    """Rows [n] of the first stage and of the second. First: the runs the options name, or those of their
    fid, or of the lowest fid (the paper's base is its best generator). Second: the runs named, or the rest;
    both may hold a row. All false where one fid is all there is: then there is no second stage to make."""
    known = points.fid[np.isfinite(points.fid)]
    if options.base_runs is not None:
        base = _rows_of(points, options.base_runs)
    elif known.size == 0 or np.ptp(known) == 0:
        base = np.zeros(len(points), dtype=bool)
    else:
        fid = float(known.min()) if options.base_fid is None else options.base_fid
        base = np.asarray(np.abs(points.fid - fid) <= 1e-9 * (1 + fid))
    rest = ~base if options.quality_runs is None else _rows_of(points, options.quality_runs)
    return base, rest


def _rows_of(points: Points, runs: frozenset[str]) -> Bools:
    wanted = np.array([name in runs for name in points.run_names], dtype=bool)
    return np.asarray(wanted[points.run])


def fit_staged(law: Law, points: Points, options: FitOptions, notes: list[Note]) -> LawFit:
    """As fit_law for Approach 2, in two stages. Rows of neither stage are left out. Where the stages can't be
    made the fit is none (TOO_FEW_POINTS), and says what they lack."""
    base, rest = stages(points, options)
    kept = base | rest
    points, base, rest = points.select(kept), base[kept], rest[kept]
    first, second = points.select(base), points.select(rest)
    chinchilla = LAWS["chinchilla"]
    x = inputs_of(chinchilla, first, options)
    lacks = _lacks(first, second, chinchilla, x)
    if lacks:
        runs = int(np.unique(points.run).size)
        return unfit(law, len(points), runs, domain_of(points), (*notes, Note("too_few_points", lacks)))
    draws = run_weights(points.run, options.resamples, options.seed) * points.weight
    stage = Problem(chinchilla, x, np.log(first.loss), first.weight, {}, options)
    found, share, starts = stage.solve()
    samples = stage.natural(stage.resample_with(found, draws[:, base]))
    fid = float(first.fid[0])
    theta, solution = _quality(
        law, stage.natural(found.theta), second, second.weight[None, :], fid, options, None
    )
    refits, _ = _quality(law, samples, second, draws[:, rest], fid, options, theta[0])
    fit = LawFit(
        law=law,
        theta=theta[0],
        samples=compact(refits, theta[0]),
        status=Status.CONVERGED if found.converged[0] and solution.converged.all() else Status.NOT_CONVERGED,
        domain=domain_of(points),
        objective=float(found.value[0] + solution.value.min()),
        starts=starts,
        share_at_best=share,
        points=len(points),
        runs=int(np.unique(points.run).size),
        notes=tuple(notes),
        seed=options.seed,
        settings={
            "delta": options.delta,
            "resamples": options.resamples,
            "seed": options.seed,
            "base_fid": fid,
        },
    )
    return finish(fit, points, options, (*stage.at_bound(found.theta[0]), *_at_bound(law, theta[0], second)))


def _at_bound(law: Law, theta: Floats, points: Points) -> tuple[str, ...]:
    """Which of the second stage's exponents lie at the edge of their range."""
    lower, upper = law.bounds(points.inputs(), np.log(points.loss))
    return tuple(
        law.parameters[i] for i in (_ZETA, _EPSILON) if not lower[i] + 1e-9 < theta[i] < upper[i] - 1e-9
    )


def _lacks(first: Points, second: Points, chinchilla: Law, x: Inputs) -> str:
    """Why the stages can't be made; empty where they can."""
    fids = np.unique(first.fid)
    if len(first) < _FEWEST_BASE or chinchilla.unidentified(x):
        wanted = f"at least {_FEWEST_BASE} runs of the base quality that vary params and images"
        return f"two stages need {wanted}; there are {len(first)}"
    if not np.isfinite(fids).all() or np.ptp(fids) > 1e-9 * (1 + fids[0]):
        return f"the base runs must be of one quality: their fid goes from {fids[0]:g} to {fids[-1]:g}"
    if not (np.abs(second.fid - fids[0]) > 1e-9 * (1 + fids[0])).sum() >= _FEWEST_QUALITY:
        return f"the second stage needs at least {_FEWEST_QUALITY} runs of another quality than the base's"
    return ""


def _quality(
    law: Law,
    base: Floats,
    points: Points,
    weight: Floats,
    base_fid: float,
    options: FitOptions,
    near: Floats | None,
) -> tuple[Floats, Solution]:
    """zeta and epsilon for each row of base parameters [r, 5] (natural coordinates, at `base_fid`): theta
    [r, 7] in the FID = 0 form. Without `near`, from all published starts; else from there."""
    # With fid' = (1 + fid) / (1 + base) - 1 the base parameters are the FID' = 0 form, frozen by bounds.
    shifted = (1 + points.fid) / (1 + base_fid) - 1
    x = points.inputs(options.x)
    problem = Problem(
        law, Inputs(x.lnN, x.lnD, shifted, x.lnX), np.log(points.loss), points.weight, {}, options
    )
    theta = np.zeros((len(base), 7))
    theta[:, _BASE] = base
    if near is None:
        theta = theta.repeat(len(_STARTS), axis=0)
        theta[:, [_ZETA, _EPSILON]] = _STARTS
    else:
        theta[:, [_ZETA, _EPSILON]] = near[[_ZETA, _EPSILON]]
    frozen: Floats = np.asarray(np.linalg.solve(problem.T, theta.T).T, dtype=np.float64)
    lower, upper = frozen.copy(), frozen.copy()
    for free in (_ZETA, _EPSILON):
        lower[:, free], upper[:, free] = problem.lower[free], problem.upper[free]
    rows = weight if len(weight) == len(frozen) else weight[0]
    found = problem.descend_between(frozen, rows, (lower, upper))
    if near is None:
        best = int(np.argmin(found.value))
        found = Solution(found.theta[[best]], found.value[[best]], found.converged[[best]])
    result = problem.natural(found.theta)
    result[:, _B] -= result[:, _ZETA] * np.log1p(base_fid)
    result[:, _E] -= result[:, _EPSILON] * np.log1p(base_fid)
    return result, found
