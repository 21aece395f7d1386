"""Every L code: its wrong example raises exactly it, its right example doesn't, and examples are complete."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import orjson
import pytest
from doc_commands import commands_of, run_commands

from isoloss.dsl.diagnostics.codes.law import CODES

#: Codes whose wrong example can't be a few shell lines, and the test that raises them instead.
ELSEWHERE = {
    "L109": "needs an environment without pyarrow: test_parquet_without_pyarrow",
    "L213": "needs a failed fit as JSON: test_failed_fit_is_refused",
    "L504": "needs finished runs: tests/compiler/test_loop_of_plans.py",
    "L505": "said on stderr beside a plan: tests/commands/test_plan_command.py",
}


@cache
def codes_said(example: str, folder: Path) -> set[str]:
    """Codes of the last command, as JSON says them. Few resamples: intervals are other tests' business."""
    lines = [line if "isoloss" not in line else f"{line} --json" for line in example.splitlines()]
    lines = [line.replace(" --law ", " --resamples 20 --law ") for line in lines]
    ran = run_commands(commands_of(lines), folder)
    assert all(one.code == 0 for one in ran[:-1]), [one.err for one in ran]
    data = orjson.loads(ran[-1].out)
    said = {d["code"] for d in data.get("diagnostics", data.get("warnings", []))}
    assert "Traceback" not in ran[-1].err
    assert ran[-1].code == (1 if "diagnostics" in data else 0) or ran[-1].code == 2
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: every example writes the files it reads."""
    return tmp_path_factory.mktemp("codes")


@pytest.mark.parametrize("row", CODES, ids=lambda row: row.code)
def test_examples(row, folder: Path) -> None:  # type: ignore[no-untyped-def]
    assert row.right
    assert bool(row.wrong) != (row.code in ELSEWHERE)
    assert row.code not in codes_said(row.right, folder)
    if row.wrong:
        assert row.code in codes_said(row.wrong, folder)


def test_codes_are_in_order_and_distinct() -> None:
    numbers = [row.code for row in CODES]
    assert numbers == sorted(set(numbers))
