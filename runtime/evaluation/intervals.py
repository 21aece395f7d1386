"""What an evaluation counts and averages, with 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: 97.5 % quantile of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, its 95 % interval and the number of images behind it."""

    value: float
    low: float
    high: float
    count: int


def share(hits: NDArray[np.bool_]) -> Measured:
    """Share of images that are hits, with Wilson's interval: about .9 point each way at 70 % of 10,000."""
    return Measured(*wilson(int(hits.sum()), len(hits)), len(hits))


def mean(values: NDArray[np.floating]) -> Measured:
    """Mean over images with the normal interval of its standard error; one image has none: low = high."""
    values = values.astype(np.float64)
    return Measured(*mean_interval(float(values.sum()), float((values**2).sum()), len(values)), len(values))


def wilson(successes: int, count: int) -> tuple[float, float, float]:
    """Share and its 95 % Wilson interval (Wilson 1927), each in [0, 1]; count >= 1."""
    share = successes / count
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    # Rounding must not push an end past the share itself, nor out of [0, 1].
    return share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def mean_interval(total: float, total_squares: float, count: int) -> tuple[float, float, float]:
    """Mean and its 95 % normal interval from sums over `count` images."""
    mean = total / count
    variance = max(0.0, total_squares / count - mean**2) * count / max(1, count - 1)
    half = Z * math.sqrt(variance / count)
    return mean, mean - half, mean + half
