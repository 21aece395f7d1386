"""Quantities as people read them: FLOP, time, bytes, money, ranges. Not a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isoloss.compiler.plan import Range

_FLOP = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIME = ((86400 * 365.25, "y"), (86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_ENERGY = ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"), (0.0, "Wh"))
NOTHING = "–"


def flop(value: float | None) -> str:
    """7.56e21 -> `7.56 ZFLOP`."""
    if value is None:
        return "not estimated"
    for size, letter in _FLOP:
        if value >= size:
            return f"{value / size:.3g} {letter}FLOP"
    return f"{value:.3g} FLOP"


def size(value: float | None) -> str:
    if value is None:
        return NOTHING
    for unit, letter in _BYTES:
        if value >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.0f} B"


def time(seconds: float) -> str:
    """Up to two days in smaller units, so that numbers stay comparable: 36 h, not 1.5 d."""
    for unit, letter in _TIME:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {letter}"
    # Below two minutes: 120 s, never 1.2e+02 s.
    return f"{seconds:.3g} s" if seconds >= 100 else f"{seconds:.2g} s"


def time_range(value: Range | None) -> str:
    if value is None:
        return "not estimated"
    return f"{time(value.mid)} ({time(value.low)} to {time(value.high)})"


def span(value: Range) -> str:
    """`22,500 h (12,400 to 49,500)`, `4.1 min (1.5 to 13)`: one unit, hours at most, so that rows compare."""
    unit, word = next(((u, w) for u, w in ((3600.0, "h"), (60.0, "min")) if value.mid >= 2 * u), (1.0, "s"))
    mid, around = _thousands(Range(value.low / unit, value.mid / unit, value.high / unit))
    return f"{mid} {word} ({around})"


def money(value: Range) -> str:
    """`48,600 (26,600 to 107,000)`, without its currency: three digits, cents below a hundred."""
    if value.mid < 100:
        mid, around = f"{value.mid:.2f}", f"{value.low:.2f} to {value.high:.2f}"
    else:
        mid, around = _thousands(value)
    return mid if value.low == value.high else f"{mid} ({around})"


def _thousands(value: Range) -> tuple[str, str]:
    """The middle and `low to high`, three digits each without an exponent, in thousands where the middle has more
    than five: 22,500, 112k."""
    unit, letter = (1e3, "k") if value.mid >= 1e5 else (1.0, "")
    low, mid, high = (
        (f"{float(f'{part:.3g}'):,.0f}" if part >= 100 else f"{part:.3g}") + letter
        for part in (value.low / unit, value.mid / unit, value.high / unit)
    )
    return mid, f"{low} to {high}"


def kwh(value: Mapping[str, float] | None) -> str:
    """`1.2 kWh (0.4 to 3)`, of a plan's low, mid and high: two digits, watts are known no better."""
    if value is None:
        return "not estimated"
    unit, word = next(u for u in _ENERGY if value["mid"] >= u[0])
    low, mid, high = (float(f"{value[k] / (unit or 1e-3):.2g}") for k in ("low", "mid", "high"))
    return f"{mid:,g} {word} ({low:,g} to {high:,g})"


def number(value: float) -> str:
    """A count or a loss: four digits, no exponent where none is needed."""
    if value >= 1e15:
        return f"{value:.3g}"
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def interval(value: Range | None) -> str:
    """`0.724 [0.70, 0.75]`."""
    if value is None:
        return "not estimated"
    if value.low == value.high:
        return number(value.mid)
    return f"{number(value.mid)} [{number(value.low)}, {number(value.high)}]"


def columns(rows: Sequence[tuple[str, ...]], *, left: int = 1, indent: int = 2) -> list[str]:
    """Rows in aligned columns, the first `left` of them flush left, the others right."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return lines
