"""Damped Newton with IRLS as the damping, inside bounds, for a whole batch of problems at once.

In: a kernel, starts [b, p], weights [b, n]. Out: the local optimum that each start leads to. No problem waits
for another: rows that have converged leave the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Bools, Floats
from isoloss.compiler.laws.fitting.residuals import Kernel, Local

#: Rows solved together. 128 rows x 240 points x 8 bytes = 0.25 MB per array: it stays in the cache
#: (measured).
_ROWS = 128


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    theta: Floats  # [b, p]
    value: Floats  # [b], at the last delta
    converged: Bools  # [b]


def descend(
    kernel: Kernel,
    starts: Floats,
    weight: Floats,
    bounds: tuple[Floats, Floats],
    deltas: tuple[float, ...],
    tolerance: float = 1e-13,
    max_passes: int = 200,
) -> Solution:
    """Minimise from each start, through the thresholds `deltas` in turn (wide ones first: with most residuals
    outside delta the objective is nearly a sum of absolute values, and a wide start finds the right side).
    `bounds` are [p], or [b, p] where rows fix different values. A row has converged when a full step would
    lower its value by less than `tolerance` of it."""
    lower, upper = (np.broadcast_to(end, starts.shape) for end in bounds)
    theta = np.clip(starts, lower, upper)
    value, converged = np.empty(len(theta)), np.zeros(len(theta), dtype=bool)
    # Wide thresholds need the right neighbourhood only.
    for begin in range(0, len(theta), _ROWS):
        rows = slice(begin, begin + _ROWS)
        c = weight if weight.ndim == 1 else weight[rows]
        for stage, delta in enumerate(deltas):
            last = stage == len(deltas) - 1
            loose = tolerance if last else 1e-4
            done = _descend_rows(
                kernel, theta[rows], c, (lower[rows], upper[rows]), delta, loose, max_passes if last else 12
            )
            theta[rows] = done.theta
        value[rows], converged[rows] = done.value, done.converged
    return Solution(theta, value, converged)


def _descend_rows(
    kernel: Kernel,
    theta: Floats,
    weight: Floats,
    bounds: tuple[Floats, Floats],
    delta: float,
    tolerance: float,
    max_passes: int,
) -> Solution:
    lower, upper = bounds
    theta = theta.copy()
    now = kernel(theta, weight, delta)
    value = now.value.copy()
    gradient, newton, irls = now.gradient, now.newton, now.irls
    damping = np.full(len(theta), 0.1)
    converged = np.zeros(len(theta), dtype=bool)
    active = np.arange(len(theta))
    for _ in range(max_passes):
        here = Local(value[active], gradient[active], newton[active], irls[active])
        step, promised = _step(here, theta[active], lower[active], upper[active], damping[active])
        trial = np.clip(theta[active] + step, lower[active], upper[active])
        small = promised <= tolerance * np.maximum(value[active], 1e-300)
        # A tiny promise under strong damping says nothing about the undamped problem.
        finished = small & (damping[active] <= 1e-2)
        damping[active[small & ~finished]] *= 0.01
        then = kernel(trial, weight if weight.ndim == 1 else weight[active], delta)
        better = then.value < value[active]
        gain = (value[active] - then.value) / np.maximum(promised, 1e-300)
        rows = active[better]
        theta[rows], value[rows] = trial[better], then.value[better]
        gradient[rows], newton[rows] = then.gradient[better], then.newton[better]
        irls[rows] = then.irls[better]
        # A step that gains far less than the model promised crossed a kink of the Huber loss: damp, don't
        # relax.
        factor = np.select([gain > 0.7, gain > 0.25, gain > 0.05], [0.1, 0.5, 2.0], 4.0)
        damping[rows] = np.maximum(damping[rows] * factor[better], 1e-12)
        worse = active[~better & ~small]
        damping[worse] = damping[worse] * 6.0
        # No step of any length helps: rounding is reached.
        stuck = damping[active] > 1e12
        converged[active[finished | stuck]] = True
        active = active[~(finished | stuck)]
        if active.size == 0:
            break
    return Solution(theta, value, converged)


def _step(here: Local, theta: Floats, lower: Floats, upper: Floats, damping: Floats) -> tuple[Floats, Floats]:
    """Solve (newton + damping irls) s = -gradient on the free variables: s [b, p], and the decrease that the
    model promises [b]. A variable on a bound that the gradient pushes against stays there."""
    g = here.gradient
    blocked = ((theta <= lower) & (g > 0)) | ((theta >= upper) & (g < 0)) | (lower >= upper)
    g = np.where(blocked, 0.0, g)
    # Unit diagonal: intercepts and slopes differ by orders of magnitude.
    unit = 1.0 / np.sqrt(np.where(blocked, 1.0, np.einsum("bpp->bp", here.irls) + 1e-30))
    unit = np.where(blocked, 0.0, unit)
    step = _solve(here.newton + damping[:, None, None] * here.irls, g, unit, damping)
    downhill = np.einsum("bp,bp->b", step, g)
    # Newton's matrix is indefinite where residuals curve the wrong way: take the IRLS step there.
    wrong = np.flatnonzero(~(downhill < 0))
    if wrong.size:
        majorant = (1.0 + damping[wrong, None, None]) * here.irls[wrong]
        step[wrong] = _solve(majorant, g[wrong], unit[wrong], damping[wrong])
        downhill[wrong] = np.einsum("bp,bp->b", step[wrong], g[wrong])
    return step, -0.5 * downhill


def _solve(H: Floats, g: Floats, unit: Floats, damping: Floats) -> Floats:
    """-H^-1 g scaled by `unit`, where a unit of 0 takes the variable out."""
    scaled = H * unit[:, :, None] * unit[:, None, :]
    index = np.arange(g.shape[1])
    scaled[:, index, index] += np.where(unit > 0, 1e-13 * (1.0 + damping[:, None]), 1.0)
    right = (unit * g)[..., None]
    try:
        solution = np.linalg.solve(scaled, right)
    except np.linalg.LinAlgError:
        # One exactly singular matrix fails the whole batch; the pseudo-inverse stays off its null directions.
        solution = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True) @ right
    return np.asarray(-unit * solution[..., 0])
