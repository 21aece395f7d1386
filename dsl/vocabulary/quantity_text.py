"""Numbers with a unit -> text, for every screen, diagnostic, report and help. Pure.

In: floats in canonical units (FLOP, seconds, bytes, shares of one). Out: text in the language's own units, three
significant digits unless a function says otherwise, never with an exponent. A number is rounded before its unit is
chosen: 999,600 images are `1M`. None and nan are "not estimated"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

NOT_ESTIMATED = "not estimated"
_DIGITS = 3

#: (worth, word, first number that the next unit says instead), the smallest unit first.
_Units = tuple[tuple[float, str, float], ...]


def _thousandfold(words: Sequence[str]) -> _Units:
    last = len(words) - 1
    return tuple((1000.0**i, word, math.inf if i == last else 1000) for i, word in enumerate(words))


_FLOP = _thousandfold([f" {prefix}FLOP" for prefix in ("", "k", "M", "G", "T", "P", "E", "Z")])
_BYTES = _thousandfold([" bytes", " kB", " MB", " GB", " TB"])
_COUNT = _thousandfold(["", "k", "M", "B"])
_ENERGY: _Units = ((1e-3, " Wh", 1000), (1.0, " kWh", 1000), (1e3, " MWh", 1000), (1e6, " GWh", math.inf))
#: Up to two days in hours, up to two hours in minutes, so that a study's own numbers come back and rows compare.
_TIME: _Units = ((1.0, " s", 120), (60.0, " min", 120), (3600.0, " h", 48), (86400.0, " d", math.inf))
#: Hours at most: bills compare device-time row by row.
_DEVICE_TIME: _Units = (*_TIME[:2], (3600.0, " h", math.inf))


class Estimate(Protocol):
    """A middle value with its 95 % interval: a plan's `Range`."""

    @property
    def low(self) -> float: ...
    @property
    def mid(self) -> float: ...
    @property
    def high(self) -> float: ...


# One number.


