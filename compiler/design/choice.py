"""What a choice of runs is, and the choices that need no law: all, and cheapest-first.

In: candidates with costs, a budget. Out: chosen, dropped, reasons. Pure, and the same before and after runs
finish: finished runs keep their place because costs are rule counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.vocabulary.quantity_text import flop_text


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run with what it would cost: `flops` its own jobs, `shared` (job id, flops) of jobs that others use
    too. What isn't estimated counts zero; the plan names it. `pinned` ones are bought first."""

    index: int
    flops: float
    shared: tuple[tuple[str, float], ...] = ()
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ComputeBudget:
    """`compute_flops` None: unbounded. `reserved_flops` is kept for the runs that answer the questions."""

    compute_flops: float | None
    reserved_flops: float
    how: str  # all | cheapest | design


@dataclass(frozen=True, slots=True)
class Choice:
    """Indices of chosen candidates in declaration order; a reason in words for each candidate; notes to
    print. From a design also: `gains`, what each dropped candidate would have bought (relative variance
    reduction of the answers, in [0, 1]); `answers`, notes per question; `facts` for PLAN.json's budget;
    `problems`, questions that can't be answered."""

    chosen: tuple[int, ...]
    dropped: tuple[int, ...]
    reasons: Mapping[int, str]
    flops: float
    notes: tuple[str, ...] = ()
    gains: Mapping[int, float] = field(default_factory=dict)
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Diagnostic, ...] = ()


PINNED = "pinned by the budget's `pin`"
NO_QUESTION = (
    "`choose = design` has no fit, forecast or allocate to plan for: the cheapest runs are bought first"
)


def choose(candidates: Sequence[Candidate], budget: ComputeBudget) -> Choice:
    """The runs to buy without regard to questions. Cost of chosen + reserve <= budget, and a larger budget
    never chooses fewer.

    `all` takes every candidate whatever it costs: the caller refuses a plan over budget. Otherwise the
    longest affordable prefix in order of cost; skipping a run to squeeze in a later one would let a larger
    budget choose fewer. `design` comes here where there is no question to plan for, and says so."""
    if budget.how == "all" or budget.compute_flops is None:
        why = "every cell of its grid runs" if budget.how == "all" else "no compute budget: every cell runs"
        return everything(candidates, why)
    ordered = sorted(candidates, key=lambda c: (not c.pinned, c.flops, c.index))
    available = budget.compute_flops - budget.reserved_flops
    used, taken = _prefix(ordered, available)
    reasons = {
        c.index: PINNED if c.pinned else f"affordable: number {rank} of {len(ordered)} by cost"
        for rank, c in enumerate(ordered[:taken], 1)
    }
    for rank, candidate in enumerate(ordered[taken:], taken + 1):
        reasons[candidate.index] = (
            f"over budget: number {rank} of {len(ordered)} by cost needs {flop_text(candidate.flops)}, "
            f"{flop_text(max(0.0, available - used))} are left"
        )
    notes = (NO_QUESTION,) if budget.how == "design" and taken < len(ordered) else ()
    return Choice(
        tuple(sorted(c.index for c in ordered[:taken])),
        tuple(sorted(c.index for c in ordered[taken:])),
        reasons,
        used,
        notes,
    )


def everything(candidates: Sequence[Candidate], why: str) -> Choice:
    """All of them, with one reason."""
    chosen = tuple(c.index for c in candidates)
    return Choice(chosen, (), dict.fromkeys(chosen, why), total_flops(candidates))


def total_flops(candidates: Sequence[Candidate]) -> float:
    """What they cost together; shared jobs are paid once."""
    return _prefix(candidates, float("inf"))[0]


def _prefix(ordered: Sequence[Candidate], available: float) -> tuple[float, int]:
    """(cost, length) of the longest prefix within `available`; shared jobs are paid once."""
    used = 0.0
    paid: set[str] = set()
    # Runs with the same needs share one tuple of them: it is paid whole.
    known: set[int] = set()
    for taken, candidate in enumerate(ordered):
        cost, shared = candidate.flops, candidate.shared
        if id(shared) not in known:
            cost += sum(flops for name, flops in shared if name not in paid)
        if used + cost > available:
            return used, taken
        used += cost
        if id(shared) not in known:
            known.add(id(shared))
            paid.update(name for name, _ in shared)
    return used, len(ordered)
