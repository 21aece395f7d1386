"""What is asked, as gradients: question + law at theta -> d answer / d theta.

Loss at a compute budget has, by the envelope theorem, the gradient of the loss at its optimum, J(N*, D*, FID).
ln N* and exponents are differentiated numerically through the law's own optimum, whatever the law.
planning.md Q1; closed forms of law 2 hold the tests. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws import solve
from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Inputs
from isoloss.compiler.laws.law import Law

#: Step of central differences in theta about the middle of the pool: errors of the optimum's search are 1e-7,
#: curvature errors 1e-6.
STEP = 1e-3


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


def gradients(law: Law, theta: Floats, T: Floats, target: Target, rule: FlopsPerImage) -> Floats | None:
    """[k, p] in centred coordinates (theta = T @ centred), k > 1 for a law's parameters. None where the law
    has no answer at theta."""
    if target.what == "loss":
        lnN, lnD, _ = optimum(law, theta, target, rule)
        if not np.isfinite(lnN):
            return None
        x = Inputs(np.array([lnN]), np.array([lnD]), np.array([target.fid]), np.array([lnD]))
        g = law.jacobian(theta, x)[0] @ T
        return np.asarray(g[None, :]) if np.isfinite(g).all() else None
    nudged = np.concatenate([theta + STEP * T.T, theta - STEP * T.T])
    if target.what == "size":
        values = solve.optimum(law, nudged, target.flops, target.fid, rule)[0]
    else:
        exponents = law.exponents(nudged)
        if "a" not in exponents:
            return np.eye(len(theta))
        values = exponents["a"]
    up, down = np.split(values, 2)
    g = (up - down) / (2 * STEP)
    return np.asarray(g[None, :]) if np.isfinite(g).all() else None
