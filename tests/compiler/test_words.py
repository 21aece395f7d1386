"""Amounts in messages: readable, and a bound that is advised suffices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.dsl.vocabulary.quantity_text import bytes_text, flop_text
from isoloss.dsl.vocabulary.units import UNITS


@pytest.mark.parametrize(
    ("flops", "said"),
    [
        (0.0, "0 FLOP"),
        (1.0, "1 FLOP"),
        (999.6, "1 kFLOP"),
        (1.4938e12, "1.49 TFLOP"),
        (1e21, "1 ZFLOP"),
        (1e25, "1e+25 FLOP"),
    ],
)
def test_flop(flops: float, said: str) -> None:
    assert flop_text(flops) == said


def test_a_bound_is_rounded_up() -> None:
    assert flop_text(1.4938e12, up=True) == "1.5 TFLOP"
    assert flop_text(1.5e12, up=True) == "1.5 TFLOP"
    assert flop_text(9.999e11, up=True) == "1 TFLOP"


def test_bytes() -> None:
    assert bytes_text(6.15e11) == "615 GB"
    assert bytes_text(12.0) == "12 bytes"


@given(st.floats(min_value=1, max_value=1e30))
def test_what_is_advised_suffices_and_is_near(flops: float) -> None:
    number, unit = flop_text(flops, up=True).split()
    written = float(number) * float(UNITS[unit][1])
    # One part in 10^12 for the division by the unit.
    assert flops * (1 - 1e-12) <= written <= flops * 1.011
