"""Units are types: the table of unit words, and arithmetic that keeps dimensions apart.

In: literals and operators. Out: `Amount`s, exact. Canonical units are those of `Study`: FLOP, seconds, bytes,
money in its currency; percent is a fraction of one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

#: unit word -> (dimension, factor to the canonical unit). Storage counts in powers of 1000.
UNITS: dict[str, tuple[str, Fraction]] = {
    "FLOP": ("compute", Fraction(1)),
    **{
        f"{prefix}FLOP": ("compute", Fraction(10) ** (3 * power))
        for power, prefix in enumerate("kMGTPEZ", start=1)
    },
    "s": ("time", Fraction(1)),
    "min": ("time", Fraction(60)),
    "h": ("time", Fraction(3600)),
    "d": ("time", Fraction(86400)),
    "kB": ("storage", Fraction(10) ** 3),
    "MB": ("storage", Fraction(10) ** 6),
    "GB": ("storage", Fraction(10) ** 9),
    "TB": ("storage", Fraction(10) ** 12),
    "USD": ("money", Fraction(1)),
    "EUR": ("money", Fraction(1)),
    "%": ("percent", Fraction(1, 100)),
}

#: dimension -> the words a message uses for it: (with article, bare).
PHRASES: dict[str, tuple[str, str]] = {
    "plain": ("a plain number", "plain number"),
    "percent": ("a percentage", "percentage"),
    "compute": ("an amount of compute", "compute"),
    "time": ("a time", "time"),
    "storage": ("an amount of storage", "storage"),
    "money": ("an amount of money", "money"),
    "price": ("a price per time", "price"),
    "tariff": ("a price per amount of data", "price per amount of data"),
    "rate": ("a rate of compute", "compute per time"),
    "bandwidth": ("a rate of data", "data per time"),
    "pixels": ("a fraction of the pixel range", "fraction of the pixel range"),
    "images": ("a number of images", "number of images"),
    "fraction": ("a fraction", "fraction"),
}

#: dimension a slot asks for -> dimensions of amounts that fit it.
ACCEPTS: dict[str, frozenset[str]] = {
    "pixels": frozenset({"plain"}),
    "images": frozenset({"plain"}),
    "fraction": frozenset({"plain", "percent"}),
}


@dataclass(frozen=True)
class Amount:
    """An exact number with its dimension; `currency` for money and prices."""

    value: Fraction
    dimension: str = "plain"
    currency: str = ""


def amount(number: Fraction, unit: str) -> Amount:
    """`unit` is a key of UNITS or "". Raises KeyError for another word."""
    if not unit:
        return Amount(number)
    dimension, factor = UNITS[unit]
    return Amount(number * factor, dimension, unit if dimension == "money" else "")


def accepts(wanted: str, found: str) -> bool:
    """Whether an amount of dimension `found` fits where `wanted` is asked for."""
    return found in ACCEPTS.get(wanted, frozenset({wanted}))


def combined(operator: str, left: str, right: str) -> str | None:
    """The dimension of `left operator right`, or None where there is none."""
    table = {"+": _added, "-": _added, "*": _multiplied, "/": _divided}
    if operator in table:
        return table[operator](left, right)
    if operator == "**":
        return "plain" if left == right == "plain" else None
    return None


def _added(left: str, right: str) -> str | None:
    if left == right:
        return left
    # 10% + 0.1: both are fractions of one.
    return "plain" if {left, right} == {"plain", "percent"} else None


def _multiplied(left: str, right: str) -> str | None:
    if {left, right} <= {"plain", "percent"}:
        return "percent" if left == right == "percent" else "plain"
    if left in ("plain", "percent"):
        return right
    if right in ("plain", "percent"):
        return left
    products = {
        frozenset({"price", "time"}): "money",
        frozenset({"tariff", "storage"}): "money",
        frozenset({"rate", "time"}): "compute",
        frozenset({"bandwidth", "time"}): "storage",
    }
    return products.get(frozenset({left, right}))


def _divided(left: str, right: str) -> str | None:
    if right in ("plain", "percent"):
        return left
    if left == right:
        return "plain"
    quotients = {
        ("money", "time"): "price",
        ("money", "storage"): "tariff",
        ("compute", "time"): "rate",
        ("storage", "time"): "bandwidth",
    }
    return quotients.get((left, right))


def show(value: Fraction) -> str:
    """A number as a person would write it: `10000000`, `0.15`, `8/255`."""
    if value.denominator == 1:
        return str(value.numerator) if abs(value) < 10**15 else f"{float(value):.6g}"
    decimal = f"{float(value):.10g}"
    if value.denominator in (17, 51, 85):
        # Pixels have 256 levels: the field writes 48/255.
        return f"{value * 255}/255"
    return decimal if Fraction(decimal) == value else f"{value.numerator}/{value.denominator}"
