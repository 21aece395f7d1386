"""Compute-optimal N under any law: closed form where there is one, else a bounded search in ln N.

In: theta [r, p], a compute budget, FLOP per image as a function of N. Out: ln N*, ln D*, ln L* [r]."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from isoloss.compiler.laws.arrays import FLOPS_PER_IMAGE_AND_PARAMETER, Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.forms.law import Law


@runtime_checkable
class Frontier(Protocol):
    """A law of the compute frontier itself (approach1): no search, and no rule of FLOP per image."""

    def frontier(self, theta: Floats, ln_flops: float) -> tuple[Floats, Floats, Floats]:
        """ln N*, ln D*, ln L*."""


#: Search range of N: from 10 parameters to 1e16.
LOW, HIGH = float(np.log(10.0)), float(np.log(1e16))


def constant_rule(params: Floats) -> Floats:
    """7822 N FLOP per image: WRN at 32x32 under TRADES with PGD-10, N >= 1M (arrays.py)."""
    return FLOPS_PER_IMAGE_AND_PARAMETER * params


def optimum(
    law: Law, theta: Floats, flops: float, fid: float, flops_per_image: FlopsPerImage | None
) -> tuple[Floats, Floats, Floats]:
    """ln N*, ln D*, ln L*, each [r]. nan where the best network lies outside [10, 1e16] parameters or would
    see less than one image."""
    if isinstance(law, Frontier):
        return law.frontier(theta, float(np.log(flops)))
    if flops_per_image is None:
        ln_compute = np.log(flops / FLOPS_PER_IMAGE_AND_PARAMETER)
        lnN = law.closed_form_lnN(theta, np.asarray(ln_compute), fid)
        if lnN is not None:
            lnD = ln_compute - lnN
            inside = (lnN >= LOW) & (lnN <= HIGH) & (lnD >= 0)
            lnN, lnD = np.where(inside, lnN, np.nan), np.where(inside, lnD, np.nan)
            return lnN, lnD, _loss(law, theta, lnN, lnD, fid)
    return _search(law, theta, flops, fid, flops_per_image or constant_rule)


def _search(
    law: Law, theta: Floats, flops: float, fid: float, flops_per_image: FlopsPerImage
) -> tuple[Floats, Floats, Floats]:
    """Nested grids: 257 points over the whole range, then nine zooms of 17, to 1e-9 in ln N."""
    if not len(theta):
        return np.empty(0), np.empty(0), np.empty(0)
    rows = np.arange(len(theta))
    grid = np.linspace(LOW, HIGH, 257)[None, :].repeat(len(theta), axis=0)
    step = float(grid[0, 1] - grid[0, 0])
    edge = np.zeros(len(theta), dtype=bool)
    for zoom in range(10):
        lnD = _affordable_lnD(grid, flops, flops_per_image)
        loss = np.where(lnD >= 0, _loss(law, theta, grid, lnD, fid), np.inf)
        best = np.argmin(np.where(np.isnan(loss), np.inf, loss), axis=1)
        if zoom == 0:
            edge = (best == 0) | ~np.isfinite(loss[rows, best])
            after = np.minimum(best + 1, grid.shape[1] - 1)
            edge |= (best == grid.shape[1] - 1) | ~np.isfinite(loss[rows, after])
        centre = grid[rows, best]
        grid = centre[:, None] + step * np.linspace(-1.0, 1.0, 17)
        step /= 8.0
    lnN = np.where(edge, np.nan, centre)
    lnD = np.where(edge, np.nan, _affordable_lnD(lnN[:, None], flops, flops_per_image)[:, 0])
    return lnN, lnD, _loss(law, theta, lnN, lnD, fid)


def _affordable_lnD(lnN: Floats, flops: float, flops_per_image: FlopsPerImage) -> Floats:
    rate = np.asarray(flops_per_image(np.exp(lnN).ravel()), dtype=np.float64).reshape(lnN.shape)
    return np.asarray(np.log(flops / rate))


def _loss(law: Law, theta: Floats, lnN: Floats, lnD: Floats, fid: float) -> Floats:
    """ln L at one point (or a row of points) per theta."""
    flat = lnN.ndim == 1
    N, D = (lnN[:, None], lnD[:, None]) if flat else (lnN, lnD)
    value = law.log_prediction(theta, Inputs(N, D, np.full_like(N, fid), D))
    return value[:, 0] if flat else value
