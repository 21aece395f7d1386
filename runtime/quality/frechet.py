"""Fréchet distance between Gaussians fitted to two sets of features (Heusel et al., arXiv:1706.08500, eq. 6).

In: features float64 (n, F) in pieces, so that memory does not grow with n. Out: one number >= 0, its interval by
the jackknife over groups of images, and what more images would give. numpy only. Sums in float64, covariances
with n - 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Groups that the jackknife leaves out in turn. Each costs one distance; the half-width's own error is about
#: 1 / root(2 x 19) = 16 %.
GROUPS = 20
#: 97.5 % quantile of Student's t with GROUPS - 1 degrees of freedom.
_T = 2.093024


@dataclass(frozen=True, slots=True)
class Moments:
    """`mean` (F,), `covariance` (F, F) with divisor n - 1, of `count` images (0: not known)."""

    mean: Floats
    covariance: Floats
    count: int


@dataclass(frozen=True, slots=True)
class Scatter:
    """Sums that add up over pieces: `count`, `mean` (F,), `squares` (F, F) of deviations from the mean."""

    count: int
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, features: Floats) -> Scatter:
        mean = features.mean(0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def plus(self, other: Scatter) -> Scatter:
        """Of both pieces together (Chan, Golub & LeVeque 1979): stable, as no large sums are subtracted."""
        count = self.count + other.count
        shift = other.mean - self.mean
        between = np.outer(shift, shift) * (self.count * other.count / count)
        return Scatter(
            count, self.mean + shift * (other.count / count), self.squares + other.squares + between
        )

    def without(self, part: Scatter) -> Scatter:
        """Of the rest, where `part` is one of the pieces: `plus` turned round."""
        count = self.count - part.count
        mean = self.mean - (part.mean - self.mean) * (part.count / count)
        shift = part.mean - mean
        between = np.outer(shift, shift) * (count * part.count / self.count)
        return Scatter(count, mean, self.squares - part.squares - between)

    def moments(self) -> Moments:
        """Raises ValueError below two images."""
        if self.count < 2:
            raise ValueError(f"moments need at least 2 images, got {self.count}")
        return Moments(self.mean, self.squares / (self.count - 1), self.count)


def scatter(pieces: Iterable[Floats]) -> Scatter:
    """The sums of features that come in pieces (m, F). Raises ValueError where there is none."""
    total: Scatter | None = None
    for piece in pieces:
        part = Scatter.of(piece)
        total = part if total is None else total.plus(part)
    if total is None:
        raise ValueError("moments need images, got none")
    return total


def moments(features: Floats) -> Moments:
    """Mean and covariance of features (n, F) at once. Raises ValueError below two images."""
    return Scatter.of(features).moments()


class Reference:
    """Moments to measure distances to, with the root of their covariance: made once, used many times."""

    def __init__(self, known: Moments) -> None:
        self.moments = known
        self.root = _root(known.covariance)

    def distance(self, other: Moments) -> float:
        """|mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

        The last trace is the sum of the singular values of S_a^(1/2) S_b^(1/2): exact to rounding also below
        full rank, where the root of the product itself is unstable."""
        roots = np.linalg.svd(_root(other.covariance) @ self.root, compute_uv=False)
        return self._rest(other) - 2.0 * float(roots.sum())

    def quick_distance(self, other: Moments) -> float:
        """The same by eigenvalues of S_b^(1/2) S_a S_b^(1/2), a fifth of the work. A root takes their rounding
        from 1e-17 to 3e-9 each: good to about 1e-7, which differences between resamples never see."""
        inner = self.root @ other.covariance @ self.root
        eigenvalues = np.linalg.eigvalsh((inner + inner.T) / 2)
        return self._rest(other) - 2.0 * float(np.sqrt(np.clip(eigenvalues, 0.0, None)).sum())

    def _rest(self, other: Moments) -> float:
        shift = other.mean - self.moments.mean
        return float(shift @ shift + np.trace(other.covariance) + np.trace(self.moments.covariance))


def _root(covariance: Floats) -> Floats:
    """The symmetric root, negative rounding taken as 0."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return root


def frechet_distance(a: Moments, b: Moments) -> float:
    """The distance of two sets of moments, the same either way round."""
    return Reference(b).distance(a)


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` at `count` generated images with a 95 % interval [low, high] over redrawn generated images
    (the real ones stay: a distance is to *this* reference). `limit` extrapolates to infinitely many
    generated images, for the distance at finite n is biased upwards."""

    value: float
    low: float
    high: float
    count: int
    limit: float


def estimate(groups: Sequence[Callable[[], Iterable[Floats]]], reference: Reference) -> Estimate:
    """Fréchet distance of generated features to a reference, with interval and bias.

    `groups` are GROUPS samples of nearly equal size, each of which gives its features in pieces (m, F) when
    called; all are called twice, so that one piece and three sums are all that is held. The distance is taken
    again without each of them (the grouped jackknife: Tukey 1958): the spread of those, times (G - 1)^2 / G,
    is its variance, and their shift, times G - 1, its bias of order 1/n, the same that Chong & Forsyth
    (arXiv:1911.07023) take off by a line in 1/n. Raises ValueError for another number of groups."""
    if len(groups) != GROUPS:
        raise ValueError(f"the jackknife needs {GROUPS} groups, got {len(groups)}")
    whole = scatter(piece for group in groups for piece in group())
    value, near = reference.distance(whole.moments()), reference.quick_distance(whole.moments())
    without = np.array(
        [reference.quick_distance(whole.without(scatter(group())).moments()) for group in groups]
    )
    variance = (GROUPS - 1) / GROUPS * float(((without - without.mean()) ** 2).sum())
    half_width = _T * variance**0.5
    limit = max(0.0, value - (GROUPS - 1) * float(without.mean() - near))
    return Estimate(max(0.0, value), max(0.0, value - half_width), value + half_width, whole.count, limit)
