"""What people type for a number, a comment or a time: one message that names it, with what to write first."""

from __future__ import annotations

import pytest

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.syntax.parse import parse_study

SLIPS = [
    ("let a = 8K", "U106", "8k"),
    ("let a = 5m", "U106", "5M"),
    ("let a = 10mio", "U106", "10M"),
    ("let a = [1k, 5m]", "U106", "5M"),
    ("let a = [2G]", "U106", "2B"),
    ("let a = 0x10", "U106", "decimal"),
    ("let a = 12 hours", "U106", "`h`"),
    ("let a = 5,000", "S101", "5_000"),
    ("let a = 5'000", "S101", "5_000"),
    ("let a = 0,1", "S101", "0.1"),
    ("let a = $2.5/h", "S101", "2.5 USD/h"),
    ("let a = 24:00:00", "S101", "24 h"),
    ("// why", "S101", "#"),
    ("/* why */", "S101", "#"),
    ("let a = 8k // why", "S101", "#"),
]


@pytest.mark.parametrize(("line", "code", "fix"), SLIPS, ids=[line for line, _, _ in SLIPS])
def test_a_slip_has_one_message_with_its_fix(line: str, code: str, fix: str) -> None:
    report = Report()
    parse_study(f"study tiny {{\n  dataset digits\n  {line}\n  let after = 1\n}}\n", "tiny.study", report)
    [found] = report.diagnostics()
    assert (found.code, found.span.line if found.span else 0) == (code, 3)
    assert fix in found.help[0]


def test_lists_are_no_decimal_commas() -> None:
    report = Report()
    assert (
        parse_study("study tiny { let a = [0,1] let b = [(1,200), (2,300)] }", "tiny.study", report)
        is not None
    )
    assert not report.diagnostics()
