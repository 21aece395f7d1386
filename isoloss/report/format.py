"""Numbers as a reader meets them: short on the page, full precision in the markup.

In: floats and Ranges of a plan or of observations. Out: text, or HTML whose `<data value=…>` keeps the exact
number, so that a script can read the page and a test can hold it against the plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from isoloss.compiler.plan import Range

NOT_ESTIMATED = "not estimated"

_PREFIXES = ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float, digits: int = 3) -> str:
    """`value` to so many significant digits, without an exponent where it stays short: 0.7241 -> "0.724"."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "undefined"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if exponent >= 6 or exponent < -4:
        return power(value, digits)
    return f"{value:.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def power(value: float, digits: int = 3) -> str:
    """Scientific notation as people write it: 3.2 × 10²⁴; exact powers of ten as 10²⁴."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    raised = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return raised if mantissa == "1" else f"{mantissa} × {raised}".replace("-", "−")


def count(value: float) -> str:
    """Parameters, images: 944, 21.6k, 53.5M, 1.2B; beyond 10¹² in powers."""
    for scale, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        # 999,600 rounds to 1.00M, not to 1000k.
        if abs(float(f"{value:.2e}")) >= scale:
            if value >= 1e12:
                return power(value)
            return f"{_short(value / scale)}{letter}"
    return _short(value)


def plain(value: float) -> str:
    """A tick: as short as %g makes it, with a proper minus sign; powers of ten where that gets long."""
    text = f"{value:g}"
    return power(value) if "e" in text else text.replace("-", "−")


def _short(value: float) -> str:
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def flops(value: float) -> str:
    """Rule FLOPs with an SI prefix up to zetta: 20 TFLOP, 214 EFLOP; then 10²⁵ FLOP."""
    if value >= 1e24:
        return f"{power(value)} FLOP"
    for scale, letter in _PREFIXES:
        if value >= scale * 0.9995:
            return f"{_short(value / scale)} {letter}FLOP"
    return f"{_short(value)} FLOP"


def seconds(value: float) -> str:
    """A duration in its natural unit: 0.8 s, 42 s, 3.5 min, 12 h, 9 d."""
    for scale, unit, start in ((86400.0, "d", 86400.0), (3600.0, "h", 3600.0), (60.0, "min", 60.0)):
        if value >= start:
            return f"{_short(value / scale)} {unit}"
    return f"{significant(value, 2) if value < 10 else f'{value:.0f}'} s"


#: Where an axis of durations has its marks: what clocks and calendars count in.
TIME_TICKS = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 10 * 86400.0, 100 * 86400.0)


def percent(value: float) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    return f"{100 * value:.1f} %".replace("-", "−")


def size(value: float) -> str:
    """Bytes: 3.2 MB, 1.4 GB (powers of ten)."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= scale:
            return f"{_short(value / scale)} {unit}"
    return f"{value:.0f} B"


def money(value: float, currency: str = "USD") -> str:
    """1,234 USD; below ten with cents, below a cent said so."""
    if 0 < value < 0.005:
        return f"under 0.01 {currency}"
    return f"{value:,.2f} {currency}" if value < 100 else f"{value:,.0f} {currency}"


#: quantity -> how its numbers are written.
WRITERS = {
    "params": count,
    "images": count,
    "flops": flops,
    "loss": significant,
    "accuracy": percent,
    "fid": significant,
    "seconds": seconds,
    "usd": money,
    "bytes": size,
    "plain": significant,
}


def writer(quantity: str) -> Callable[[float], str]:
    """How numbers of a quantity or a typed metric ("accuracy @ clean") are written."""
    return WRITERS.get(quantity.partition(" ")[0], significant)


def data(value: float, quantity: str = "plain") -> str:
    """HTML of one number: text for people, `value` in full for scripts."""
    # numpy's floats would print their type.
    return f'<data value="{float(value)!r}">{escape(writer(quantity)(value))}</data>'


def interval(value: Range | None, quantity: str = "plain") -> str:
    """HTML of an estimate with its 95 % interval; None says that nothing was estimated."""
    if value is None:
        return f'<span class="none">{NOT_ESTIMATED}</span>'
    return span(value.mid, value.low, value.high, quantity)


def span(mid: float, low: float | None, high: float | None, quantity: str = "plain") -> str:
    """HTML of a number and its interval; where none is known it says so. An interval of no width is a number
    that was given (a compute budget), not estimated."""
    if low == mid == high:
        return data(mid, quantity)
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f'{data(mid, quantity)} <span class="none">(no interval)</span>'
    return f'{data(mid, quantity)} <span class="ci">[{data(low, quantity)}, {data(high, quantity)}]</span>'
