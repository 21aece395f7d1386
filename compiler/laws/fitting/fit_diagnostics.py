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


#: A run is named that lies this many robust standard deviations off the law, and by this much of log loss.
FAR_OFF, FAR_OFF_LOG = 8.0, 0.2
#: A law that explains less of the variance of log loss than this doesn't describe its runs.
LEAST_R2 = 0.5


def review(fit: LawFit, points: Points, x: Inputs, y: Floats, at_bound: tuple[str, ...]) -> LawFit:
    residual = fit.law.log_prediction(fit.theta, x) - y
    free = len(fit.theta) - len(fit.unidentified)
    spread = float(((y - np.average(y, weights=points.weight)) ** 2 * points.weight).sum())
    misses = float((residual**2 * points.weight).sum())
    # Scale from squares, over degrees of freedom: an interval must hold the bad points too.
    sigma = float(np.sqrt(misses / points.weight.sum() * len(y) / max(len(y) - free, 1)))
    r2 = 1.0 - misses / spread if spread > 0 else None
    notes = [
        *fit.notes,
        *_reservations(fit, x, y, at_bound, spread),
        *_lack_of_fit(fit, points, residual, r2),
    ]
    kinds = {note.kind for note in notes}
    status = fit.status
    for kind, worse in (
        ("outliers", Status.LACK_OF_FIT),
        ("lack_of_fit", Status.LACK_OF_FIT),
        ("start_dependent", Status.START_DEPENDENT),
        ("at_bound", Status.AT_BOUND),
        ("ill_conditioned", Status.ILL_CONDITIONED),
        ("not_identified", Status.NOT_IDENTIFIED),
    ):
        if kind in kinds and status is not Status.NOT_CONVERGED:
            status = worse
    return replace(fit, residual_sigma=sigma, r2=r2, status=status, notes=tuple(notes))


def _lack_of_fit(fit: LawFit, points: Points, residual: Floats, r2: float | None) -> list[Note]:
    """Runs far off the law, each with how far; else a law that explains little. Correlated errors name theirs."""
    if any(note.kind == "outliers" for note in fit.notes):
        return []
    scale = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    far = np.abs(residual) > max(FAR_OFF * scale, FAR_OFF_LOG)
    # Half of the runs are no outliers of the rest: then the law is wrong, not they.
    if far.any() and far.mean() < 0.25:
        runs = list(dict.fromkeys(points.run[far].tolist()))
        names = tuple(points.run_names[run] for run in runs)
        worst = [float(np.exp(np.abs(residual[far & (points.run == run)]).max())) for run in runs]
        listed = ", ".join(f"`{n}` by a factor of {w:.2g}" for n, w in zip(names[:3], worst[:3], strict=True))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lie = "a run lies" if len(names) == 1 else f"{len(names)} runs lie"
        why = "a training that diverged or collapsed, another experiment, or a wrong column"
        return [Note("outliers", f"{lie} far off the law: {listed}{more}; {why}", names)]
    if r2 is not None and r2 < LEAST_R2 and len(residual) > len(fit.theta):
        told = f"the law explains {max(r2, 0.0):.0%} of what these runs differ in"
        return [Note("lack_of_fit", f"{told}: it doesn't describe them, or they are of several experiments")]
    return []


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
        fit = replace(fit, held_out=score.summary(), misfit=misfit_from(fit, score, options))
    return fit
