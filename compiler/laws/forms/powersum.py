"""L = E + (A N^-alpha + B D^-beta)^gamma: what N and D cost adds up inside a power (Caballero et al. 2023 and others
since use such forms; gamma = 1 is Chinchilla's).

On tables of other people's runs gamma is .2 to .5 in most, and one more parameter cuts the error on held-out dearer
runs by factors. The data hold gamma along a weak ridge, so it has a prior: ln gamma around 0 with standard deviation
1, as much as one run says. Knows no FID: fit it to runs of one generator."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.chinchilla import balance, one_valued
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.forms.varpro import grid, project

#: Of alpha gamma and beta gamma, which are what a plot shows: as Chinchilla's exponents.
_SLOPES = (0.01, 3.0)
_START_SLOPES = (0.08, 0.16, 0.3, 0.5, 0.9)
_START_GAMMAS = (0.15, 0.3, 0.5, 1.0)
_LN_GAMMA = (float(np.log(0.05)), float(np.log(4.0)))
#: Log loss that ln gamma = 1 counts as: the scatter of single runs in the cleanest public tables, so that the prior
#: weighs as one such run.
PRIOR_SCALE = 0.003


class PowerSum(Law):
    """theta = (gamma ln A, gamma alpha, gamma ln B, gamma beta, ln E, ln gamma): with gamma alone, the terms keep their
    size and slope along the ridge."""

    name = "powersum"
    parameters = ("A", "alpha", "B", "beta", "E", "gamma")
    logs = frozenset({"E"})
    coefficients = (0, 2, 4)

    def _terms(self, theta: Floats, x: Inputs) -> tuple[Floats, Floats, Floats]:
        """ln of both terms [..., n] and gamma [..., 1]."""
        a, alpha, b, beta, g = (theta[..., j, None] for j in (0, 1, 2, 3, 5))
        gamma = np.exp(g)
        return (a - alpha * x.lnN) / gamma, (b - beta * x.lnD) / gamma, gamma

    def log_prediction(self, theta: Floats, x: Inputs) -> Floats:
        u, v, gamma = self._terms(theta, x)
        return np.asarray(np.logaddexp(gamma * np.logaddexp(u, v), theta[..., 4, None]))

    def jacobian(self, theta: Floats, x: Inputs) -> Floats:
        u, v, gamma = self._terms(theta, x)
        inner = np.logaddexp(u, v)
        reducible = gamma * inner
        part = np.exp(reducible - np.logaddexp(reducible, theta[..., 4, None]))
        share, other = np.exp(u - inner), np.exp(v - inner)
        # d(gamma ln(e^u + e^v)) / d ln gamma at fixed gamma u and gamma v.
        mixing = gamma * (inner - share * u - other * v)
        columns = [
            part * share, -part * share * x.lnN, part * other, -part * other * x.lnD, 1.0 - part, part * mixing,
        ]  # fmt: skip
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def penalty(self, theta: Floats) -> tuple[Floats, Floats]:
        """The prior of ln gamma as a residual [..., 1] and its Jacobian [..., 1, 6]."""
        J = np.zeros((*theta.shape[:-1], 1, 6))
        J[..., 0, 5] = PRIOR_SCALE
        return PRIOR_SCALE * theta[..., 5:6], J

    def centre(self, x: Inputs) -> tuple[Inputs, Floats]:
        mN, mD = float(np.mean(x.lnN)), float(np.mean(x.lnD))
        T = np.eye(6)
        T[0, 1], T[2, 3] = mN, mD
        return Inputs(x.lnN - mN, x.lnD - mD, x.fid, x.lnX), T

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        """From Chinchilla's fit at each pair of slopes: E and the two terms by variable projection; then gammas."""
        slopes = grid(_START_SLOPES, _START_SLOPES)
        parts = [-slopes[:, :1] * x.lnN, -slopes[:, 1:] * x.lnD, np.zeros((len(slopes), len(y)))]
        coefficients, score = project(np.exp(np.stack(parts, axis=1)), y, weight)
        best = np.argsort(score, kind="stable")[:6]
        rows = [
            [
                coefficients[k, 0],
                slopes[k, 0],
                coefficients[k, 1],
                slopes[k, 1],
                coefficients[k, 2],
                np.log(gamma),
            ]
            for gamma in _START_GAMMAS
            for k in best
        ]
        return np.array(rows)

    def bounds(self, x: Inputs, y: Floats) -> tuple[Floats, Floats]:
        low, high = float(y.min()) - 14.0, float(y.max()) + 4.0
        lower = np.array([low, _SLOPES[0], low, _SLOPES[0], low, _LN_GAMMA[0]])
        return lower, np.array([high, _SLOPES[1], high, _SLOPES[1], float(y.min()), _LN_GAMMA[1]])

    def unidentified(self, x: Inputs) -> dict[str, tuple[float, str]]:
        fixed = one_valued(x, {"lnN": ("A", "alpha", "params"), "lnD": ("B", "beta", "images")})
        if fixed:
            fixed["gamma"] = (0.0, "one term alone has no gamma")
        return fixed

    def closed_form_lnN(self, theta: Floats, ln_compute: Floats, fid: float) -> Floats:
        a, alpha, b, beta, _, g = np.moveaxis(theta, -1, 0)
        gamma = np.exp(g)
        return balance(a / gamma, alpha / gamma, b / gamma, beta / gamma, ln_compute)

    def exponents(self, theta: Floats) -> dict[str, Floats]:
        alpha, beta = theta[..., 1], theta[..., 3]
        return {"a": beta / (alpha + beta), "b": alpha / (alpha + beta)}

    def to_paper(self, theta: Floats) -> dict[str, Floats]:
        a, alpha, b, beta, e, g = np.moveaxis(theta, -1, 0)
        gamma = np.exp(g)
        values = (np.exp(a / gamma), alpha / gamma, np.exp(b / gamma), beta / gamma, np.exp(e), gamma)
        return dict(zip(self.parameters, values, strict=True))

    def from_paper(self, values: dict[str, float]) -> Floats:  # type: ignore[override]
        given = [float(values[name]) for name in self.parameters]
        for name, value in zip(self.parameters, given, strict=True):
            if name in ("A", "B", "E", "gamma") and not value > 0:
                raise ValueError(f"parameter `{name}` of {self.name} must be above 0, got {value:g}")
        A, alpha, B, beta, E, gamma = given
        return np.array(
            [gamma * np.log(A), gamma * alpha, gamma * np.log(B), gamma * beta, np.log(E), np.log(gamma)]
        )
