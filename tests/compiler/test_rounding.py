"""What a plan's fitted numbers are rounded to."""

from __future__ import annotations

import pytest

from isoloss.compiler.rounding import rounded


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1 / 3, 0.3333333333),
        (1.23456789012345, 1.23456789),
        (2 / 3 * 1e20, 6.666666667e19),
        (-1e-7 / 3, -3.333333333e-08),
    ],
)
def test_ten_digits_stay(value: float, kept: float) -> None:
    assert rounded(value) == kept


def test_two_numbers_that_differ_in_the_tenth_digit_stay_two() -> None:
    assert rounded(1.000000001) != rounded(1.000000002)
    assert rounded(1.0000000001) == rounded(1.00000000011)
