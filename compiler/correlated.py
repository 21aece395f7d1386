"""Generalised least squares for `errors = correlated`: what neighbours share counts once.

A law errs smoothly: runs that lie close to each other miss it by nearly the same, however many they are, and
replicates average only their own noise away. Residuals of log loss have covariance sd^2 C,

    C = share K + (1 - share) W R W,

with K the misfit's correlation and R the noise's (laws/neighbours.py), and W = 1 but for runs that lie far off and
are trusted less. `share` is estimated by restricted maximum likelihood, sd from the residuals. Least squares in
whitened residuals is the best linear estimate under C (Aitken 1936); independent residuals are its case share = 0.
Resamples are parametric: draws of C about the fit, each at a share as likely as the data find it, fitted again;
runs drawn with replacement would take what neighbours share for noise.

In: a fit's problem and where it starts. Out: theta, resamples, share. Pure: the seed is an option."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Bools, Floats, Inputs
from isoloss.compiler.laws.law import Law
from isoloss.compiler.laws.neighbours import alike, coordinates_of, together
from isoloss.compiler.laws.points import Points

#: Shares of the misfit that are tried, and the one taken (assumed) where residuals beyond the parameters are
#: fewer than FEW.
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
HALF, FEW = 0.5, 8
#: A run whose own error is beyond so many standard deviations is an outlier: its noise is raised until it isn't,
#: as Huber's loss would.
OUTLIER = 3.0
_ROUNDS = 3
_STEPS, _REFIT_STEPS = 200, 12
#: Refits solved together: bounds memory at 64 Jacobians.
_ROWS = 64
_JITTER = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A law at centred points, within bounds [p]; equal bounds fix a parameter."""

    law: Law
    x: Inputs
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Correlated:
    """`theta` [p] and `samples` [r, p], centred; `share` of the misfit in the variance; `sd` of log loss, both
    parts; `outliers` [n]: rows trusted less."""

    theta: Floats
    samples: Floats
    converged: bool
    share: float
    sd: float
    outliers: Bools


class Errors:
    """The two correlations of these points [n, n]. A row's noise variance goes with 1 / weight."""

    def __init__(self, points: Points, x: Inputs) -> None:
        at = np.nan_to_num(coordinates_of(x))
        self.misfit = alike(at, at)
        root = 1.0 / np.sqrt(np.maximum(points.weight, 1e-12))
        self.noise = root[:, None] * together(points.run) * root[None, :]

    def root(self, share: float, trust: Floats) -> Floats:
        """Lower Cholesky factor of C; `trust` [n] in (0, 1]: 1 / W^2."""
        W = 1.0 / np.sqrt(trust)
        C = share * self.misfit + (1.0 - share) * W[:, None] * self.noise * W[None, :]
        return np.asarray(np.linalg.cholesky(C + _JITTER * np.eye(len(C))))

    def own(self, share: float, trust: Floats, root: Floats, residual: Floats) -> Floats:
        """The part of the residuals [n] that is the runs' own: its best estimate under C."""
        W = 1.0 / np.sqrt(trust)
        weighed = np.linalg.solve(root.T, np.linalg.solve(root, residual))
        return np.asarray((1.0 - share) * W * (self.noise @ (W * weighed)))


def fit_correlated(
    box: Box, errors: Errors, y: Floats, start: Floats, resamples: int, seed: int
) -> Correlated:
    """From `start` [p], the optimum of independent errors, to the one of correlated errors. At least one point
    more than free parameters."""
    free = int(np.sum(box.upper > box.lower))
    spare = len(y) - free
    trust = np.ones(len(y))
    chances = _chances(box, errors, y, start, free) if spare >= FEW else np.full(len(SHARES), 1 / len(SHARES))
    share = SHARES[int(np.argmax(chances))] if spare >= FEW else HALF
    theta, done = start, False
    for _ in range(_ROUNDS):
        root = errors.root(share, trust)
        theta, value, done = _solve(box, y, root, theta)
        residual = y - box.law.log_prediction(theta, box.x)
        own = errors.own(share, trust, root, residual)
        # The median stands still while outliers move a mean.
        white = np.abs(np.linalg.solve(root, residual))
        sd = 1.4826 * float(np.median(white)) * np.sqrt(len(y) / spare)
        limit = OUTLIER * sd * np.sqrt((1.0 - share) * np.diag(errors.noise))
        new = np.minimum(1.0, limit / np.maximum(np.abs(own), 1e-300)) if spare >= FEW else trust
        if np.allclose(new, trust, rtol=1e-3):
            break
        trust = new
    root = errors.root(share, trust)
    theta, value, done = _solve(box, y, root, theta)
    sd = float(np.sqrt(value / spare))
    prediction = box.law.log_prediction(theta, box.x)
    drawn = _draws(errors, trust, y - prediction, spare, chances, resamples, seed)
    samples = _refit(box, prediction + drawn, root, theta)
    return Correlated(theta, samples, done, share, sd, trust < 1.0)