def decimal_text(value: float | None, digits: int = 4) -> str:
    """A loss, an FID, a parameter of a law: `0.7241`, four significant digits."""
    if value is None or math.isnan(value):
        return NOT_ESTIMATED
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = format(Decimal(f"{value:.{digits - 1}e}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def fraction_text(value: float, digits: int = 4) -> str:
    """A number, in 255ths of the pixel range where it is whole ones and no short decimal: `8/255`, `0.1`."""
    levels = round(value * 255)
    if 0 < levels < 255 and abs(value * 255 - levels) < 1e-9 and f"{value:.{digits}g}" != repr(value):
        return f"{levels}/255"
    return decimal_text(value, digits)


def flop_text(flops: float | None, *, up: bool = False) -> str:
    """1.49e12 -> `1.49 TFLOP`. `up`: never less than the amount, for a bound to be written."""
    return _in_unit(_rounded_up(flops) if up and flops is not None else flops, _FLOP)


def bytes_text(size: float | None) -> str:
    """6.15e11 -> `615 GB`, in powers of 1000."""
    return _in_unit(size, _BYTES)


def time_text(seconds: float | None, digits: int = _DIGITS) -> str:
    """86400 -> `24 h`. Estimates of what is left take two digits."""
    return _in_unit(seconds, _TIME, digits)


def count_text(count: float | None) -> str:
    """Parameters or images: 77,300,000 -> `77.3M`."""
    return _in_unit(count, _COUNT)


def money_text(amount: float | None, currency: str = "") -> str:
    """`48,600 USD`; cents below a hundred."""
    if amount is None or math.isnan(amount):
        return NOT_ESTIMATED
    unit = f" {currency}" if currency else ""
    if 0 < abs(amount) < 0.005:
        return f"under 0.01{unit}"
    cents = f"{amount:.2f}"
    return f"{cents if abs(float(cents)) < 100 else _grouped(amount)}{unit}"


def share_text(share: float | None, digits: int = 2) -> str:
    """.0781 -> `7.8%`, two digits."""
    if share is None or math.isnan(share):
        return NOT_ESTIMATED
    return f"{times_text(100 * share, digits)}%"


def shares_text(shares: Mapping[str, float]) -> str:
    """`62% drift, 30% resampling, 8% scatter`: the largest first, what is below 1 % left out."""
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{share:.0%} {name}" for name, share in ranked if share >= 0.01)


def accuracy_text(accuracy: float | None) -> str:
    """.7351 -> `73.5%`."""
    return share_text(accuracy, _DIGITS)


def times_text(ratio: float, digits: int = 2) -> str:
    """6.109 -> `6.1`, 4024 -> `4,000`: two digits."""
    return _grouped(ratio, digits) if ratio < 1e6 else "more than a million"


# Comparisons and intervals.


def wider_text(ratio: float) -> str:
    """A width over a smaller one: 1.058 -> `5.8% wider`, 6.1 -> `6.1 times as wide`."""
    return f"{share_text(ratio - 1)} wider" if ratio < 2 else f"{times_text(ratio)} times as wide"


def around_text(half_width: float) -> str:
    """A half-width of a logarithm: .078 -> `±7.8%`, 1.8 -> `within a factor of 6`."""
    return f"±{share_text(half_width)}" if half_width < 0.25 else f"within a factor of {_factor(half_width)}"


def interval_text(ends: Sequence[float | None] | None, show: Callable[[float], str] = decimal_text) -> str:
    """`0.41 .. 0.55`."""
    known = [end for end in ends or () if end is not None and not math.isnan(end)]
    return " .. ".join(map(show, known)) if len(known) == 2 else NOT_ESTIMATED


def estimate_text(value: Estimate | None, quantity: str) -> str:
    """`0.724 [0.7, 0.75]`: an estimate of one of WRITERS' quantities; a number that was given has no interval."""
    if value is None:
        return NOT_ESTIMATED
    show = writer(quantity)
    given = value.low == value.high
    return show(value.mid) if given else f"{show(value.mid)} [{show(value.low)}, {show(value.high)}]"


def time_range_text(value: Estimate | None) -> str:
    """`36 h (20 h to 3 d)`."""
    if value is None:
        return NOT_ESTIMATED
    return f"{time_text(value.mid)} ({time_text(value.low)} to {time_text(value.high)})"


def device_time_text(value: Estimate) -> str:
    """`22,500 h (12,400 to 49,500)`, `112k h (75k to 190k)`: one unit, hours at most, so that rows compare."""
    return _range_in_unit(value, _DEVICE_TIME)


def money_range_text(value: Estimate) -> str:
    """`48,600 (26,600 to 107,000)`, without its currency; in thousands where the middle has more than five digits."""
    if value.mid >= 100:
        return _range_in_unit(value, ((1.0, "", math.inf),))
    mid, low, high = map(money_text, (value.mid, value.low, value.high))
    return mid if low == high else f"{mid} ({low} to {high})"


def energy_text(value: Estimate | None) -> str:
    """`1.2 kWh (0.4 to 3)`, of kWh: two digits, watts are known no better."""
    return NOT_ESTIMATED if value is None else _range_in_unit(value, _ENERGY, 2)


#: quantity of a plan, a table or a report -> how its numbers are written. Other quantities: `decimal_text`.
WRITERS: dict[str, Callable[[float], str]] = {
    "params": count_text,
    "images": count_text,
    "flops": flop_text,
    "seconds": time_text,
    "bytes": bytes_text,
    "usd": lambda amount: money_text(amount, "USD"),
    "accuracy": accuracy_text,
}


def writer(quantity: str) -> Callable[[float], str]:
    """How numbers of a quantity or a typed metric ("accuracy @ clean") are written."""
    return WRITERS.get(quantity.partition(" ")[0], decimal_text)


# Digits and units.


def _in_unit(value: float | None, units: _Units, digits: int = _DIGITS) -> str:
    if value is None or math.isnan(value):
        return NOT_ESTIMATED
    worth, word = _unit(value, units, digits)
    return decimal_text(value / worth, digits) + word


def _unit(value: float, units: _Units, digits: int = _DIGITS) -> tuple[float, str]:
    """The smallest unit whose number, once rounded, the next one doesn't take over."""
    return next(
        (w, word) for w, word, most in units if most == math.inf or abs(_rounded(value / w, digits)) < most
    )


def _range_in_unit(value: Estimate, units: _Units, digits: int = _DIGITS) -> str:
    """In thousands where the middle has more than five digits."""
    worth, word = _unit(value.mid, units, digits)
    thousand, letter = (1e3, "k") if value.mid / worth >= 1e5 else (1.0, "")
    mid, low, high = (
        _grouped(part / worth / thousand, digits) + letter for part in (value.mid, value.low, value.high)
    )
    return mid + word if value.low == value.high else f"{mid}{word} ({low} to {high})"


def _grouped(value: float, digits: int = _DIGITS) -> str:
    """22,512 -> `22,500`."""
    if not math.isfinite(value) or abs(_rounded(value, digits)) < 100:
        return decimal_text(value, digits)
    return f"{_rounded(value, digits):,.0f}"


def _rounded(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits - 1}e}")


def _rounded_up(amount: float) -> float:
    """The next number of three digits that is not less."""
    rounded = _rounded(amount)
    if rounded >= amount or not math.isfinite(amount):
        return rounded
    return _rounded(rounded + 10 ** (math.floor(math.log10(amount)) - _DIGITS + 1))


def _factor(log: float) -> str:
    return times_text(math.exp(log)) if log < 20 else times_text(math.inf)
