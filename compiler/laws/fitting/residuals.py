"""Value, gradient and Hessians of the sum-Huber objective, for a batch of thetas and weights at once.

In: a law, its (centred) points, log losses. Out: arrays over the batch [b, ...]; the engine descends on them.
Objective: sum_i c_i huber_delta(ln L_i(theta) - y_i), huber(r) = r^2/2 inside delta, delta (|r| - delta/2)
outside (Hoffmann et al. 2022, eq. 3, with the sum in place of the mean: only the scale differs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.law import Law, TermLaw, log_sum


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """`newton` is the exact Hessian (or Gauss-Newton where a law gives no curvature), `irls` the positive
    semi-definite one of iteratively reweighted least squares, which majorises the Huber loss."""

    value: Floats  # [b]
    gradient: Floats  # [b, p]
    newton: Floats  # [b, p, p]
    irls: Floats  # [b, p, p]


class Kernel(Protocol):
    def __call__(self, theta: Floats, weight: Floats, delta: float) -> Local:
        """At theta [b, p] with weights [b, n] (or [n])."""


def kernel_for(law: Law, x: Inputs, y: Floats) -> Kernel:
    return TermKernel(law, x, y) if isinstance(law, TermLaw) else DenseKernel(law, x, y)


def huber(r: Floats, weight: Floats, delta: float) -> tuple[Floats, Floats, Floats]:
    """Weighted sum [b], and psi'(r) and psi(r)/r as weights [b, n] (psi is the derivative of huber)."""
    size = np.abs(r)
    inner = np.minimum(size, delta)
    value = np.einsum("...n,...n->...", weight * inner, size - 0.5 * inner)
    inside = size <= delta
    ratio = np.where(inside, 1.0, delta / np.maximum(size, delta))
    return value, weight * inside, weight * ratio


class TermKernel:
    """For sums of exponentials of affine terms. With term shares w_k and features f_j the Hessian is
    sum_i M^{kl}_i f_j f_m, M^{kl} = (psi' - psi) w_k w_l + [k = l] psi w_k: matrix products of weights
    against fixed products of features, so that no array is larger than [b, n]."""

    def __init__(self, law: TermLaw, x: Inputs, y: Floats) -> None:
        self.y = y
        features = [np.broadcast_to(f, y.shape) for f in law.features(x)]
        groups = [[j for j, k in enumerate(law.term_of) if k == t] for t in range(len(law.intercepts))]
        self.groups = groups
        self.stacks = [np.stack([features[j] for j in group]) for group in groups]  # [p_k, n] each
        self.p = len(features)
        #: For each pair of terms: their parameter indices, and feature products [n, p_k * p_l].
        self.pairs = []
        for s, first in enumerate(groups):
            for t in range(s, len(groups)):
                second = groups[t]
                products = np.stack([features[j] * features[m] for j in first for m in second], axis=1)
                self.pairs.append((s, t, np.ix_(first, second), products))

    def __call__(self, theta: Floats, weight: Floats, delta: float) -> Local:
        terms = [theta[:, group] @ stack for group, stack in zip(self.groups, self.stacks, strict=True)]
        l, shares = log_sum(terms)
        r = l - self.y
        value, slope, ratio = huber(r, weight, delta)
        psi = ratio * r
        b = len(theta)
        gradient = np.empty((b, self.p))
        newton, irls = np.empty((b, self.p, self.p)), np.empty((b, self.p, self.p))
        pulled = [psi * w for w in shares]
        for group, stack, pull in zip(self.groups, self.stacks, pulled, strict=True):
            gradient[:, group] = pull @ stack.T
        difference = slope - psi
        for s, t, (rows, columns), products in self.pairs:
            both = shares[s] * shares[t]
            mixed = difference * both
            if s == t:
                mixed += pulled[s]
            shape = (b, len(rows), columns.shape[1])
            block, block_irls = (mixed @ products).reshape(shape), ((ratio * both) @ products).reshape(shape)
            newton[:, rows, columns], irls[:, rows, columns] = block, block_irls
            if s != t:
                newton[:, columns.T, rows.T] = block.transpose(0, 2, 1)
                irls[:, columns.T, rows.T] = block_irls.transpose(0, 2, 1)
        return Local(value, gradient, newton, irls)


class DenseKernel:
    """For any form: Jacobians [b, n, p]."""

    def __init__(self, law: Law, x: Inputs, y: Floats) -> None:
        self.law, self.x, self.y = law, x, y

    def __call__(self, theta: Floats, weight: Floats, delta: float) -> Local:
        prediction, J, curvature = self.law.local(theta, self.x)
        r = prediction - self.y
        value, slope, ratio = huber(r, weight, delta)
        psi = ratio * r
        gradient = (J @ psi[..., None])[..., 0]
        transposed = J.transpose(0, 2, 1)
        newton = (J * slope[:, None, :]) @ transposed
        irls = (J * ratio[:, None, :]) @ transposed
        if curvature is not None:
            newton += curvature(psi)
        prior = self.law.penalty(theta)
        if prior is not None:
            r, J = prior
            value_p, slope_p, ratio_p = huber(r, np.ones(r.shape[-1]), delta)
            value = value + value_p
            gradient = gradient + ((ratio_p * r)[:, None, :] @ J)[:, 0]
            newton += (J.transpose(0, 2, 1) * slope_p[:, None, :]) @ J
            irls += (J.transpose(0, 2, 1) * ratio_p[:, None, :]) @ J
        return Local(value, gradient, newton, irls)
