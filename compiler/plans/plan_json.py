"""Plan <-> PLAN.json, the file that a plan is kept in.

Same plan, same bytes. Pure."""

from __future__ import annotations

import orjson

from isoloss.compiler.plan import Plan

READABLE_JOBS = 2_000


def plan_from_json(text: bytes | str) -> Plan:
    """Read and validate a plan. Raises pydantic.ValidationError (a ValueError) with the place of each fault."""
    # pydantic loads only where a plan crosses a file boundary.
    from pydantic import TypeAdapter

    return TypeAdapter(Plan).validate_json(text)


def plan_to_json(plan: Plan) -> bytes:
    """PLAN.json, keys sorted: same plan, same bytes. Two-space indent up to READABLE_JOBS jobs and dropped cells;
    nobody reads more, and the spaces are half of the text."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    if len(plan.jobs) + len(plan.dropped) <= READABLE_JOBS:
        option |= orjson.OPT_INDENT_2
    return orjson.dumps(plan, option=option)
