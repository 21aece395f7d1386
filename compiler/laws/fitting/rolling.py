"""Rolling origin: fit on the cheaper runs, predict the dearer ones, never random rows.

In: a fit and its points. Out: errors against how far they were predicted, the score that weighs laws in a
portfolio, and the size of the misfit term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.fitting.interval_terms import Misfit, domain_of, shared_error
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.fitting.pooled import BASE, SIZE, SIZE_DRIFT, drift_of
from isoloss.compiler.laws.fitting.problem import inputs_of, refit
from isoloss.compiler.laws.points import Points

#: Compute factors below the dearest run at which the origin is set.
CUTS = (3.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Errors of held-out log losses, predicted minus seen, and their distances in e-folds of compute beyond the kept
    runs, at so many cuts."""

    error: Floats
    beyond: Floats
    noise: float
    cuts: int

    def summary(self) -> dict[str, float] | None:
        """RMS error of log loss, number of held-out points; None without any."""
        if not self.error.size:
            return None
        rms = float(np.sqrt(np.mean(self.error**2)))
        return {"rms_log_error": rms, "points": float(self.error.size), "beyond": float(self.beyond.max())}


def held_out_score(fit: LawFit, points: Points, options: FitOptions) -> Score:
    """Refit below each cut and predict above it."""
    errors, distances = [np.empty(0)], [np.empty(0)]
    top = points.flops.max()
    for cut in CUTS:
        held = points.flops > top / cut * (1 + 1e-9)
        theta = None if held.all() or not held.any() else refit(fit, points.select(~held), options)
        if theta is None:
            continue
        new = points.select(held)
        x = inputs_of(fit.law, new, options)
        errors.append(fit.law.log_prediction(theta, x) - np.log(new.loss))
        distances.append(domain_of(points.select(~held)).beyond(x)[0])
    error, beyond = np.concatenate(errors), np.concatenate(distances)
    known = np.isfinite(error)
    return Score(error[known], beyond[known], fit.residual_sigma, len(errors) - 1)


def misfit_from(fit: LawFit, score: Score, options: FitOptions) -> Misfit:
    """What the public tables and the fit's own held-out runs say together. Lack of fit below half the scatter of single
    runs can't be seen among it, so none is believed to be less. Quality drifts by the law's scatter per e-fold of
    1 + FID, at least as compute does (assumed)."""
    noise = score.noise if np.isfinite(score.noise) else 0.0
    far = score.beyond > 0.5
    drift = drift_of(score.error[far], score.beyond[far], noise, score.cuts)
    return Misfit(
        base=BASE,
        drift=drift,
        quality=max(drift, noise),
        shared=shared_error(options.test_images),
        size=SIZE,
        size_drift=SIZE_DRIFT,
    )
