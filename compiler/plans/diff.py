"""Two plans -> what changed: settings; jobs added, dropped, changed and why; FLOPs, money, time; how well answers
are known. Pure.

Jobs are compared by id, which is what they mean: a renamed or moved one has not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoloss.compiler.plan import Answer, Job, Plan, Range
from isoloss.compiler.plans.explain_job import INPUTS, identity
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.study.changes import Change, changes
from isoloss.dsl.study.study_json import study_from_json


@dataclass(frozen=True, slots=True)
class Width:
    """The relative 95 % half-width of an answer's loss; `expected` after the plan's runs, by its design, or as
    answered."""

    half: float
    expected: bool


@dataclass(frozen=True, slots=True)
class AnswerChange:
    """`before` and `after` are states of an answer, None where it isn't asked; widths None where not
    estimated."""

    name: str
    before: str | None
    after: str | None
    width_before: Width | None
    width_after: Width | None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of specs that makes so many jobs other jobs; their inputs' ids aside."""

    field: str
    before: str
    after: str
    jobs: int


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """`settings` of the study that differ, whether they touch a job or not. `replaced`: pairs with the same name and
    another meaning, because of `fields`; they are not in `added` and `removed`. Money, FLOPs, device-seconds and
    makespan are after - before; None where one side doesn't know."""

    settings: tuple[Change, ...]
    added: tuple[Job, ...]
    removed: tuple[Job, ...]
    replaced: tuple[tuple[Job, Job], ...]
    moved: tuple[tuple[Job, Job], ...]
    same: int
    flops: float
    usd: float | None
    seconds: float | None
    makespan_seconds: float | None
    fields: tuple[FieldChange, ...]
    answers: tuple[AnswerChange, ...]

    @property
    def empty(self) -> bool:
        return not (
            self.settings or self.added or self.removed or self.replaced or self.moved or self.answers
        )


def diff(before: Plan, after: Plan) -> PlanDiff:
    """What turns `before` into `after`."""
    old, new = {j.id: j for j in before.jobs}, {j.id: j for j in after.jobs}
    gone = {j.name: j for j in before.jobs if j.id not in new}
    come = {j.name: j for j in after.jobs if j.id not in old}
    both = [name for name in gone if name in come]
    moved = tuple((old[id], new[id]) for id in new if id in old and old[id].state != new[id].state)
    first, last = before.totals["all"], after.totals["all"]
    replaced = tuple((gone[name], come[name]) for name in both)
    return PlanDiff(
        settings=tuple(changes(study_from_json(dict(before.study)), study_from_json(dict(after.study)))),
        added=tuple(j for name, j in come.items() if name not in gone),
        removed=tuple(j for name, j in gone.items() if name not in come),
        replaced=replaced,
        moved=moved,
        same=sum(1 for id in new if id in old),
        flops=bill_flops(last) - bill_flops(first),
        usd=_later(_mid(first.usd), _mid(last.usd)),
        seconds=_later(_mid(first.seconds), _mid(last.seconds)),
        makespan_seconds=_later(_makespan(before), _makespan(after)),
        fields=_fields(replaced),
        answers=tuple(_answers(before, after)),
    )


def _makespan(plan: Plan) -> float | None:
    made = plan.budget.get("schedule")
    return None if not made else float(made["makespan_seconds"])


def _mid(value: Range | None) -> float | None:
    return None if value is None else value.mid


def _later(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _fields(replaced: Sequence[tuple[Job, Job]]) -> tuple[FieldChange, ...]:
    counts: dict[tuple[str, str, str], int] = {}
    for old, new in replaced:
        was, now = dict(identity(old.kind, old.spec)), dict(identity(new.kind, new.spec))
        for name in dict.fromkeys((*was, *now)):
            if was.get(name) != now.get(name) and name not in INPUTS:
                key = name, was.get(name, "none"), now.get(name, "none")
                counts[key] = counts.get(key, 0) + 1
    return tuple(FieldChange(*key, count) for key, count in counts.items())


def _answers(before: Plan, after: Plan) -> list[AnswerChange]:
    old, new = {a.name: a for a in before.answers}, {a.name: a for a in after.answers}
    changes = []
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name), new.get(name)
        widths = _width(before, a), _width(after, b)
        change = AnswerChange(name, a.status if a else None, b.status if b else None, *widths)
        if change.before != change.after or change.width_before != change.width_after:
            changes.append(change)
    return changes


def _width(plan: Plan, answer: Answer | None) -> Width | None:
    if answer is None:
        return None
    loss: Range | None = answer.values.get("loss")
    if loss is not None and loss.mid:
        return Width((loss.high - loss.low) / 2 / loss.mid, expected=False)
    # Half-widths of log loss, the worst of its laws.
    rows = (plan.budget.get("design") or {}).get("answers") or ()
    mine = [float(r["after_slice"]) for r in rows if r["question"] == answer.name and r["what"] == "loss"]
    return Width(max(mine), expected=True) if mine else None
