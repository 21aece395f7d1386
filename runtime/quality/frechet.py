"""Fréchet distance between Gaussians fitted to two sets of features (Heusel et al., arXiv:1706.08500, eq. 6).

In: features float64 (n, F). Out: one number >= 0, its interval by resampling, and what more images would
give. numpy only. Sums in float64, covariances with n - 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """`mean` (F,), `covariance` (F, F) with divisor n - 1, of `count` images."""

    mean: Floats
    covariance: Floats
    count: int


def moments(features: Floats) -> Moments:
    """Mean and covariance of features (n, F). Raises ValueError below two images."""
    return weighted_moments(features, np.ones(len(features)))


def weighted_moments(features: Floats, repeats: Floats) -> Moments:
    """Moments of a sample in which image i occurs `repeats[i]` times."""
    count = float(repeats.sum())
    if count < 2:
        raise ValueError(f"moments need at least 2 images, got {count:g}")
    features = features.astype(np.float64, copy=False)
    mean = repeats @ features / count
    centred = features - mean
    return Moments(mean, (centred * repeats[:, None]).T @ centred / (count - 1), round(count))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

    The trace of the root is the sum of the roots of the product's eigenvalues, which are real and >= 0 but
    for rounding: the matrix root itself, unstable below full rank, is never formed."""
    eigenvalues = np.linalg.eigvals(a.covariance @ b.covariance).real
    root_trace = np.sqrt(np.clip(eigenvalues, 0.0, None)).sum()
    shift = a.mean - b.mean
    return float(shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * root_trace)


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


def estimate(
    generated: Floats, reference: Moments, rng: np.random.Generator, *, resamples: int = 100
) -> Estimate:
    """Fréchet distance of generated features (n, F) to a reference, with interval and bias.

    The interval is normal, 1.96 standard deviations of bootstrap resamples around the value: their quantiles
    would be off, because a resample, having fewer distinct images, is biased upwards once more."""
    value = frechet_distance(moments(generated), reference)
    count = len(generated)
    draws = [
        frechet_distance(
            weighted_moments(generated, rng.multinomial(count, [1 / count] * count).astype(np.float64)),
            reference,
        )
        for _ in range(resamples)
    ]
    half_width = 1.96 * float(np.std(draws, ddof=1))
    limit = extrapolate(generated, reference, rng)
    return Estimate(value, max(0.0, value - half_width), value + half_width, count, limit)


def extrapolate(
    generated: Floats, reference: Moments, rng: np.random.Generator, *, sizes: int = 10, tries: int = 4
) -> float:
    """Intercept of a straight line through (1/n, distance) at `sizes` subset sizes from n/5 to n: the
    unbiased limit of Chong & Forsyth (arXiv:1911.07023), not below 0."""
    counts = np.unique(np.linspace(max(2, len(generated) // 5), len(generated), sizes).astype(int))
    points = []
    for count in counts:
        for _ in range(1 if count == len(generated) else tries):
            subset = rng.choice(len(generated), size=count, replace=False)
            points.append((1.0 / count, frechet_distance(moments(generated[subset]), reference)))
    inverse, distance = np.array(points).T
    return max(0.0, float(np.polyfit(inverse, distance, 1)[1]))
