"""Amounts in the compiler's messages, as a study writes them. Pure."""

from __future__ import annotations

import math

_PREFIXES = (
    (1e21, "Z"),
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
)
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_DIGITS = 3


def flop_text(flops: float, *, up: bool = False) -> str:
    """1.49e12 -> `1.49 TFLOP`, three digits. `up`: never less than the amount, for a bound to be written."""
    amount = _rounded_up(flops) if up else float(f"{flops:.{_DIGITS}g}")
    size, letter = next(((s, p) for s, p in _PREFIXES if s <= amount < 1000 * s), (1.0, ""))
    return f"{amount / size:.{_DIGITS}g} {letter}FLOP"


def bytes_text(size: float) -> str:
    """6.15e11 -> `615 GB`, three digits."""
    unit, name = next(((u, n) for u, n in _BYTES if size >= u), (1.0, "bytes"))
    return f"{size / unit:.{_DIGITS}g} {name}"


def share_text(share: float) -> str:
    """.0781 -> `7.8%`, two digits."""
    return f"{times_text(100 * share)}%"


def times_text(ratio: float) -> str:
    """6.109 -> `6.1`, 4024 -> `4,000`: two digits, never with an exponent."""
    if not ratio < 1e6:
        return "more than a million"
    return f"{ratio:.2g}" if ratio < 99.5 else f"{float(f'{ratio:.2g}'):,.0f}"


def wider_text(ratio: float) -> str:
    """A width over a smaller one: 1.058 -> `5.8% wider`, 6.1 -> `6.1 times as wide`."""
    return f"{share_text(ratio - 1)} wider" if ratio < 2 else f"{times_text(ratio)} times as wide"


def around_text(half_width: float) -> str:
    """A half-width of a logarithm: .078 -> `±7.8%`, 1.8 -> `within a factor of 6`."""
    return f"±{share_text(half_width)}" if half_width < 0.25 else f"within a factor of {_factor(half_width)}"


def _factor(log: float) -> str:
    return times_text(math.exp(log)) if log < 20 else times_text(math.inf)


def time_text(seconds: float) -> str:
    """86400 -> `24 h`, three digits; up to two days in hours, so that a study's own numbers come back."""
    unit, name = next(((u, n) for u, n in _TIMES if seconds >= 2 * u), (1.0, "s"))
    return f"{seconds / unit:.{_DIGITS}g} {name}"


def _rounded_up(amount: float) -> float:
    """The next number of three digits that is not less."""
    rounded = float(f"{amount:.{_DIGITS}g}")
    if rounded >= amount or not math.isfinite(amount):
        return rounded
    return float(f"{rounded + 10 ** (math.floor(math.log10(amount)) - _DIGITS + 1):.{_DIGITS}g}")
