"""A PLAN.json from disk -> a checked Plan, or the one diagnostic that says why not.

P101 unreadable, P102 not JSON, P103 not a plan of this format, P104 edited by hand: an id that its spec
doesn't
have. A plan from a stranger is data: nothing in it is executed or imported."""

from __future__ import annotations

from pathlib import Path

import orjson

from isoloss.compiler.plan import FORMAT, Plan, job_id, plan_from_json
from isoloss.dsl.diagnostics import Diagnostic, Span

#: A plan of a million jobs has about a gigabyte; more is refused unread.
LIMIT_BYTES = 2**30


def read_plan(path: str | Path) -> tuple[Plan | None, Diagnostic | None]:
    """(plan, None) or (None, diagnostic). Raises nothing for any content of the file."""
    name = str(path)
    try:
        if Path(path).stat().st_size > LIMIT_BYTES:
            return None, Diagnostic("P101", f"`{name}` is over {LIMIT_BYTES:,} bytes: not read")
        text = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        return None, Diagnostic(
            "P101", f"can't read `{name}`: {reason}", help=("write one: `isoloss plan FILE -o`",)
        )
    return parse_plan(text, name)


def parse_plan(text: bytes, name: str) -> tuple[Plan | None, Diagnostic | None]:
    """`read_plan` on text already read."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        span = Span(name, error.lineno, error.colno, error.lineno, error.colno + 1)
        return None, Diagnostic("P102", f"`{name}` is not JSON: {error.msg}", span, help=(_AGAIN,))
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        said = f"its format is `{found}`" if found is not None else "it names no format"
        return None, Diagnostic(
            "P103", f"`{name}` is not a plan of format `{FORMAT}`: {said}", help=(_AGAIN,)
        )
    try:
        plan = plan_from_json(text)
    except (ValueError, TypeError) as error:
        return None, Diagnostic("P103", f"`{name}` is not a whole plan: {_first(error)}", help=(_AGAIN,))
    return _check_ids(plan, name)


def _check_ids(plan: Plan, name: str) -> tuple[Plan | None, Diagnostic | None]:
    seen: set[str] = set()
    for job in plan.jobs:
        if job.id in seen:
            return None, Diagnostic("P104", f"`{name}` has job {job.id} twice", help=(_AGAIN,))
        seen.add(job.id)
        if job_id(job.kind, job.spec) != job.id:
            headline = f"`{name}` was edited: the spec of job {job.id} ({job.name}) is not the one of its id"
            helps = ("change the study, not the plan: `isoloss plan FILE -o PLAN.json`",)
            return None, Diagnostic("P104", headline, help=helps)
    missing = next((need for job in plan.jobs for need in job.needs if need not in seen), None)
    if missing is not None:
        return None, Diagnostic("P104", f"`{name}` lacks job {missing}, which others need", help=(_AGAIN,))
    return plan, None


_AGAIN = "write it again: `isoloss plan FILE -o PLAN.json`"


def _first(error: Exception) -> str:
    """The first fault of a pydantic error, with its place; another error's own words."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first = errors()[0]
        return f"`{'.'.join(str(p) for p in first['loc'])}`: {first['msg'].lower()}"
    return str(error)
