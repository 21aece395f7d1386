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
from isoloss.compiler.laws.fitting.problem import inputs_of, refit
from isoloss.compiler.laws.points import Points

#: Compute factors below the dearest run at which the origin is set.
CUTS = (3.0, 10.0, 30.0)
#: Lack of fit of published laws in this field, of log loss: .35 to .55 %, as the Huber objectives in the
#: notebook that Bartoldson et al. (2024) released imply. No fit is believed to be better than that inside its data.
PUBLISHED_MISFIT = 0.004


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Errors of held-out log losses, predicted minus seen, and their distances in e-folds beyond the kept
    runs."""

    error: Floats
    beyond: Floats
    noise: float

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
        distances.append(np.sqrt(np.sum(domain_of(points.select(~held)).beyond(x) ** 2, axis=0)))
    error, beyond = np.concatenate(errors), np.concatenate(distances)
    known = np.isfinite(error)
    return Score(error[known], beyond[known], fit.residual_sigma)


def misfit_from(fit: LawFit, score: Score, points: Points, options: FitOptions) -> tuple[Misfit, bool]:
    """The misfit, and whether its drift was measured. Drift per e-fold from held-out errors beyond the kept
    range, less what residual noise explains. Lack of fit, and a drift per e-fold, below half the scatter of
    single runs can't be seen among it: neither is believed to be less. Where nothing held out lies beyond
    what was kept, the drift per e-fold is assumed to be the law's error on held-out runs, at least that
    scatter."""
    noise = score.noise if np.isfinite(score.noise) else 0.0
    unseen = max(PUBLISHED_MISFIT, 0.5 * noise)
    far = score.beyond > 0.5
    if far.any():
        excess = np.maximum(score.error[far] ** 2 - noise**2, 0.0)
        slope = float(np.sqrt(np.sum(excess) / np.sum(score.beyond[far] ** 2)))
    else:
        summary = score.summary()
        slope = max(noise, summary["rms_log_error"] if summary else 0.0)
    return Misfit(unseen, max(slope, unseen), shared_error(options.test_images)), bool(far.any())
