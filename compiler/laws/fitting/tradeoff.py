"""The size/compute trade-off at constant loss (Bartoldson 2024, Eq. 6): a network of omega_N N* needs omega_D
D* images, for any law, by bisection in ln D.

The paper's extracted Eq. 6 lost the minus signs of N*^-alpha and D*^-beta; this solves L(omega_N N*, D) = L*
itself, so no sign can be lost. Closed form for laws A N^-alpha + B D^-beta + E, used in tests:
omega_D = [1 - (omega_N^-alpha - 1) R]^(-1/beta), R = A N*^-alpha / (B D*^-beta) = beta / alpha at the
optimum."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.fitting.fitted import LEVEL, LawFit, Tradeoff
from isoloss.compiler.laws.forms import solve
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.plan import Range

#: Search range of ln omega_D: a factor of e^30 more or less data.
REACH = 30.0


def tradeoff(
    fit: LawFit, size: float, flops: float, fid: float, flops_per_image: FlopsPerImage | None = None
) -> Tradeoff | None:
    """What a network of `size` x N* pays to reach L* (Eq. 6). None where no number of images suffices.
    Raises ValueError for a size not above 0."""
    if not size > 0:
        raise ValueError(f"size must be above 0, got {size:g}")
    mid = fit.optimum_draws(flops, fid, flops_per_image, mid=True)
    if not np.isfinite(mid[0]).all():
        return None
    ratio_mid = _images_ratio(fit.law, fit.theta[None, :], size, fit.seen_fid(fid), mid)
    if not np.isfinite(ratio_mid).all():
        return None
    rule = flops_per_image or solve.constant_rule
    cost_mid = _cost_ratio(rule, mid[0], size) * np.exp(ratio_mid)
    low = high = (float("nan"), float("nan"))
    if len(fit.samples):
        draws = solve.optimum(fit.law, fit.samples, flops, fit.seen_fid(fid), flops_per_image)
        ratio = _images_ratio(fit.law, fit.samples, size, fit.seen_fid(fid), draws)
        cost = _cost_ratio(rule, draws[0], size) * np.exp(ratio)
        # A resample in which no amount of data suffices has an infinite price, not none.
        ratio, cost = np.nan_to_num(np.exp(ratio), nan=np.inf), np.nan_to_num(cost, nan=np.inf)
        (low_r, high_r), (low_c, high_c) = _ends(ratio), _ends(cost)
        low, high = (low_r, low_c - 1.0), (high_r, high_c - 1.0)
    images, overhead = float(np.exp(ratio_mid[0])), float(cost_mid[0] - 1.0)
    return Tradeoff(
        size,
        Range(_least(low[0], images), images, _most(high[0], images)),
        Range(_least(low[1], overhead), overhead, _most(high[1], overhead)),
    )


def _images_ratio(
    law: Law, theta: Floats, size: float, fid: float, optimum: tuple[Floats, Floats, Floats]
) -> Floats:
    """ln omega_D [r]; nan where the small network never reaches L*."""
    lnN, lnD, _ = optimum
    target = _log_loss(law, theta, lnN, lnD, fid)
    small = lnN + np.log(size)
    low, high = np.full_like(lnN, -REACH), np.full_like(lnN, REACH)
    reachable = _log_loss(law, theta, small, lnD + REACH, fid) <= target
    for _ in range(60):
        middle = 0.5 * (low + high)
        enough = _log_loss(law, theta, small, lnD + middle, fid) <= target
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(reachable, high, np.nan)


def _log_loss(law: Law, theta: Floats, lnN: Floats, lnD: Floats, fid: float) -> Floats:
    N, D = lnN[:, None], lnD[:, None]
    return law.log_prediction(theta, Inputs(N, D, np.full_like(N, fid), D))[:, 0]


def _cost_ratio(rule: FlopsPerImage, lnN: Floats, size: float) -> Floats:
    """FLOP per image of the small network over that of the optimal one."""
    N = np.exp(lnN)
    return np.asarray(rule(N * size) / rule(N))


def _ends(values: Floats) -> tuple[float, float]:
    ordered = np.sort(values)
    last = len(ordered) - 1
    return float(ordered[int(LEVEL[0] * last)]), float(ordered[int(np.ceil(LEVEL[1] * last))])


def _least(end: float, mid: float) -> float:
    return end if np.isnan(end) else min(end, mid)


def _most(end: float, mid: float) -> float:
    return end if np.isnan(end) else max(end, mid)
