"""A design in words: why each run is bought, what each dropped one would have bought, what can't be known.

In: Design. Out: Choice, with notes for every question and for the plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from isoloss.compiler.design.choice import PINNED, Candidate, Choice
from isoloss.compiler.design.doubt import doubts
from isoloss.compiler.design.greedy import without_each
from isoloss.compiler.design.planner import Design, facts
from isoloss.compiler.fits import settle
from isoloss.dsl.study import Study

_STAGE = {
    "pilot": "the pilot",
    "slice": "this slice",
    "all": "the plan",
    "complete": "the plan",
}


def choice_of(made: Design, study: Study, candidates: Sequence[Candidate]) -> Choice:
    """Chosen: what is finished or begun, and the slice. Reasons and gains in relative variance reduction of
    the answers, mean over questions."""
    s = made.situation
    names = ", ".join(f"`{q}`" for q in dict.fromkeys(t.question for t in s.state.targets))
    reasons: dict[int, str] = {
        i: "bought before: finished runs are kept and counted" for i in s.owned if i not in s.begun
    }
    reasons |= dict.fromkeys(s.begun, "bought before: begun, so it is brought to its end")
    reasons |= {c.index: PINNED for c in candidates if c.pinned}
    values = without_each(made.slice)
    for number, (i, value) in enumerate(zip(made.slice.order, values, strict=True), 1):
        reasons[i] = (
            f"number {number} of {len(made.slice.order)} in {_STAGE[made.stage]}: without it the variance "
            f"of {names} would be {_more(value)} larger"
        )
    gains = made.slice.belt.gain()
    foreseen = set(made.foreseen.order)
    left = s.available - made.slice.purse.spent
    dropped = [c.index for c in candidates if c.index not in reasons]
    for i in dropped:
        reasons[i] = _why_dropped(
            i in foreseen, float(made.slice.purse.price[i]), left, float(gains[i]), made.stage
        )
    choice = Choice(
        chosen=tuple(sorted({*s.owned, *made.slice.order})),
        dropped=tuple(dropped),
        reasons=reasons,
        flops=made.slice.purse.spent,
        gains={i: float(f"{gains[i]:.6g}") for i in dropped},
    )
    return told(made, study, choice)


def told(made: Design, study: Study, choice: Choice) -> Choice:
    """The choice with what the design knows about its questions."""
    known: dict[str, Any] = settle(facts(made))
    return replace(
        choice,
        notes=tuple(_notes(made)),
        answers=_answers(known),
        facts=known,
        problems=tuple(doubts(made, study)),
    )


def _more(share: float) -> str:
    """A share of the variance without the run, as growth of the variance with it."""
    return f"{share / max(1.0 - share, 1e-9):.2%}"


def _why_dropped(foreseen: bool, price: float, left: float, gain: float, stage: str) -> str:
    would = f"would take {gain:.2%} of the answers' variance"
    if price > left:
        return f"over budget: needs {price:.3g} FLOP, {max(0.0, left):.3g} FLOP are left; {would}"
    if foreseen:
        return f"waits for {_STAGE[stage]}: foreseen for the rest of the budget; {would}"
    return f"others tell more for their cost: {would} for {price:.3g} FLOP"


def _notes(made: Design) -> list[str]:
    s = made.situation
    notes = []
    if made.slice.order and all(b.points == 0 for b in s.beliefs):
        notes.append(
            f"nothing is measured yet: the design starts from a prior, assumed (published exponents, wide), and "
            f"the first {len(made.slice.order)} runs are a pilot"
        )
    if s.pool.assumed:
        listed = ", ".join(f"`{g}` {s.pool.fids[g]:.3g}" for g in s.pool.assumed)
        notes.append(f"fids not measured yet are assumed for the design: {listed}")
    return notes


def _answers(known: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Notes per question: how well it is known now, after the slice, with all the money, and the bound."""
    found: dict[str, list[str]] = {}
    unit = {"loss": "log loss", "size": "ln N*", "fit": "exponent a or parameters"}
    for row in known["answers"]:
        bound = row["no_plan_below"]
        floor = (
            "" if bound is None else f"; no plan at this budget comes below {bound:.2g} (seed noise alone)"
        )
        found.setdefault(row["question"], []).append(
            f"design, {row['law']}: 95 % half-width of {unit[row['what']]} expected {row['now']:.2g} now, "
            f"{row['after_slice']:.2g} with the runs of this plan, {row['whole_budget']:.2g} with the whole "
            f"budget{floor}"
        )
    return {name: tuple(notes) for name, notes in found.items()}
