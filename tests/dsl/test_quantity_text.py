"""Numbers with a unit as text: short, exact to their digits, in units that the language reads back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.dsl.vocabulary import quantity_text as q
from isoloss.dsl.vocabulary.units import UNITS

_SUFFIXES = {"k": 1e3, "M": 1e6, "B": 1e9}


class Interval(NamedTuple):
    low: float
    mid: float
    high: float


def _in_language_units(text: str) -> float:
    """What the language reads: `1.49 TFLOP` -> 1.49e12, `77.3M` -> 7.73e7, `7.8%` -> .078."""
    number, _, unit = text.partition(" ")
    if number.endswith("%"):
        number, unit = number[:-1], "%"
    if number[-1] in _SUFFIXES:
        return float(number[:-1]) * _SUFFIXES[number[-1]]
    return float(number) * (float(UNITS[unit][1]) if unit in UNITS else 1.0)


WRITERS: dict[str, tuple[Callable[[float], str], float, float]] = {
    "FLOP": (q.flop_text, 1e-3, 1e30),
    "bytes": (q.bytes_text, 1.0, 1e20),
    "time": (q.time_text, 1e-3, 1e12),
    "images": (q.count_text, 1.0, 1e15),
    "accuracy": (q.accuracy_text, 1e-6, 1.0),
    "loss": (q.decimal_text, 1e-9, 1e9),
}


def _amounts(name: str) -> st.SearchStrategy[float]:
    """All magnitudes, and what lies within a thousandth of a step between two units."""
    _, low, high = WRITERS[name]
    steps = [10.0**e for e in range(31)] + [c * s for s in (60.0, 3600.0, 86400.0) for c in (1, 2, 48, 120)]
    near = st.builds(lambda step, off: step * (1 + off), st.sampled_from(steps), st.floats(-1e-3, 1e-3))
    every = st.floats(math.log(low), math.log(high)).map(math.exp)
    return st.one_of(every, near.filter(lambda value: low <= value <= high))


@pytest.mark.parametrize("name", WRITERS)
@given(data=st.data())
def test_a_text_reads_back_to_three_digits_without_an_exponent(name: str, data: st.DataObject) -> None:
    value = data.draw(_amounts(name))
    text = WRITERS[name][0](value)
    assert "e" not in text.split()[0]
    # Half of the third digit, of a number that may begin with 1.
    assert _in_language_units(text) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize("name", WRITERS)
@given(data=st.data())
def test_a_larger_amount_never_reads_as_less(name: str, data: st.DataObject) -> None:
    small, large = sorted(data.draw(st.tuples(_amounts(name), _amounts(name))))
    write = WRITERS[name][0]
    assert _in_language_units(write(small)) <= _in_language_units(write(large)) * (1 + 1e-12)


@pytest.mark.parametrize("name", ["FLOP", "bytes", "images"])
@given(data=st.data())
def test_units_step_at_a_thousand(name: str, data: st.DataObject) -> None:
    value = data.draw(_amounts(name))
    text = WRITERS[name][0](value)
    number = float(text.split()[0].rstrip("kMB"))
    largest = text.endswith((" ZFLOP", " TB", "B"))
    assert number < 1000 or largest
    assert number >= 1 or value < 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (q.flop_text(0.0), "0 FLOP"),
        (q.flop_text(999.6), "1 kFLOP"),
        (q.flop_text(9.996e20), "1 ZFLOP"),
        (q.flop_text(1.4938e12), "1.49 TFLOP"),
        (q.flop_text(1e25), "10000 ZFLOP"),
        (q.count_text(999_600), "1M"),
        (q.count_text(944), "944"),
        (q.count_text(1.63e11), "163B"),
        (q.bytes_text(6.15e11), "615 GB"),
        (q.bytes_text(12.0), "12 bytes"),
        (q.time_text(86400), "24 h"),
        (q.time_text(119.9), "2 min"),
        (q.time_text(119.4), "119 s"),
        (q.time_text(5400), "90 min"),
        (q.time_text(9450, 2), "2.6 h"),
        (q.money_text(0.001, "USD"), "under 0.01 USD"),
        (q.money_text(99.996), "100"),
        (q.money_text(48_612, "USD"), "48,600 USD"),
        (q.decimal_text(-0.0123), "-0.0123"),
        (q.accuracy_text(0.7351), "73.5%"),
        (q.flop_text(None), "not estimated"),
        (q.decimal_text(math.nan), "not estimated"),
        (q.interval_text((0.41, 0.55)), "0.41 .. 0.55"),
        (q.interval_text((0.41, math.nan)), "not estimated"),
        (q.estimate_text(Interval(6.9e7, 7.73e7, 8.2e7), "params"), "77.3M [69M, 82M]"),
        (q.device_time_text(Interval(4.464e7, 8.1e7, 1.782e8)), "22,500 h (12,400 to 49,500)"),
        (q.money_range_text(Interval(9e4, 1.12e5, 2e5)), "112k (90k to 200k)"),
        (q.money_range_text(Interval(5, 5, 5)), "5.00"),
        (q.energy_text(Interval(0.4, 1.2, 3)), "1.2 kWh (0.4 to 3)"),
    ],
)
def test_numbers_read_as_people_write_them(written: str, expected: str) -> None:
    assert written == expected


def test_a_bound_is_rounded_up() -> None:
    assert q.flop_text(1.4938e12, up=True) == "1.5 TFLOP"
    assert q.flop_text(1.5e12, up=True) == "1.5 TFLOP"
    assert q.flop_text(9.999e11, up=True) == "1 TFLOP"


@given(st.floats(min_value=1, max_value=1e30))
def test_what_is_advised_suffices_and_is_near(flops: float) -> None:
    written = _in_language_units(q.flop_text(flops, up=True))
    # One part in 10^12 for the division by the unit.
    assert flops * (1 - 1e-12) <= written <= flops * 1.011
