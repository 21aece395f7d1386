"""What the residuals and the resamples say about a fit: status, notes, residual scale, R2.

In: a LawFit fresh from the engine. Out: the same with its reservations written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.fitting.fitted import LEVEL, LawFit, Note
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.fitting.problem import inputs_of
from isoloss.compiler.laws.fitting.rolling import held_out_score, misfit_from
from isoloss.compiler.laws.points import Points

#: A scaled Jacobian with singular values this far apart leaves some combination of parameters open.
ILL_CONDITION = 1e5
#: Fewer starts than this at the best objective: another start might find a better one yet.
FEW_STARTS = 0.25


def review(fit: LawFit, points: Points, x: Inputs, y: Floats, at_bound: tuple[str, ...]) -> LawFit:
    residual = fit.law.log_prediction(fit.theta, x) - y
    free = len(fit.theta) - len(fit.unidentified)
    spread = float(((y - np.average(y, weights=points.weight)) ** 2 * points.weight).sum())
    misses = float((residual**2 * points.weight).sum())
    # Scale from squares, over degrees of freedom: an interval must hold the bad points too.
    sigma = float(np.sqrt(misses / points.weight.sum() * len(y) / max(len(y) - free, 1)))
    notes = [*fit.notes, *_reservations(fit, x, y, at_bound, spread)]
    kinds = {note.kind for note in notes}
    status = fit.status
    for kind, worse in (
        ("start_dependent", Status.START_DEPENDENT),
        ("at_bound", Status.AT_BOUND),
        ("ill_conditioned", Status.ILL_CONDITIONED),
        ("not_identified", Status.NOT_IDENTIFIED),
    ):
        if kind in kinds and status is not Status.NOT_CONVERGED:
            status = worse
    r2 = 1.0 - misses / spread if spread > 0 else None
    return replace(fit, residual_sigma=sigma, r2=r2, status=status, notes=tuple(notes))


def _reservations(fit: LawFit, x: Inputs, y: Floats, at_bound: tuple[str, ...], spread: float) -> list[Note]:
    notes = []
    if fit.status is Status.NOT_CONVERGED:
        notes.append(Note("not_converged", "the solver stopped before it was sure of its optimum"))
    if fit.share_at_best < FEW_STARTS:
        share = f"{fit.share_at_best:.0%} of {fit.starts} starts reach the best optimum"
        notes.append(Note("start_dependent", f"{share}: the optimum depends on the start"))
    if at_bound:
        names = ", ".join(f"`{name}`" for name in at_bound)
        notes.append(
            Note("at_bound", f"{names} at the edge of the allowed range: the data don't hold it", at_bound)
        )
    open_ended = tuple(name for name in _open_ended(fit, x, y) if name not in at_bound)
    if open_ended:
        names = ", ".join(f"`{name}`" for name in open_ended)
        message = (
            f"the interval of {names} ends at the edge of the allowed range: the data don't bound it there"
        )
        notes.append(Note("open_interval", message, open_ended))
    condition, loose = _condition(fit, x)
    if condition > ILL_CONDITION:
        names = ", ".join(f"`{name}`" for name in loose)
        message = f"condition number {condition:.1e}: the data hardly determine a combination of {names}"
        notes.append(Note("ill_conditioned", message, loose))
    if spread <= 0:
        notes.append(Note("constant_loss", "every loss is the same: there is nothing to fit"))
    return notes


def _open_ended(fit: LawFit, x: Inputs, y: Floats) -> tuple[str, ...]:
    """Parameters whose 95 % interval over resamples ends where their range does."""
    if not len(fit.samples):
        return ()
    centred, T = fit.law.centre(x)
    low, high = np.quantile(np.linalg.solve(T, fit.samples.T), LEVEL, axis=1)
    lower, upper = fit.law.bounds(centred, y)
    # Resamples are kept as float32 deviations.
    edge = 1e-6 * (upper - lower)
    reached = (low <= lower + edge) | (high >= upper - edge)
    free = [name not in fit.unidentified for name in fit.law.parameters]
    return tuple(n for n, r, f in zip(fit.law.parameters, reached, free, strict=True) if r and f)


def _condition(fit: LawFit, x: Inputs) -> tuple[float, tuple[str, ...]]:
    """Of the column-scaled Jacobian in centred coordinates, and the parameters of its loosest direction."""
    centred, T = fit.law.centre(x)
    theta = np.asarray(np.linalg.solve(T, fit.theta), dtype=np.float64)
    keep = [i for i, name in enumerate(fit.law.parameters) if name not in fit.unidentified]
    J = fit.law.jacobian(theta, centred)[:, keep]
    norms = np.linalg.norm(J, axis=0)
    names = [fit.law.parameters[i] for i in keep]
    if not np.isfinite(norms).all() or (norms == 0).any():
        return float("inf"), tuple(n for n, size in zip(names, norms, strict=True) if not size > 0)
    _, values, directions = np.linalg.svd(J / norms, full_matrices=False)
    loosest = np.abs(directions[-1])
    return float(values[0] / max(values[-1], 1e-300)), tuple(
        n for n, part in zip(names, loosest, strict=True) if part > 0.3 * loosest.max()
    )


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
