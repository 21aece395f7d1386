"""Axes: data range -> positions in [0, 1] and the ticks a reader would have chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from isoloss.dsl.vocabulary.quantity_text import decimal_text

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows. `low`/`high` fix an end of its range; None: taken from the data with `pad`."""

    label: str
    scale: Literal["linear", "log"] = "linear"
    write: Callable[[float], str] = decimal_text
    low: float | None = None
    high: float | None = None
    pad: float = 0.04  # of the range, on each free end
    marks: tuple[float, ...] = ()  # ticks to use instead of computed ones, where in range


@dataclass(frozen=True, slots=True)
class Span:
    """An axis over [low, high], low < high (both positive on a log scale)."""

    low: float
    high: float
    log: bool

    def at(self, value: float) -> float:
        """Position of `value` along the axis; outside [0, 1] when outside the range, NaN when undefined."""
        if self.log:
            if not value > 0:
                return math.nan
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def span_of(axis: Axis, values: Iterable[float]) -> Span:
    """The range of `axis` over finite (positive, if log) `values`; a stand-in range when there are none."""
    log = axis.scale == "log"
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    low = axis.low if axis.low is not None else min(known, default=1.0 if log else 0.0)
    high = axis.high if axis.high is not None else max(known, default=10.0 if log else 1.0)
    if low >= high:  # one value only: open a range around it
        low, high = (low / 2, low * 2) if log else (low - 0.5, low + 0.5)
    if log:
        stretch = (high / low) ** axis.pad
        return Span(
            low if axis.low is not None else low / stretch,
            high if axis.high is not None else high * stretch,
            True,
        )
    margin = (high - low) * axis.pad
    return Span(
        low if axis.low is not None else low - margin, high if axis.high is not None else high + margin, False
    )


def ticks(span: Span, axis: Axis, most: int) -> tuple[list[Tick], list[float]]:
    """At most about `most` labelled ticks inside the range, and unlabelled minor ones."""
    write = axis.write
    if axis.marks:
        return [(v, write(v)) for v in axis.marks if span.low <= v <= span.high], []
    if not span.log:
        return [(v, write(v)) for v in _linear(span, most)], []
    decades = math.log10(span.high / span.low)
    if decades < 0.7:
        return [(v, write(v)) for v in _linear(span, most)], []
    minors = [m * 10.0**e for e in _exponents(span) for m in range(2, 10)]
    for multiples in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        marks = [m * 10.0**e for e in _exponents(span) for m in multiples]
        inside = [v for v in marks if span.low * 0.9999 <= v <= span.high * 1.0001]
        if 2 <= len(inside) <= most:
            break
    else:
        step = math.ceil(decades / most)
        inside = [10.0**e for e in _exponents(span) if e % step == 0]
        inside = [v for v in inside if span.low * 0.9999 <= v <= span.high * 1.0001]
        minors = [10.0**e for e in _exponents(span)]
    return [(v, write(v)) for v in inside], [v for v in minors if span.low <= v <= span.high]


def _exponents(span: Span) -> range:
    return range(math.floor(math.log10(span.low)), math.ceil(math.log10(span.high)) + 1)


def _linear(span: Span, most: int) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 × 10ⁿ inside the range."""
    raw = (span.high - span.low) / max(1, most - 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first = math.ceil(span.low / step - 1e-9)
    last = math.floor(span.high / step + 1e-9)
    # round() takes away the last bit of k × 0.1, which would print as 0.30000000000000004.
    return [round(k * step, 12) for k in range(first, last + 1)]
