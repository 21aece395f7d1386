"""Every B and P code: its wrong example raises it, its right example doesn't."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from doc_commands import commands_of, run_commands

from isoloss.dsl.diagnostics.codes.budget import CODES as BUDGET
from isoloss.dsl.diagnostics.codes.plan import CODES as PLAN

#: Codes that no few lines raise, and where they are raised instead.
ELSEWHERE = {
    "B108": "tests/compiler/test_questions.py",
    "B109": "tests/compiler/test_devices.py",
    "B111": "tests/compiler/test_design.py",
    "B113": "tests/compiler/test_allocations.py",
    "P107": "tests/runtime/test_calibration.py",
    "P108": "tests/runtime/test_calibration.py",
    "P109": "tests/compiler/test_schedule.py",
    "P112": "tests/commands/test_stale_plans.py",
}
#: Said beside a plan, and in its `warnings`; the others stop it.
WARNINGS = {"B104", "B105", "B106", "B107", "B110", "B114", "B116"}


def said(example: str, folder: Path) -> tuple[set[str], int]:
    """The last command's codes and exit status."""
    lines = [f"{line} --json" if line.startswith("$ isoloss") else line for line in example.split("\n")]
    ran = run_commands(commands_of(lines), folder)
    assert all(one.code == 0 for one in ran[:-1]), [one.err for one in ran]
    assert "Traceback" not in ran[-1].err
    data = orjson.loads(ran[-1].out)
    items = data.get("diagnostics", data.get("warnings", []))
    return {item["code"] for item in items}, ran[-1].code


@pytest.mark.parametrize("row", [*BUDGET, *PLAN], ids=lambda row: row.code)
def test_examples(row, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert bool(row.wrong) != (row.code in ELSEWHERE)
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    codes, status = said(row.right, tmp_path / "right")
    assert row.code not in codes
    assert status == 0
    if row.wrong:
        codes, status = said(row.wrong, tmp_path / "wrong")
        assert codes >= {row.code}
        assert status == (0 if row.code in WARNINGS else 1)
