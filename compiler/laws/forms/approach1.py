"""Bartoldson 2024, Approach 1: log-log lines L* = L0 C^l, N* = N0 C^a, D* = D0 C^b of the frontier, each by ordinary
least squares, so that a + b need not be 1. It predicts no single run; fitting/envelope.py fits it."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.law import Law


class Approach1(Law):
    name = "approach1"
    parameters = ("L0", "l", "N0", "a", "D0", "b")
    logs = frozenset({"L0", "N0", "D0"})
    pointwise = False
    points_rule = "curve"

    def log_prediction(self, theta: Floats, x: Inputs) -> Floats:
        """The envelope predicts no single run: nan."""
        shape = np.broadcast_shapes(x.lnN.shape, x.lnD.shape)
        return np.full((*theta.shape[:-1], shape[-1]), np.nan)

    def jacobian(self, theta: Floats, x: Inputs) -> Floats:
        return np.full((*theta.shape[:-1], x.lnN.shape[-1], 6), np.nan)

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        return np.zeros((1, 6))

    def bounds(self, x: Inputs, y: Floats) -> tuple[Floats, Floats]:
        return np.full(6, -np.inf), np.full(6, np.inf)

    def frontier(self, theta: Floats, ln_flops: float) -> tuple[Floats, Floats, Floats]:
        """ln N*, ln D*, ln L* [...] at C = exp(ln_flops)."""
        l0, l, n0, a, d0, b = np.moveaxis(theta, -1, 0)
        return n0 + a * ln_flops, d0 + b * ln_flops, l0 + l * ln_flops

    def exponents(self, theta: Floats) -> dict[str, Floats]:
        return {"a": theta[..., 3], "b": theta[..., 5]}
