"""Two plans -> what changed: jobs added, dropped, changed in state; FLOPs, money; answers gained or lost.
Pure.

Jobs are compared by id, which is what they mean: a renamed or moved one has not changed."""

from __future__ import annotations

from dataclasses import dataclass

from isoloss.compiler.plan import Answer, Job, Plan, Range
from isoloss.compiler.totals import bill_flops


@dataclass(frozen=True, slots=True)
class AnswerChange:
    """`width` is the relative half-width of the loss interval, None where not estimated."""

    name: str
    before: str | None
    after: str | None
    width_before: float | None
    width_after: float | None


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """`replaced`: pairs with the same name and another meaning; they are not in `added` and `removed`. Money
    and
    FLOPs are after - before; None where one side doesn't know."""

    added: tuple[Job, ...]
    removed: tuple[Job, ...]
    replaced: tuple[tuple[Job, Job], ...]
    moved: tuple[tuple[Job, Job], ...]
    same: int
    flops: float
    usd: float | None
    answers: tuple[AnswerChange, ...]

    @property
    def empty(self) -> bool:
        return not (self.added or self.removed or self.replaced or self.moved or self.answers)


def diff(before: Plan, after: Plan) -> PlanDiff:
    """What turns `before` into `after`."""
    old, new = {j.id: j for j in before.jobs}, {j.id: j for j in after.jobs}
    gone = {j.name: j for j in before.jobs if j.id not in new}
    come = {j.name: j for j in after.jobs if j.id not in old}
    both = [name for name in gone if name in come]
    moved = tuple((old[id], new[id]) for id in new if id in old and old[id].state != new[id].state)
    usd_before, usd_after = before.totals["all"].usd, after.totals["all"].usd
    return PlanDiff(
        added=tuple(j for name, j in come.items() if name not in gone),
        removed=tuple(j for name, j in gone.items() if name not in come),
        replaced=tuple((gone[name], come[name]) for name in both),
        moved=moved,
        same=sum(1 for id in new if id in old),
        flops=bill_flops(after.totals["all"]) - bill_flops(before.totals["all"]),
        usd=usd_after.mid - usd_before.mid if usd_before is not None and usd_after is not None else None,
        answers=tuple(_answers(before, after)),
    )


def _answers(before: Plan, after: Plan) -> list[AnswerChange]:
    old, new = {a.name: a for a in before.answers}, {a.name: a for a in after.answers}
    changes = []
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name), new.get(name)
        change = AnswerChange(name, a.status if a else None, b.status if b else None, _width(a), _width(b))
        if change.before != change.after or change.width_before != change.width_after:
            changes.append(change)
    return changes


def _width(answer: Answer | None) -> float | None:
    loss: Range | None = answer.values.get("loss") if answer is not None else None
    return None if loss is None or not loss.mid else (loss.high - loss.low) / 2 / loss.mid
