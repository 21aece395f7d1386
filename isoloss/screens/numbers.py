"""Numbers as a person reads them: significant digits, magnitudes, intervals. Not a command."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOT_ESTIMATED = "not estimated"


def digits(value: float | None, places: int = 4) -> str:
    """Four significant digits; "not estimated" for None and nan."""
    if value is None or math.isnan(value):
        return NOT_ESTIMATED
    return f"{value:.{places}g}"


def magnitude(value: float | None) -> str:
    """77.3M, 354M, 1.63e+11: counts of parameters and images."""
    if value is None or math.isnan(value):
        return NOT_ESTIMATED
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1000 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def interval(ends: Sequence[float | None] | None, places: int = 4) -> str:
    """`0.41 .. 0.55`, or "not estimated"."""
    if not ends or any(end is None or math.isnan(end) for end in ends):
        return NOT_ESTIMATED
    low, high = (digits(end, places) for end in ends)
    return f"{low} .. {high}"
