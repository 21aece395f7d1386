"""A plan on disk beside what is known now: results, the devices' profile, isoloss itself.

In: a Plan, the store, and the plan that the same study gets today. Out: diagnostics that tell what has changed (P112);
UserError P111 where running the plan would no longer be what it says. Pure but for reading the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from isoloss.compiler.plan import VERSION, DeviceProfile, Observation, Plan, Range, results_digest
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Severity
from isoloss.dsl.vocabulary.quantity_text import (
    decimal_text,
    flop_text,
    money_range_text,
    time_range_text,
    time_text,
)
from isoloss.errors import UserError

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since a plan was made, each as a line that begins with its field. `lost`: results that the plan
    counts on and that are not, or no longer, what they were; `gained`: new ones of its jobs."""

    lost: tuple[str, ...]
    gained: tuple[str, ...]
    profile: tuple[str, ...]
    version: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        return *self.lost, *self.profile, *self.version, *self.gained


def changes_since(
    plan: Plan, observations: Iterable[Observation], profile: DeviceProfile, store: str
) -> Changes:
    """Differences between what a plan was made from and what is known now."""
    results: dict[str, list[Observation]] = {}
    for observation in observations:
        results.setdefault(observation.job, []).append(observation)
    names = {each.id: each.name for each in plan.dropped} | {job.id: job.name for job in plan.jobs}
    counted_on = plan.basis.results
    away = [names.get(id, id) for id in counted_on if id not in results]
    others = [
        names.get(id, id)
        for id in counted_on
        if id in results and results_digest(results[id]) != counted_on[id]
    ]
    new = [job.name for job in plan.jobs if job.id in results and job.id not in counted_on]
    lost = [f"results: {_jobs(away)} {_are(away)} not in `{store}`"] if away else []
    lost += [f"results: {_jobs(others)} {_are(others)} measured anew, with other values"] if others else []
    gained = [f"results: {_jobs(new)} {_are(new)} measured since"] if new else []
    same = plan.basis.version == VERSION
    version = () if same else (f"isoloss: {plan.basis.version} -> {VERSION}",)
    return Changes(tuple(lost), tuple(gained), tuple(_speeds(plan.basis.profile, profile)), version)


def _jobs(names: Sequence[str]) -> str:
    """`3 jobs (a, b, c)`, `1 job (a)`."""
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f"{len(names)} job{'' if len(names) == 1 else 's'} ({shown})"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _speeds(old: DeviceProfile, new: DeviceProfile) -> Iterator[str]:
    """Fields of a device's profile that differ; rates by their middle."""
    rates: tuple[tuple[str, Callable[[float], str], str], ...] = (
        ("flops_per_second", flop_text, "/s"),
        ("values_per_second", decimal_text, " values written/s"),
        ("launch_seconds", time_text, " a launch"),
    )
    for name, show, per in rates:
        for key in dict.fromkeys((*old.speeds, *new.speeds)):
            before, after = (getattr(p.speeds[key], name) if key in p.speeds else None for p in (old, new))
            yield from _speed(f"profile.{key}", before, after, show, per)
    yield from _speed("profile.startup", old.startup_seconds, new.startup_seconds, time_text)
    yield from _speed("profile.watts", old.watts, new.watts, decimal_text, " W")
    if old.memory_bytes != new.memory_bytes:
        yield f"profile.memory: {old.memory_bytes} -> {new.memory_bytes} bytes"
    if old.provenance != new.provenance:
        yield f"profile: {old.provenance} -> {new.provenance}"


def _speed(
    field: str, old: Range | None, new: Range | None, show: Callable[[float], str], per: str = ""
) -> Iterator[str]:
    if old == new:
        return
    before, after = (show(r.mid) + per if r is not None else "not known" for r in (old, new))
    if before == after and old is not None and new is not None:
        before, after = (f"{show(r.mid)}{per} ({show(r.low)} to {show(r.high)})" for r in (old, new))
    yield f"{field}: {before} -> {after}"


# To be shown.


def as_notes(found: Changes, path: str) -> list[Diagnostic]:
    """The changes as a note (P112), for a command that shows the plan as it was made."""
    if not found.lines:
        return []
    helps = (*_rest(found.lines), "what it says of states, speeds and answers is of when it was made")
    return [Diagnostic("P112", f"since `{path}`: {found.lines[0]}", None, "", helps, "warning")]


def _rest(lines: Sequence[str]) -> tuple[str, ...]:
    shown = lines[1:6]
    more = (f"and {len(lines) - 6} more",) if len(lines) > 6 else ()
    return *shown, *more


# To be run.


def check_before_run(
    plan: Plan, now: Plan, changes: Changes, path: str, *, begun: bool, helps: Sequence[str]
) -> list[Diagnostic]:
    """What to tell before a plan is run, `now` being what its study gets today. `begun`: the study was run in the
    store before, so that what was measured since is the plan's own course. Raises UserError P111 where the run
    would not be the one that the plan says, `helps` with it."""
    course = begun and bool(changes.gained) and not changes.lost
    other = list(_other_jobs(plan, now))
    if not other and changes.profile:
        other = list(_dearer(plan, now))
    if not other or course:
        return _going_on(changes, path, course and bool(other))
    lines = changes.lines or ("isoloss: of the same version, with other code or libraries",)
    headline = f"`{path}` is stale: {lines[0]}"
    raise UserError([Diagnostic("P111", headline, help=(*_rest(lines), *other, *helps))])


def _going_on(found: Changes, path: str, grown: bool) -> list[Diagnostic]:
    if not found.lines:
        return []
    said = "the study goes on from there" if grown else "it runs the same jobs"
    severity: Severity = "warning" if found.lost or found.profile or found.version else "note"
    return [
        Diagnostic(
            "P112", f"since `{path}`: {found.lines[0]}", None, "", (*_rest(found.lines), said), severity
        )
    ]


def _other_jobs(plan: Plan, now: Plan) -> Iterator[str]:
    wanted = {job.id for job in plan.jobs if job.state != "done"}
    still = {job.id for job in now.jobs}
    more = [job.name for job in now.jobs if job.state != "done" and job.id not in wanted]
    less = [job.name for job in plan.jobs if job.state != "done" and job.id not in still]
    for names, verb in (
        (more, "would run that the plan does not run"),
        (less, "would not run that the plan runs"),
    ):
        if names:
            yield f"{_jobs(names)} {verb}"


def _dearer(plan: Plan, now: Plan) -> Iterator[str]:
    """Where a new profile brings a total beyond the interval that the plan gave."""
    old, new = plan.totals["all"], now.totals["all"]
    currency = str(plan.budget["currency"])
    for what, before, after, text in (
        ("device-time", old.seconds, new.seconds, time_range_text),
        (f"money in {currency}", old.usd, new.usd, money_range_text),
    ):
        if before is not None and after is not None and after.mid > before.high:
            yield f"{what} would be {text(after)}, the plan says {text(before)}"
