"""L = A N^-alpha + B D^-beta + E (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2; their "Approach 3").

N counts all trainable parameters, D images seen. Knows no FID: fit it to runs of one generator."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.law import TermLaw
from isoloss.compiler.laws.forms.varpro import grid, project

#: Exponents outside are no scaling law of this field: Kaplan's smallest is .076, noise-free statistics give
#: 1.
SLOPES = (0.01, 3.0)
_START_SLOPES = (0.05, 0.12, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4, 2.0)


class Chinchilla(TermLaw):
    name = "chinchilla"
    parameters = ("A", "alpha", "B", "beta", "E")
    logs = frozenset({"A", "B", "E"})
    term_of = (0, 0, 1, 1, 2)
    intercepts = (0, 2, 4)
    slope_bounds: ClassVar = {"alpha": SLOPES, "beta": SLOPES}

    def features(self, x: Inputs) -> list[Floats]:
        one = np.ones_like(x.lnN)
        return [one, -x.lnN, one, -x.lnD, one]

    def centre(self, x: Inputs) -> tuple[Inputs, Floats]:
        mN, mD = float(np.mean(x.lnN)), float(np.mean(x.lnD))
        T = np.eye(5)
        T[0, 1], T[2, 3] = mN, mD  # a - alpha (lnN - m) = (a + alpha m) - alpha lnN
        return Inputs(x.lnN - mN, x.lnD - mD, x.fid, x.lnX), T

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        slopes = grid(_START_SLOPES, _START_SLOPES)
        parts = [-slopes[:, :1] * x.lnN, -slopes[:, 1:] * x.lnD, np.zeros((len(slopes), len(y)))]
        coefficients, score = project(np.exp(np.stack(parts, axis=1)), y, weight)
        theta = np.column_stack(
            [coefficients[:, 0], slopes[:, 0], coefficients[:, 1], slopes[:, 1], coefficients[:, 2]]
        )
        return theta[np.argsort(score, kind="stable")]

    def unidentified(self, x: Inputs) -> dict[str, tuple[float, str]]:
        return one_valued(x, {"lnN": ("A", "alpha", "params"), "lnD": ("B", "beta", "images")})

    def closed_form_lnN(self, theta: Floats, ln_compute: Floats, fid: float) -> Floats:
        a, alpha, b, beta, _ = np.moveaxis(theta, -1, 0)
        return balance(a, alpha, b, beta, ln_compute)

    def exponents(self, theta: Floats) -> dict[str, Floats]:
        alpha, beta = theta[..., 1], theta[..., 3]
        return {"a": beta / (alpha + beta), "b": alpha / (alpha + beta)}


def balance(a: Floats, alpha: Floats, b: Floats, beta: Floats, ln_compute: Floats) -> Floats:
    """ln N* of A N^-alpha + B D^-beta at N D = exp(ln_compute) (exact): the marginal returns are equal,
    alpha A N^-alpha = beta B D^-beta."""
    return (np.log(alpha) + a - np.log(beta) - b + beta * ln_compute) / (alpha + beta)


def one_valued(x: Inputs, axes: dict[str, tuple[str, str, str]]) -> dict[str, tuple[float, str]]:
    """A term in a column that never varies is a constant, and E is one already: drop the term."""
    fixed: dict[str, tuple[float, str]] = {}
    for axis, (coefficient, slope, column) in axes.items():
        values = getattr(x, axis)
        if np.ptp(values) < 1e-9:
            reason = f"every run has the same {column}"
            fixed[coefficient] = (NONE, reason)
            fixed[slope] = (0.3, reason)
    return fixed


#: The log of a coefficient that is as good as zero.
NONE = -80.0
