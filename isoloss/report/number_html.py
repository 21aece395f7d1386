"""Numbers of a plan or of observations -> HTML: short on the page, full precision in `<data value=…>`.

A script can read the page, and a test can hold it against the plan."""

from __future__ import annotations

import math
from html import escape

from isoloss.compiler.plan import Range
from isoloss.dsl.vocabulary.quantity_text import NOT_ESTIMATED, writer

#: HTML for a number that nothing estimated.
MISSING = f'<span class="none">{NOT_ESTIMATED}</span>'


def data(value: float, quantity: str = "plain") -> str:
    """HTML of one number: text for people, `value` in full for scripts."""
    # numpy's floats would print their type.
    return f'<data value="{float(value)!r}">{escape(writer(quantity)(value))}</data>'


def interval(value: Range | None, quantity: str = "plain") -> str:
    """HTML of an estimate with its 95 % interval."""
    return MISSING if value is None else span(value.mid, value.low, value.high, quantity)


def span(mid: float, low: float | None, high: float | None, quantity: str = "plain") -> str:
    """HTML of a number and its interval; where none is known it says so. An interval of no width is a number
    that was given (a compute budget), not estimated."""
    if low == mid == high:
        return data(mid, quantity)
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f'{data(mid, quantity)} <span class="none">(no interval)</span>'
    return f'{data(mid, quantity)} <span class="ci">[{data(low, quantity)}, {data(high, quantity)}]</span>'
