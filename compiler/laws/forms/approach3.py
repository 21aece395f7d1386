"""Bartoldson 2024, Approach 3: L = A N^-alpha + [B/D + (Q FID)^(kappa/beta)]^beta + E + epsilon ln(1+FID).

The shape of Kaplan et al. 2020, eq. 1.5: bad data bound what more data can buy. Held in logs as
a = ln A, b = beta ln B, c = kappa ln Q, e = ln E, f = ln epsilon, which the published fit was not: its B
stayed at its start, 7000. With t_u = b - beta ln D and t_v = c + kappa ln FID the bracket is the beta-norm
t_2 = beta ln(exp(t_u/beta) + exp(t_v/beta)). Its floor at FID > 0 is E + epsilon q + (Q FID)^kappa, not E."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.chinchilla import NONE, SLOPES, balance, one_valued
from isoloss.compiler.laws.forms.law import Law, log_sum
from isoloss.compiler.laws.forms.varpro import grid, project

_EXPONENTS = (0.1, 0.22, 0.4, 0.7, 1.2)
_KAPPA = (0.3, 0.6, 1.2)
_RATIO = (-3.0, -1.0, 1.0)  # ln (v/u) at the middle of the data
#: As kappa falls to 0, (Q FID)^kappa becomes a constant that is absent at FID 0: a step between real and generated
#: data that no generated data could show, and that forecasts at FID 0 would live on. Published: .604.
KAPPAS = (0.2, 5.0)
# Positions in theta.
_A, _ALPHA, _B, _BETA, _Q, _KAP, _E, _EPS = range(8)
#: The parameters of each term.
_BLOCKS = ([_A, _ALPHA], [_B, _BETA, _Q, _KAP], [_E], [_EPS])
_TERM_OF = (0, 0, 1, 1, 1, 1, 2, 3)


class Approach3(Law):
    name = "approach3"
    parameters = ("A", "alpha", "B", "beta", "Q", "kappa", "E", "epsilon")
    logs = frozenset({"A", "E", "epsilon"})
    coefficients = (_A, _B, _Q, _E, _EPS)
    uses_fid = True

    def log_prediction(self, theta: Floats, x: Inputs) -> Floats:
        return log_sum(self._terms(theta, x)[0])[0]

    def jacobian(self, theta: Floats, x: Inputs) -> Floats:
        return np.moveaxis(self.local(theta, x)[1], -2, -1)

    def local(self, theta: Floats, x: Inputs) -> tuple[Floats, Floats, Callable[[Floats], Floats]]:
        terms, (V, pu, pv) = self._terms(theta, x)
        value, shares = log_sum(terms)
        beta, b = theta[..., _BETA, None], theta[..., _B, None]
        lnF, _ = _log_fid(x.fid)
        one = np.ones_like(value)
        by_beta = terms[1] / beta - pu * b / beta - pv * V
        inside = np.stack([one, -x.lnN * one, pu, by_beta, pv, pv * lnF, one, one], axis=-2)
        share = np.stack([shares[k] for k in _TERM_OF], axis=-2)

        def curvature(weights: Floats) -> Floats:
            """d2 l = sum_k w_k (dt_k dt_k' + d2 t_k) - dl dl'. Only t_2 curves: it is the perspective
            function beta lse(t_u/beta, t_v/beta), whose Hessian has rank one, pu pv / beta v v'."""
            H = -_weighted_square(share * inside, weights)
            for k, block in enumerate(_BLOCKS):
                rows = np.ix_(block, block)
                H[:, rows[0], rows[1]] += _weighted_square(inside[:, block], weights * shares[k])
            v = np.stack([one, V - b / beta, -one, -lnF * one], axis=-2)
            rows = np.ix_(_BLOCKS[1], _BLOCKS[1])
            H[:, rows[0], rows[1]] += _weighted_square(v, weights * shares[1] * pu * pv / beta)
            return H

        return value, share * inside, curvature

    def _terms(self, theta: Floats, x: Inputs) -> tuple[list[Floats], tuple[Floats, Floats, Floats]]:
        """Logs of the four terms, and of the bracket: V = t_v/beta and both shares."""
        a, alpha, b, beta, c, kappa, e, f = (theta[..., j, None] for j in range(8))
        lnF, off = _log_fid(x.fid)
        U = b / beta - x.lnD
        V = (c + kappa * lnF) / beta
        masked = V + off
        peak = np.maximum(U, masked)
        # D without bound and FID 0: both are -inf and the term is none.
        peak = np.where(np.isneginf(peak), -1e300, peak)
        eu, ev = np.exp(U - peak), np.exp(masked - peak)
        total = np.maximum(eu + ev, 1e-300)
        t2 = beta * (peak + np.log(total))
        with np.errstate(divide="ignore"):
            lnq = np.log(x.lnQ)
        zero = np.zeros_like(t2)
        return [a - alpha * x.lnN + zero, t2, e + zero, f + lnq + zero], (V + zero, eu / total, ev / total)

    def centre(self, x: Inputs) -> tuple[Inputs, Floats]:
        """ln N and ln D about their means; FID stays, c + kappa ln FID is kept well scaled by its grid."""
        mN, mD = float(np.mean(x.lnN)), float(np.mean(x.lnD))
        T = np.eye(8)
        T[_A, _ALPHA], T[_B, _BETA] = mN, mD
        return Inputs(x.lnN - mN, x.lnD - mD, x.fid, x.lnX), T

    def bounds(self, x: Inputs, y: Floats) -> tuple[Floats, Floats]:
        low, high = y.min() - 14.0, y.max() + 4.0
        lnF = _log_fid(x.fid)[0]
        reach = 5.0 * float(np.abs(lnF).max(initial=0.0))
        lower = np.array([low, SLOPES[0], low, SLOPES[0], low - reach, KAPPAS[0], low, low])
        upper = np.array([high, SLOPES[1], high, SLOPES[1], high + reach, KAPPAS[1], high, high])
        return lower, upper

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        lnF, off = _log_fid(x.fid)
        seen = np.isfinite(off)
        middle = float(np.mean(lnF[seen])) if seen.any() else 0.0
        g = grid(_EXPONENTS, _EXPONENTS, _KAPPA, _RATIO) if seen.any() else grid(_EXPONENTS, _EXPONENTS)
        if not seen.any():
            g = np.column_stack([g, np.full((len(g), 2), [_KAPPA[0], 0.0])])
        alpha, beta, kappa, ratio = (g[:, j, None] for j in range(4))
        v = ratio + kappa / beta * (lnF - middle) + off
        bracket = beta * np.logaddexp(-x.lnD, v)
        quality = np.ptp(x.lnQ) > 1e-9
        parts = [-alpha * x.lnN, bracket, np.zeros((len(g), len(y)))]
        shapes = [np.exp(p) for p in parts]
        if quality:
            shapes.append(np.broadcast_to(np.maximum(x.lnQ, 1e-12), shapes[0].shape))
        coefficients, score = project(np.stack(shapes, axis=1), y, weight)
        b = coefficients[:, 1]
        # (B/D)^beta and (Q FID)^kappa share the bracket's coefficient.
        c = b + (beta * ratio - kappa * middle)[:, 0]
        f = coefficients[:, 3] if quality else np.full(len(g), NONE)
        theta = np.column_stack([coefficients[:, 0], g[:, 0], b, g[:, 1], c, g[:, 2], coefficients[:, 2], f])
        return theta[np.argsort(score, kind="stable")]

    def unidentified(self, x: Inputs) -> dict[str, tuple[float, str]]:
        fixed = one_valued(x, {"lnN": ("A", "alpha", "params"), "lnD": ("B", "beta", "images")})
        values = np.unique(np.round(x.lnQ, 9))
        if values.size >= 2:
            return fixed
        if values.size == 0 or values[0] == 0.0:
            for name, at in (("Q", NONE), ("kappa", 0.6), ("epsilon", NONE)):
                fixed[name] = (at, "every run has fid 0: nothing depends on it")
            return fixed
        reason = "every run has the same fid: E and the bracket hold at that fid only"
        fixed["epsilon"] = (NONE, reason)
        fixed["kappa"] = (0.6, reason)
        return fixed

    def closed_form_lnN(self, theta: Floats, ln_compute: Floats, fid: float) -> Floats | None:
        """Only at FID 0, where the bracket is (B/D)^beta; else a search in ln N (the authors use fsolve)."""
        if fid != 0:
            return None
        return balance(theta[..., _A], theta[..., _ALPHA], theta[..., _B], theta[..., _BETA], ln_compute)

    def exponents(self, theta: Floats) -> dict[str, Floats]:
        """At FID 0; at FID > 0 the frontier is no power law (more compute turns to N alone)."""
        alpha, beta = theta[..., _ALPHA], theta[..., _BETA]
        return {"a": beta / (alpha + beta), "b": alpha / (alpha + beta)}

    def to_paper(self, theta: Floats) -> dict[str, Floats]:
        values = super().to_paper(theta)
        # A free exponent near zero sends B = exp(b / beta) out of range: the largest float says so.
        values["B"] = np.exp(np.minimum(theta[..., _B] / theta[..., _BETA], 700.0))
        values["Q"] = np.exp(np.minimum(theta[..., _Q] / theta[..., _KAP], 700.0))
        return values

    def from_paper(self, values: Mapping[str, float]) -> Floats:
        theta = super().from_paper(values)
        theta[_B] = values["beta"] * np.log(values["B"])
        theta[_Q] = values["kappa"] * np.log(values["Q"])
        return theta


def _log_fid(fid: Floats) -> tuple[Floats, Floats]:
    """ln FID with 0 in place of -inf, and what to add to make it -inf again: products with it stay finite."""
    positive = ~(fid <= 0)  # nan stays nan
    lnF = np.log(np.where(positive, fid, 1.0))
    return lnF, np.where(positive, 0.0, -np.inf)


def _weighted_square(rows: Floats, weights: Floats) -> Floats:
    """sum_n weights [b, n] rows [b, p, n] rows' -> [b, p, p]."""
    return np.asarray((rows * weights[:, None, :]) @ rows.transpose(0, 2, 1))
