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

from isoloss.compiler.laws.arrays import Bools, Floats, Inputs, Ints
from isoloss.compiler.laws.fitting.neighbours import CURVE, alike, coordinates_of
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.points import Points

#: Shares of the misfit that are tried, and the one taken (assumed) where residuals beyond the parameters are
#: fewer than FEW.
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
HALF, FEW = 0.5, 8
#: A run whose own error is beyond so many standard deviations is an outlier: its noise is raised until it isn't,
#: as Huber's loss would.
OUTLIER = 3.0
_ROUNDS = 4
_STEPS, _REFIT_STEPS = 200, 12
#: Refits solved together: bounds memory at 64 Jacobians.
_ROWS = 64
#: What of a variance of the misfit is left out.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A law at centred points, within bounds [p]; equal bounds fix a parameter."""

    law: Law
    x: Inputs
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Correlated:
    """`theta` [p] and `samples` [r, p], centred; `share` of the misfit in the variance; `outliers` [n]: rows trusted
    less."""

    theta: Floats
    samples: Floats
    converged: bool
    share: float
    outliers: Bools


class Errors:
    """The two correlations of these points. A row's noise variance goes with 1 / weight. The misfit is smooth: K is
    features @ features.T with few columns (pivoted Cholesky), and nothing here is [n, n]."""

    def __init__(self, points: Points, x: Inputs) -> None:
        self.features = _factor(np.nan_to_num(coordinates_of(x)))
        self.variance = 1.0 / np.maximum(points.weight, 1e-12)
        self.groups = Groups(points.run)

    def whitener(self, share: float, trust: Floats) -> Whitener:
        """Of C; `trust` [n] in (0, 1]: 1 / W^2."""
        return Whitener(self, share, np.sqrt((1.0 - share) * self.variance / trust))


class Groups:
    """Observations [n] of the same run, whose noise has correlation CURVE: R and its roots by means over runs."""

    def __init__(self, run: Ints) -> None:
        _, self.index, counts = np.unique(run, return_inverse=True, return_counts=True)
        self.single = len(counts) == len(run)
        self.order = np.argsort(self.index, kind="stable")
        self.begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.counts = counts
        #: Eigenvalues of R: of differences within a run, and of its mean.
        self.within, self.mean = 1.0 - CURVE, 1.0 - CURVE + CURVE * counts

    def times(self, values: Floats, power: float) -> Floats:
        """R^power @ values [..., n, k]."""
        if self.single:
            return values
        sums = np.add.reduceat(values[..., self.order, :], self.begins, axis=-2)
        means = sums / self.counts[:, None]
        inner = (values - means[..., self.index, :]) * self.within**power
        return np.asarray(inner + (means * self.mean[:, None] ** power)[..., self.index, :])


class Whitener:
    """S T with T = R^-1/2 / scale, of the noise, and S = (I + T share K T')^-1/2: residuals of covariance sd^2 C become
    independent, of size sd."""

    def __init__(self, errors: Errors, share: float, scale: Floats) -> None:
        self.groups, self.scale = errors.groups, scale[:, None]
        self.misfit = np.sqrt(share) * errors.features
        self.Q, size, _ = np.linalg.svd(self._noise(self.misfit), full_matrices=False)
        self.gain = 1.0 + size**2

    def _noise(self, values: Floats) -> Floats:
        return self.groups.times(values / self.scale, -0.5)

    def __call__(self, values: Floats) -> Floats:
        """S T @ values [..., n, k]."""
        white = self._noise(values)
        return white - self.Q @ ((1.0 - self.gain**-0.5)[:, None] * (self.Q.T @ white))

    def own(self, residual: Floats) -> Floats:
        """The part of residuals [n] that is the runs' own: D C^-1 r, with D the covariance of noise."""
        white = self._noise(residual[:, None])
        kept = white - self.Q @ ((1.0 - 1.0 / self.gain)[:, None] * (self.Q.T @ white))
        return np.asarray((self.scale * self.groups.times(kept, 0.5))[:, 0])

    def draw(self, rng: np.random.Generator, many: int) -> Floats:
        """Residuals of covariance C [many, n]."""
        smooth = self.misfit @ rng.standard_normal((self.misfit.shape[1], many))
        noise = self.scale * self.groups.times(rng.standard_normal((len(self.scale), many)), 0.5)
        return np.asarray((smooth + noise).T)

    @property
    def log_volume(self) -> float:
        """ln det C / 2, but for R's."""
        return float(np.log(self.scale).sum() + 0.5 * np.log(self.gain).sum())


def _factor(at: Floats) -> Floats:
    """[n, m] with K = factor @ factor.T but for _NEGLIGIBLE of a variance: Cholesky's method, the point that is known
    least first."""
    left = np.ones(len(at))
    columns: list[Floats] = []
    while len(columns) < len(at) and left.max() > _NEGLIGIBLE:
        i = int(np.argmax(left))
        column = alike(at, at[i : i + 1])[:, 0]
        for known in columns:
            column = column - known * known[i]
        columns.append(column / np.sqrt(left[i]))
        left = np.maximum(left - columns[-1] ** 2, 0.0)
    return np.stack(columns, axis=1)


