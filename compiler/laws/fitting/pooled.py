"""How far laws drift beyond their data on tables of other people's runs: constants, and what own runs make of them.

From `benchmarks/drift_prior.py` on nine public tables of language models (seven families: Besiroglu et al. 2024,
Llama 3, Marin, Gadre et al. 2024, Li et al. 2025, Bhagia et al. 2024, Porian et al. 2024): cut each at a quarter, a
16th and a 64th of its compute, fit the cheaper runs, predict the dearer ones. What isn't scatter nor resampling grows
with the e-folds of compute; errors over their standard deviation are Student's t."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import Floats

#: Standard deviation of log loss per e-fold of compute beyond the dearest run. The likelihood of the held-out errors is
#: greatest at .002 to .004 whichever family is left out, for the power sum and for Chinchilla's form alike.
DRIFT = 0.004
#: Lack of fit inside the data, of log loss: .35 to .55 % by the Huber objectives in the notebook of Bartoldson et al.
#: (2024); .2 to .4 % is likeliest on the public tables.
BASE = 0.004
#: Degrees of freedom of the errors' t distribution.
FREEDOM = 8
#: ln N* against the minimum of a parabola through the runs of a held-out budget: standard deviation where the budget is
#: that of the dearest run, and per e-fold beyond (53 budgets of four isoFLOP tables).
SIZE, SIZE_DRIFT = 0.15, 0.12
#: What one's own held-out runs say of the drift counts a quarter of a family for each cut: on the public tables a
#: table's own errors told little of how it goes on.
FAMILIES, OWN = 7, 0.25


def drift_of(errors: ArrayLike, distances: ArrayLike, noise: float, cuts: int) -> float:
    """The drift per e-fold, from the public tables and from one's own held-out `errors` of log loss at `distances` in
    e-folds, less what `noise` explains: a weighted mean of squares."""
    error, far = np.asarray(errors, float), np.asarray(distances, float)
    if not cuts or not far.size:
        return DRIFT
    excess = np.maximum(error**2 - noise**2, 0.0)
    own = float(np.sum(excess) / np.sum(far**2))
    return float(np.sqrt((FAMILIES * DRIFT**2 + OWN * cuts * own) / (FAMILIES + OWN * cuts)))


def student(normals: Floats, chi_squared: Floats) -> Floats:
    """Student's t from standard normals [r, k] and a chi squared [r] of FREEDOM degrees: a row shares its scale."""
    return np.asarray(normals * np.sqrt(FREEDOM / chi_squared)[:, None])
