"""Bartoldson 2024, Approach 2: L = A N^-alpha + B (1+FID)^zeta D^-beta + E (1+FID)^epsilon.

Held and reported in the paper's FID = 0 form. The released code anchors B and E at a base FID (1.65, DG):
X(FID) = X_base ((1+FID)/(1+FID_base))^k; `from_base` and `to_base` convert. zeta < 0 in the published fit: B
falls with FID because E absorbs the damage, so B is not to be interpreted alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.chinchilla import SLOPES, balance, one_valued
from isoloss.compiler.laws.forms.law import TermLaw
from isoloss.compiler.laws.forms.varpro import grid, project

_EXPONENTS = (0.08, 0.2, 0.35, 0.55, 0.9, 1.5)
_QUALITY = (-0.3, 0.0, 0.15, 0.4)


class Approach2(TermLaw):
    name = "approach2"
    parameters = ("A", "alpha", "B", "beta", "zeta", "E", "epsilon")
    logs = frozenset({"A", "B", "E"})
    uses_fid = True
    term_of = (0, 0, 1, 1, 1, 2, 2)
    intercepts = (0, 2, 5)
    slope_bounds: ClassVar = {"alpha": SLOPES, "beta": SLOPES, "zeta": (-5.0, 5.0), "epsilon": (-5.0, 5.0)}

    def features(self, x: Inputs) -> list[Floats]:
        # At FID 0 (q = 0) a law whose q is unknown has no value: nan stays nan.
        one, q = np.ones_like(x.lnN), x.lnQ
        return [one, -x.lnN, one, -x.lnD, q, one, q]

    def centre(self, x: Inputs) -> tuple[Inputs, Floats]:
        """q is not shifted (fid is what Inputs carry): its range is small and includes 0 by design."""
        mN, mD = float(np.mean(x.lnN)), float(np.mean(x.lnD))
        T = np.eye(7)
        T[0, 1], T[2, 3] = mN, mD
        return Inputs(x.lnN - mN, x.lnD - mD, x.fid, x.lnX), T

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        quality = _QUALITY if np.ptp(x.lnQ) > 1e-9 else (0.0,)
        g = grid(_EXPONENTS, _EXPONENTS, quality, quality)
        parts = [
            -g[:, :1] * x.lnN,
            -g[:, 1:2] * x.lnD + g[:, 2:3] * x.lnQ,
            g[:, 3:] * x.lnQ,
        ]
        coefficients, score = project(np.exp(np.stack(parts, axis=1)), y, weight)
        a, b, e = coefficients.T
        theta = np.column_stack([a, g[:, 0], b, g[:, 1], g[:, 2], e, g[:, 3]])
        return theta[np.argsort(score, kind="stable")]

    def unidentified(self, x: Inputs) -> dict[str, tuple[float, str]]:
        fixed = one_valued(x, {"lnN": ("A", "alpha", "params"), "lnD": ("B", "beta", "images")})
        if np.ptp(x.lnQ) < 1e-9:
            reason = "every run has the same fid: B and E hold at that fid only"
            fixed["zeta"] = fixed["epsilon"] = (0.0, reason)
        return fixed

    def closed_form_lnN(self, theta: Floats, ln_compute: Floats, fid: float) -> Floats:
        a, alpha, b, beta, zeta, _, _ = np.moveaxis(theta, -1, 0)
        return balance(a, alpha, b + zeta * np.log1p(fid), beta, ln_compute)

    def exponents(self, theta: Floats) -> dict[str, Floats]:
        alpha, beta = theta[..., 1], theta[..., 3]
        return {"a": beta / (alpha + beta), "b": alpha / (alpha + beta)}


def from_base(values: Mapping[str, float], base_fid: float = 1.65) -> dict[str, float]:
    """The code's constants, B and E at `base_fid`, in the paper's FID = 0 form."""
    ratio = 1.0 + base_fid
    return {
        **values,
        "B": values["B"] * ratio ** -values["zeta"],
        "E": values["E"] * ratio ** -values["epsilon"],
    }


def to_base(values: Mapping[str, float], base_fid: float = 1.65) -> dict[str, float]:
    """The inverse of `from_base`."""
    ratio = 1.0 + base_fid
    return {
        **values,
        "B": values["B"] * ratio ** values["zeta"],
        "E": values["E"] * ratio ** values["epsilon"],
    }