def fit_correlated(
    box: Box, errors: Errors, y: Floats, start: Floats, resamples: int, seed: int
) -> Correlated:
    """From `start` [p], the optimum of independent errors, to the one of correlated errors. At least one point
    more than free parameters."""
    free = int(np.sum(box.upper > box.lower))
    spare = len(y) - free
    few = spare < FEW
    chances = np.full(len(SHARES), 1 / len(SHARES)) if few else _chances(box, errors, y, start, free)
    share = HALF if few else SHARES[int(np.argmax(chances))]
    theta, trust = start, np.ones(len(y))
    for remaining in reversed(range(_ROUNDS)):
        white = errors.whitener(share, trust)
        theta, _, done = _solve(box, y, white, theta)
        prediction = box.law.log_prediction(theta, box.x)
        new = trust if few else _trust(errors, white, y - prediction, share, spare)
        if not remaining or np.allclose(new, trust, rtol=1e-3):
            break
        trust = new
    drawn = _draws(errors, trust, y - prediction, spare, chances, resamples, seed)
    samples = _refit(box, prediction + drawn, white, theta)
    return Correlated(theta, samples, done, share, trust < 1.0)


def _trust(errors: Errors, white: Whitener, residual: Floats, share: float, spare: int) -> Floats:
    """In (0, 1] [n]: below 1 for runs whose own error is beyond OUTLIER standard deviations."""
    # The median stands still while outliers move a mean.
    sd = 1.4826 * float(np.median(np.abs(white(residual[:, None])))) * np.sqrt(len(residual) / spare)
    limit = OUTLIER * sd * np.sqrt((1.0 - share) * errors.variance)
    return np.asarray(np.minimum(1.0, limit / np.maximum(np.abs(white.own(residual)), 1e-300)))


def _draws(
    errors: Errors, trust: Floats, residual: Floats, spare: int, chances: Floats, resamples: int, seed: int
) -> Floats:
    """Residuals as they might have been [r, n]: of each share as often as it is likely."""
    rng = np.random.default_rng([seed, 0xC0])
    parts = []
    for share, many in zip(SHARES, rng.multinomial(resamples, chances), strict=True):
        white = errors.whitener(share, trust)
        sd = np.sqrt(np.sum(white(residual[:, None]) ** 2) / spare)
        # sd is an estimate itself.
        parts.append(sd * np.sqrt(spare / rng.chisquare(spare, size=(many, 1))) * white.draw(rng, many))
    return rng.permutation(np.concatenate(parts))


def refit_correlated(box: Box, errors: Errors, y: Floats, start: Floats, share: float) -> Floats:
    """theta [p] with a share that is known already, all runs trusted."""
    return _solve(box, y, errors.whitener(share, np.ones(len(y))), start)[0]


def _chances(box: Box, errors: Errors, y: Floats, start: Floats, free: int) -> Floats:
    """Of SHARES, summing to 1: restricted likelihoods, with the parameters' own loss of freedom taken off (Patterson
    and Thompson 1971)."""
    moves, spare = box.upper > box.lower, len(y) - free
    found = []
    for share in SHARES:
        white = errors.whitener(share, np.ones(len(y)))
        theta, value, _ = _solve(box, y, white, start)
        J = white(box.law.jacobian(theta, box.x)[:, moves])
        information = np.linalg.slogdet(J.T @ J + 1e-12 * np.eye(free))[1]
        scale = spare * np.log(max(value, 1e-300) / spare)
        found.append(-0.5 * (scale + information) - white.log_volume)
    likelihood = np.exp(np.array(found) - max(found))
    return np.asarray(likelihood / likelihood.sum())


def _solve(box: Box, y: Floats, white: Whitener, start: Floats) -> tuple[Floats, float, bool]:
    """(theta, squared whitened residuals, whether it converged)."""
    theta, value, done = _descend(box, y[None, :], white, start[None, :], _STEPS)
    return theta[0], float(value[0]), bool(done[0])


def _refit(box: Box, y: Floats, white: Whitener, start: Floats) -> Floats:
    """theta [r, p] of draws y [r, n], each from `start`."""
    found = np.empty((len(y), len(start)))
    for begin in range(0, len(y), _ROWS):
        rows = slice(begin, begin + _ROWS)
        starts = np.repeat(start[None, :], len(y[rows]), axis=0)
        found[rows] = _descend(box, y[rows], white, starts, _REFIT_STEPS)[0]
    return found


def _descend(
    box: Box, y: Floats, white: Whitener, starts: Floats, steps: int
) -> tuple[Floats, Floats, Bools]:
    """Levenberg-Marquardt in whitened residuals, inside bounds, for rows y [b, n] at once: theta [b, p], squared
    whitened residuals [b], whether each converged."""
    lower, upper = box.lower, box.upper
    theta = np.clip(starts, lower, upper)
    miss = white((y - box.law.log_prediction(theta, box.x)).T).T
    value = np.sum(miss**2, axis=1)
    damping = np.full(len(theta), 1e-3)
    done = np.zeros(len(theta), dtype=bool)
    index = np.arange(theta.shape[1])
    for _ in range(steps):
        J = white(box.law.jacobian(theta, box.x))
        A, g = J.swapaxes(1, 2) @ J, np.einsum("bnp,bn->bp", J, miss)
        # A parameter on a bound that the step pushes against stays there.
        held = ((theta <= lower) & (g < 0)) | ((theta >= upper) & (g > 0)) | (lower >= upper)
        A = np.where(held[:, :, None] | held[:, None, :], 0.0, A)
        size = np.einsum("bpp->bp", A)
        A[:, index, index] = np.where(held, 1.0, size * (1.0 + damping[:, None]) + 1e-14)
        step = np.linalg.solve(A, np.where(held, 0.0, g)[..., None])[..., 0]
        tried = np.clip(theta + step, lower, upper)
        new = white((y - box.law.log_prediction(tried, box.x)).T).T
        gain = value - np.sum(new**2, axis=1)
        better = gain > 0
        done |= (better & (gain <= 1e-9 * value)) | (damping > 1e8)
        theta[better], miss[better] = tried[better], new[better]
        value = np.where(better, value - gain, value)
        damping = np.where(better, np.maximum(damping / 10, 1e-10), damping * 10)
        if done.all():
            break
    return theta, value, done
