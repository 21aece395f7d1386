"""Approach 2 in two stages, as published: N, D and the floor on runs of one quality, then zeta and epsilon on
the rest with everything else frozen.

Runs inside fit_law where `FitOptions.joint` is off. Both stages use the same draw of runs in each resample,
so that the second stage's intervals hold the first's errors (the published ones could not)."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.fit import FitOptions, Problem, finish, inputs_of
from isoloss.compiler.laws.arrays import Bools, Floats, Inputs
from isoloss.compiler.laws.descend import Solution
from isoloss.compiler.laws.fitted import LawFit, Note, unfit
from isoloss.compiler.laws.law import Law
from isoloss.compiler.laws.options import Status
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.registry import LAWS
from isoloss.compiler.laws.spread import domain_of
from isoloss.compiler.laws.weights import compact, run_weights

#: Published starts: zeta in +-.3, +-.15 and epsilon in .01, .1, .2.
_STARTS = [(z, e) for z in (-0.3, -0.15, 0.0, 0.15, 0.3) for e in (0.01, 0.1, 0.2, 0.5)]
#: Positions in theta of Approach 2, and of Chinchilla's parameters among them.
_BASE = [0, 1, 2, 3, 5]
_B, _ZETA, _E, _EPSILON = 2, 4, 5, 6


def base_rows(points: Points, options: FitOptions) -> Bools:
    """Rows of the first stage: those of `base_fid`, or of the lowest fid (the paper's base is its best
    generator). None where there would be nothing left for the second stage."""
    known = points.fid[np.isfinite(points.fid)]
    if known.size == 0 or np.ptp(known) == 0:
        return np.zeros(len(points), dtype=bool)
    base = float(known.min()) if options.base_fid is None else options.base_fid
    return np.asarray(np.abs(points.fid - base) <= 1e-9 * (1 + base))


def fit_staged(law: Law, points: Points, options: FitOptions, notes: list[Note]) -> LawFit:
    """As fit_law for Approach 2. `points` have at least two fids."""
    base = base_rows(points, options)
    first, second = points.select(base), points.select(~base)
    chinchilla = LAWS["chinchilla"]
    x = inputs_of(chinchilla, first, options)
    fixed = chinchilla.unidentified(x)
    if len(first) < 6 or len(second) < 3 or fixed:
        message = f"two stages need at least 6 runs of the base quality that vary N and D, {len(first)} given"
        runs = int(np.unique(points.run).size)
        return unfit(law, len(points), runs, domain_of(points), (*notes, Note("too_few_points", message)))
    draws = run_weights(points.run, options.resamples, options.seed) * points.weight
    stage = Problem(chinchilla, x, np.log(first.loss), first.weight, {}, options)
    found, share, starts = stage.solve()
    samples = stage.natural(stage.resample_with(found, draws[:, base]))
    fid = float(first.fid[0])
    theta, solution = _quality(
        law, stage.natural(found.theta), second, second.weight[None, :], fid, options, None
    )
    refits, _ = _quality(law, samples, second, draws[:, ~base], fid, options, theta[0])
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
    return finish(fit, points, options, stage.at_bound(found.theta[0]))


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
