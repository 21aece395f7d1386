"""Choose which candidate runs to buy: candidates + questions + fits + budget -> chosen, dropped, and why.

`choose` is the boundary behind which the design may deepen. For now `design` is cheapest-first, and says so.
Pure, and the same before and after runs finish: finished runs keep their place because costs are rule
counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isoloss.compiler.laws.fitted import LawFit
from isoloss.dsl.study import Allocate, Forecast


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run with what it would cost: `flops` its own jobs, `shared` (job id, flops) of jobs that others use
    too.
    What isn't estimated counts zero; the plan names it."""

    index: int
    flops: float
    shared: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ComputeBudget:
    """`compute_flops` None: unbounded. `reserved_flops` is kept for the runs that answer the questions."""

    compute_flops: float | None
    reserved_flops: float
    how: str  # all | cheapest | design


@dataclass(frozen=True, slots=True)
class Choice:
    """Indices of chosen candidates in declaration order; a reason in words for each candidate; notes to
    print."""

    chosen: tuple[int, ...]
    dropped: tuple[int, ...]
    reasons: Mapping[int, str]
    flops: float
    notes: tuple[str, ...] = ()


DESIGN_NOTE = (
    "`choose = design` buys the cheapest runs first, not yet those that tell most about the questions"
)


def choose(
    candidates: Sequence[Candidate],
    questions: Sequence[Forecast | Allocate],
    fits: Mapping[str, LawFit],
    budget: ComputeBudget,
) -> Choice:
    """The runs to buy. Cost of chosen + reserve <= budget, and a larger budget never chooses fewer.

    `all` takes every candidate whatever it costs: the caller refuses a plan over budget. `cheapest` and
    `design`
    take the longest affordable prefix in order of cost; skipping a run to squeeze in a later one would let a
    larger budget choose fewer. `questions` and `fits` are what a deeper design needs."""
    if budget.how == "all" or budget.compute_flops is None:
        total, _ = _prefix(candidates, float("inf"))
        everything = tuple(c.index for c in candidates)
        why = "every cell of its grid runs" if budget.how == "all" else "no compute budget: every cell runs"
        return Choice(everything, (), dict.fromkeys(everything, why), total)
    ordered = sorted(candidates, key=lambda c: (c.flops, c.index))
    available = budget.compute_flops - budget.reserved_flops
    used, taken = _prefix(ordered, available)
    reasons = {
        c.index: f"affordable: number {rank} of {len(ordered)} by cost"
        for rank, c in enumerate(ordered[:taken], 1)
    }
    for rank, candidate in enumerate(ordered[taken:], taken + 1):
        reasons[candidate.index] = (
            f"over budget: number {rank} of {len(ordered)} by cost needs {candidate.flops:.3g} FLOP, "
            f"{max(0.0, available - used):.3g} FLOP are left"
        )
    notes = (DESIGN_NOTE,) if budget.how == "design" and taken < len(ordered) else ()
    return Choice(
        tuple(sorted(c.index for c in ordered[:taken])),
        tuple(sorted(c.index for c in ordered[taken:])),
        reasons,
        used,
        notes,
    )


def _prefix(ordered: Sequence[Candidate], available: float) -> tuple[float, int]:
    """(cost, length) of the longest prefix within `available`; shared jobs are paid once."""
    used = 0.0
    paid: set[str] = set()
    for taken, candidate in enumerate(ordered):
        cost = candidate.flops + sum(flops for id, flops in candidate.shared if id not in paid)
        if used + cost > available:
            return used, taken
        used += cost
        paid.update(id for id, _ in candidate.shared)
    return used, len(ordered)