def _draws(
    errors: Errors, trust: Floats, residual: Floats, spare: int, chances: Floats, resamples: int, seed: int
) -> Floats:
    """Residuals as they might have been [r, n]: of each share as often as it is likely."""
    rng = np.random.default_rng([seed, 0xC0])
    parts = []
    for share, many in zip(SHARES, rng.multinomial(resamples, chances), strict=True):
        root = errors.root(share, trust)
        sd = np.sqrt(np.sum(np.linalg.solve(root, residual) ** 2) / spare)
        # sd is an estimate itself.
        sds = sd * np.sqrt(spare / rng.chisquare(spare, size=(many, 1)))
        parts.append(sds * (rng.standard_normal((many, len(residual))) @ root.T))
    return rng.permutation(np.concatenate(parts))


def refit_correlated(box: Box, errors: Errors, y: Floats, start: Floats, share: float) -> Floats:
    """theta [p] with a share that is known already, all runs trusted."""
    return _solve(box, y, errors.root(share, np.ones(len(y))), start)[0]


def _chances(box: Box, errors: Errors, y: Floats, start: Floats, free: int) -> Floats:
    """Of SHARES, summing to 1: restricted likelihoods, with the parameters' own loss of freedom taken off (Patterson
    and Thompson 1971)."""
    moves, spare = box.upper > box.lower, len(y) - free
    found = []
    for share in SHARES:
        root = errors.root(share, np.ones(len(y)))
        theta, value, _ = _solve(box, y, root, start)
        J = np.linalg.solve(root, box.law.jacobian(theta, box.x)[:, moves])
        information = np.linalg.slogdet(J.T @ J + 1e-12 * np.eye(free))[1]
        scale = spare * np.log(max(value, 1e-300) / spare)
        found.append(-0.5 * (scale + information) - np.log(np.diag(root)).sum())
    likelihood = np.exp(np.array(found) - max(found))
    return np.asarray(likelihood / likelihood.sum())


def _solve(box: Box, y: Floats, root: Floats, start: Floats) -> tuple[Floats, float, bool]:
    """(theta, squared whitened residuals, whether it converged)."""
    theta, value, done = _descend(box, y[None, :], root, start[None, :], _STEPS)
    return theta[0], float(value[0]), bool(done[0])


def _refit(box: Box, y: Floats, root: Floats, start: Floats) -> Floats:
    """theta [r, p] of draws y [r, n], each from `start`."""
    found = np.empty((len(y), len(start)))
    for begin in range(0, len(y), _ROWS):
        rows = slice(begin, begin + _ROWS)
        starts = np.repeat(start[None, :], len(y[rows]), axis=0)
        found[rows] = _descend(box, y[rows], root, starts, _REFIT_STEPS)[0]
    return found


def _descend(box: Box, y: Floats, root: Floats, starts: Floats, steps: int) -> tuple[Floats, Floats, Bools]:
    """Levenberg-Marquardt in whitened residuals, inside bounds, for rows y [b, n] at once: theta [b, p], squared
    whitened residuals [b], whether each converged."""
    whiten = np.linalg.inv(root)
    lower, upper = box.lower, box.upper
    theta = np.clip(starts, lower, upper)
    white = (y - box.law.log_prediction(theta, box.x)) @ whiten.T
    value = np.sum(white**2, axis=1)
    damping = np.full(len(theta), 1e-3)
    done = np.zeros(len(theta), dtype=bool)
    index = np.arange(theta.shape[1])
    for _ in range(steps):
        J = whiten @ box.law.jacobian(theta, box.x)
        A, g = J.swapaxes(1, 2) @ J, np.einsum("bnp,bn->bp", J, white)
        # A parameter on a bound that the step pushes against stays there.
        held = ((theta <= lower) & (g < 0)) | ((theta >= upper) & (g > 0)) | (lower >= upper)
        A = np.where(held[:, :, None] | held[:, None, :], 0.0, A)
        size = np.einsum("bpp->bp", A)
        A[:, index, index] = np.where(held, 1.0, size * (1.0 + damping[:, None]) + 1e-14)
        step = np.linalg.solve(A, np.where(held, 0.0, g)[..., None])[..., 0]
        tried = np.clip(theta + step, lower, upper)
        new = (y - box.law.log_prediction(tried, box.x)) @ whiten.T
        gain = value - np.sum(new**2, axis=1)
        better = gain > 0
        done |= (better & (gain <= 1e-9 * value)) | (damping > 1e8)
        theta[better], white[better] = tried[better], new[better]
        value = np.where(better, value - gain, value)
        damping = np.where(better, np.maximum(damping / 10, 1e-10), damping * 10)
        if done.all():
            break
    return theta, value, done
