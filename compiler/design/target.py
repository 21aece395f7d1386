"""What is asked, as gradients: question + law at theta -> d answer / d theta.

Loss at a compute budget has, by the envelope theorem, the gradient of the loss at its optimum, J(N*, D*, FID);
ln N* moves by the implicit function theorem, whatever the law; exponents are differentiated numerically.
Tests hold them to the closed forms of law 2. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.forms import solve
from isoloss.compiler.laws.forms.law import Law

#: Step of central differences in ln N along the isoFLOP line and in exponents: relative errors about 1e-5.
STEP = 1e-2


@dataclass(frozen=True, slots=True)
class Target:
    """One number that a question asks of one law. `what`: "loss" (its logarithm), "size" (ln N*), or
    "fit" (the exponents a, or all parameters of a law that has none). `fit` names the law of the study.
    `within` relative half-width wanted; None: as narrow as can be."""

    question: str
    what: str
    fit: str
    flops: float = 0.0
    fid: float = 0.0
    within: float | None = None


def optimum(law: Law, theta: Floats, target: Target, rule: FlopsPerImage) -> tuple[float, float, float]:
    """ln N*, ln D*, ln L* at theta [p]; nan where the law has none."""
    found = solve.optimum(law, theta[None, :], target.flops, target.fid, rule)
    lnN, lnD, lnL = (float(v[0]) for v in found)
    return lnN, lnD, lnL


def gradients(
    law: Law, theta: Floats, T: Floats, target: Target, at: tuple[float, float, float] | None
) -> Floats | None:
    """[k, p] in centred coordinates (theta = T @ centred), k > 1 for a law's parameters; `at`: the optimum at
    theta, where one is asked. None where the law has no answer at theta."""
    if target.what == "fit":
        return _exponent(law, theta, T)
    if at is None or not np.isfinite(at[0]):
        return None
    lnN, lnD, _ = at
    if target.what == "loss":
        g = law.jacobian(theta, _points([lnN], [lnD], target.fid))[0] @ T
    else:
        # N D = constant through the optimum: h = d lnL / d lnN = 0 there, d lnN* = -(dh / d theta) / (dh / d lnN).
        step = np.array([-STEP, 0.0, STEP])
        line = _points(lnN + step, lnD - step, target.fid)
        below, _, above = law.jacobian(theta, line) @ T
        lnL = law.log_prediction(theta, line)
        g = -(above - below) / (2 * STEP) / ((lnL[0] - 2 * lnL[1] + lnL[2]) / STEP**2)
    return np.asarray(g[None, :]) if np.isfinite(g).all() else None


def _exponent(law: Law, theta: Floats, T: Floats) -> Floats | None:
    exponents = law.exponents(np.concatenate([theta + STEP * T.T, theta - STEP * T.T]))
    if "a" not in exponents:
        return np.eye(len(theta))
    up, down = np.split(exponents["a"], 2)
    g = (up - down) / (2 * STEP)
    return np.asarray(g[None, :]) if np.isfinite(g).all() else None


def _points(lnN: ArrayLike, lnD: ArrayLike, fid: float) -> Inputs:
    N, D = np.asarray(lnN, dtype=np.float64), np.asarray(lnD, dtype=np.float64)
    return Inputs(N, D, np.full_like(N, fid), D)
