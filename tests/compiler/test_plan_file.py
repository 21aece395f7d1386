"""Plans from disk: whatever a plan says twice agrees, or it is refused with one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from studies import plan_of, study

from isoloss.compiler.plans.plan_file import parse_plan
from isoloss.compiler.plans.plan_json import plan_to_json

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return plan_to_json(plan_of(study(tmp_path_factory.mktemp("plans"))))


def test_a_written_plan_is_read_back_whole(written: bytes) -> None:
    plan, problem = parse_plan(written, "PLAN.json")
    assert problem is None
    assert plan is not None
    assert plan_to_json(plan) == written


def _last(plan: dict[str, Any]) -> str:
    return str(plan["jobs"][-1]["id"])


@pytest.mark.parametrize(
    ("edit", "code", "said"),
    [
        (lambda p: p["jobs"].append(p["jobs"][0]), "P104", "twice"),
        (lambda p: p["jobs"].pop(0), "P104", "lacks job"),
        (lambda p: p["jobs"][0].update(id="../../etc"), "P104", "not the one of its id"),
        (lambda p: p["jobs"][0]["needs"].append(_last(p)), "P104", "needs other jobs than its spec names"),
        (lambda p: p["jobs"][-1]["needs"].clear(), "P104", "needs other jobs than its spec names"),
        (lambda p: p["jobs"][0]["cost"].update(flops=1e30), "P104", "not the sums of its jobs"),
        (lambda p: p["totals"].clear(), "P104", "not the sums of its jobs"),
        (lambda p: p.update(digest="0" * 64), "P104", "not the one of its study"),
        (lambda p: p["study"].update(name="other"), "P104", "not the one of its study"),
        (lambda p: p["study"].clear(), "P104", "its study can't be read"),
        (lambda p: p["study"].update(grids=3), "P104", "its study can't be read"),
        (lambda p: p["budget"].clear(), "P103", "`budget.compute_flops`"),
        (lambda p: p["budget"].pop("devices"), "P103", "`budget.devices`"),
        (lambda p: p["budget"]["devices"].update(count="x"), "P103", "`budget.devices.count`"),
        (lambda p: p["jobs"][0].update(state="perhaps"), "P103", "`jobs.0.state`"),
        (lambda p: p["answers"].append({}), "P103", "`answers"),
    ],
)
def test_an_edit_is_found(written: bytes, edit: Edit, code: str, said: str) -> None:
    data = orjson.loads(written)
    edit(data)
    plan, problem = parse_plan(orjson.dumps(data), "PLAN.json")
    assert plan is None
    assert problem is not None
    assert problem.code == code
    assert said in problem.headline
