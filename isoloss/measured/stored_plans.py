"""The plans a store keeps: the latest one, and what each job was priced at at first.

In: the `plans/` folder. Out: a Plan and first prices. A later plan prices finished jobs from their own time,
so comparing with it would be hindsight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import VERSION, Plan, Range
from isoloss.compiler.plans.plan_json import plan_from_json
from isoloss.dsl.study.study_json import study_from_json
from isoloss.runtime.disk import storage


@dataclass(frozen=True, slots=True)
class StoredPlans:
    """`latest` None: no plan is kept, or none can be read. `first_seconds`: job id -> planned wall seconds by
    the first plan that had the job; None there: that plan could not estimate it."""

    latest: Plan | None = None
    first_seconds: Mapping[str, Range | None] = field(default_factory=dict)
    revisions: int = 0


def read_plans(folder: Path) -> StoredPlans:
    """The plans of the study that was planned last, by revision. Raises JobError R104 or R105 where the
    folder can't be read; a damaged plan is passed over."""
    with storage("reading the plans"):
        files = sorted(folder.glob("*.json"), key=lambda f: (f.stat().st_mtime_ns, f.name))
        found = [data for file in files if (data := _head(file.read_bytes())) is not None]
    if not found:
        return StoredPlans()
    digest = found[-1][0]["digest"]
    mine = sorted(
        (item for item in found if item[0]["digest"] == digest), key=lambda item: item[0]["revision"]
    )
    first: dict[str, Range | None] = {}
    for head, _ in mine:
        for job in head["jobs"]:
            if job.get("state") != "done":
                first.setdefault(str(job["id"]), _range(job.get("cost", {}).get("seconds")))
    for _, text in reversed(mine):
        if (plan := _plan(text)) is not None:
            return StoredPlans(plan, first, len(mine))
    return StoredPlans(None, first, len(mine))


def latest_plans(folder: Path) -> list[Plan]:
    """The latest readable plan of each study, by name, in the order in which they were last planned. Raises as
    `read_plans`."""
    with storage("reading the plans"):
        files = sorted(folder.glob("*.json"), key=lambda f: (f.stat().st_mtime_ns, f.name))
        found = [data for file in files if (data := _head(file.read_bytes())) is not None]
    latest: dict[str, Plan] = {}
    newest = {head["digest"]: number for number, (head, _) in enumerate(found)}
    # Of one text of a study the highest revision stands, of its texts the one that was planned last.
    for _, text in sorted(found, key=lambda item: (newest[item[0]["digest"]], item[0]["revision"])):
        if (plan := _plan(text)) is None:
            continue
        name = str(plan.study.get("name"))
        latest.pop(name, None)
        latest[name] = plan
    return list(latest.values())


def is_plan(text: bytes) -> bool:
    """Can a store's readers use it?"""
    return _head(text) is not None and _plan(text) is not None


def _plan(text: bytes) -> Plan | None:
    try:
        plan = plan_from_json(text)
        if plan.basis.version == VERSION:
            study_from_json(dict(plan.study))  # another version's study may have other parts
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return plan


def _head(text: bytes) -> tuple[dict[str, Any], bytes] | None:
    """A plan as plain data beside its text; None for what is no plan."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    whole = (
        isinstance(data, dict)
        and isinstance(data.get("digest"), str)
        and isinstance(data.get("revision"), int)
    )
    return (data, text) if whole and _are_jobs(data.get("jobs")) else None


def _are_jobs(jobs: Any) -> bool:
    return isinstance(jobs, list) and all(
        isinstance(job, dict) and isinstance(job.get("id"), str) and isinstance(job.get("cost"), dict)
        for job in jobs
    )


def _range(value: Any) -> Range | None:
    try:
        return Range(float(value["low"]), float(value["mid"]), float(value["high"]))
    except (KeyError, TypeError, ValueError):
        return None
