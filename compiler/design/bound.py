"""The bound no plan can beat: Elfving's theorem (1952) with costs, as a linear program. Pure.

For one answer with gradient g and noise sigma alone, the smallest variance of any design of total cost B is
sigma^2 (min sum |v_i|)^2 / B subject to sum v_i f_i / sqrt(c_i) = g. Misfit and shared error
come on top, prior knowledge is not counted; replicates of one cell are free to repeat."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats

#: Cells the program sees at most, spread over the pool by the caller; more columns only lower the bound.
COLUMNS = 4000


def least_sd(f: Floats, cost: Floats, g: Floats, sigma: float, budget: float) -> float | None:
    """Standard deviation no design of cells `f` [n, p] at `cost` [n] reaches below with this budget in FLOP.
    None where no design of these cells determines g at all; 0.0 where a cell costs nothing."""
    from scipy.optimize import linprog

    if budget <= 0:
        return None
    usable = np.abs(f).max(axis=1) > 0
    f, cost = f[usable], cost[usable]
    if not len(f):
        return None
    if (cost <= 0).any():
        return 0.0
    scaled = f / np.sqrt(cost / cost.min())[:, None]
    # Rows about equal in size: parameters have their own units.
    size = np.maximum(np.abs(scaled).max(axis=0), np.abs(g) * 1e-3)
    keep = size > 0
    A = (scaled / np.where(keep, size, 1.0))[:, keep].T
    b = (g / np.where(keep, size, 1.0))[keep]
    found = linprog(
        np.ones(2 * A.shape[1]),
        A_eq=np.concatenate([A, -A], axis=1),
        b_eq=b,
        bounds=(0, None),
        method="highs",
    )
    if found.status != 0 or found.fun is None:
        return None
    return float(sigma * found.fun * np.sqrt(cost.min() / budget))
