"""A PLAN.json from disk -> a checked Plan, or the one diagnostic that says why not.

P101 unreadable, P102 not JSON, P103 not a plan of this format, P104 edited by hand: ids, sums or a study
that don't agree with the rest, P111 of jobs that have come to mean something else. A plan from a stranger is data:
nothing in it is executed or imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.cost.schedule import plan_schedule
from isoloss.compiler.plan import (
    FORMAT,
    KINDS,
    VERSION,
    DiscriminatorSpec,
    EvaluateSpec,
    FidSpec,
    GenerateSpec,
    Plan,
    Spec,
    TrainSpec,
    job_id,
)
from isoloss.compiler.plans.plan_json import plan_from_json
from isoloss.compiler.plans.totals import totals
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span
from isoloss.dsl.study.study_json import study_digest, study_from_json

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
    stale = _other_kinds(data, name)
    if stale is not None:
        return None, stale
    try:
        plan = plan_from_json(text)
        _check_budget(plan)
    except (ValueError, TypeError) as error:
        helps = (*_written_by(data), _AGAIN)
        return None, Diagnostic("P103", f"`{name}` is not a whole plan: {_first(error)}", help=helps)
    checks: tuple[Callable[[Plan], str | None], ...] = (_ids, _needs, _states, _study, _sums, _schedule)
    wrong = next((fault for check in checks if (fault := check(plan)) is not None), None)
    if wrong is not None:
        return None, Diagnostic("P104", f"`{name}` {wrong}", help=(*_written_by(data), _EDITED, _AGAIN))
    return plan, None


def _other_kinds(data: dict[str, Any], name: str) -> Diagnostic | None:
    """P111 where a kind of job has come to mean something else: no id of the plan could be verified."""
    basis = data.get("basis")
    told = basis.get("kinds") if isinstance(basis, dict) else None
    if not isinstance(told, dict):
        return None
    ours = {kind: row.version for kind, row in KINDS.items()}
    other = next((kind for kind in sorted({*told, *ours}) if told.get(kind) != ours.get(kind)), None)
    if other is None:
        return None
    before, after = (f"version {kinds[other]}" if other in kinds else "unknown" for kinds in (told, ours))
    headline = f"`{name}` is stale: jobs of kind `{other}`: {before} -> {after}"
    return Diagnostic("P111", headline, help=(*_written_by(data), _AGAIN))


def _written_by(data: dict[str, Any]) -> tuple[str, ...]:
    """By which isoloss, where that isn't this one."""
    basis = data.get("basis")
    version = basis.get("version") if isinstance(basis, dict) else "of an earlier version"
    return () if version == VERSION else (f"it was written by isoloss {version}, this is {VERSION}",)


# What a plan says twice must agree. Each check gives the end of a sentence about the file, or None.


def _ids(plan: Plan) -> str | None:
    seen: set[str] = set()
    for job in plan.jobs:
        if job.id in seen:
            return f"has job {job.id} twice"
        seen.add(job.id)
        if job_id(job.spec) != job.id:
            return f"was edited: the spec of job {job.id} ({job.name}) is not the one of its id"
    missing = next((need for job in plan.jobs for need in job.needs if need not in seen), None)
    return None if missing is None else f"lacks job {missing}, which others need"


def _needs(plan: Plan) -> str | None:
    # Specs name their inputs by id, and ids are hashes of specs: right needs can't make a circle.
    for job in plan.jobs:
        if set(job.needs) != set(_inputs(job.spec)):
            return f"was edited: job {job.id} ({job.name}) needs other jobs than its spec names"
    return None


def _inputs(spec: Spec) -> tuple[str, ...]:
    match spec:
        case FidSpec(samples=samples):
            return samples
        case TrainSpec(data=data):
            shards = data.get("shards", ())
            return tuple(map(str, shards)) if isinstance(shards, list | tuple) else ()
        case EvaluateSpec(network=network):
            return (network,)
        case DiscriminatorSpec(generated=generated):
            return generated
        case GenerateSpec(sampler=sampler, denoiser=denoiser):
            judge = sampler.get("discriminator")
            named = (denoiser.get("job"), judge.get("job") if isinstance(judge, Mapping) else None)
            return tuple(str(id) for id in named if id is not None)
        case _:
            return ()


def _study(plan: Plan) -> str | None:
    try:
        digest = study_digest(study_from_json(dict(plan.study)))
    except (ValueError, TypeError, KeyError) as error:
        return f"was edited, or written by another version: its study can't be read: {_line(error)}"
    return None if digest == plan.digest else "was edited: its digest is not the one of its study"


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _states(plan: Plan) -> str | None:
    wrong = next((job for job in plan.jobs if (job.state == "done") != (job.id in plan.basis.results)), None)
    if wrong is None:
        return None
    counted = "counts on its result" if wrong.id in plan.basis.results else "counts on no result of it"
    return f"was edited: job {wrong.id} ({wrong.name}) is `{wrong.state}`, and the plan {counted}"


def _schedule(plan: Plan) -> str | None:
    said = plan.budget.get("schedule")
    try:
        restart = 0.0 if said is None else float(said["restart_seconds"])
        made = plan_schedule(plan.jobs, plan.budget, restart)
        agrees = _agree(said, None if made is None else made.summary())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        agrees = False
    return None if agrees else "was edited: its schedule is not the one of its jobs"


def _agree(said: Mapping[str, Any] | None, made: Mapping[str, Any] | None) -> bool:
    """To the digits that a plan keeps: what a restart costs was rounded before the rest is made of it."""
    if said is None or made is None:
        return said is made
    return said.keys() == made.keys() and all(isclose(said[name], made[name], rel_tol=1e-3) for name in made)


def _sums(plan: Plan) -> str | None:
    return None if plan.totals == totals(plan.jobs) else "was edited: its totals are not the sums of its jobs"


@dataclass(frozen=True, slots=True)
class _Devices:
    count: int
    kind: str


@dataclass(frozen=True, slots=True)
class _Chains:
    jobs: int
    longest: int


@dataclass(frozen=True, slots=True)
class _Profile:
    device: str
    provenance: str


@dataclass(frozen=True, slots=True)
class _Budget:
    """What readers of a plan's `budget` count on; it may hold more."""

    compute_flops: float | None
    used_flops: float
    spent_flops: float
    reserved_flops: float
    waiting_flops: float
    devices: _Devices
    device_hours: float | None
    walltime_seconds: float | None
    chains: _Chains
    price_per_device_hour: float | None
    currency: str
    storage_bytes: float | None
    used_storage_bytes: float | None
    choose: str
    work_bound_seconds: float
    path_bound_seconds: float
    profile: _Profile


def _check_budget(plan: Plan) -> None:
    """Raises pydantic.ValidationError (a ValueError)."""
    # pydantic loads only where a plan crosses a file boundary.
    from pydantic import TypeAdapter

    TypeAdapter(dict[str, _Budget]).validate_python({"budget": plan.budget})


_EDITED = "change the study, not the plan"
_AGAIN = "write it again: `isoloss plan FILE -o PLAN.json`"


def _first(error: Exception) -> str:
    """The first fault of a pydantic error, with its place; another error's own words."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first = errors()[0]
        return f"`{'.'.join(str(p) for p in first['loc'])}`: {first['msg'].lower()}"
    return str(error)
