"""A design in words: why each run is bought, what each dropped one would have bought, what can't be known.

In: Design. Out: Choice, with notes for every question and for the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from isoloss.compiler.design.choice import PINNED, Candidate, Choice
from isoloss.compiler.design.expected_widths import facts, three_digits
from isoloss.compiler.design.feasibility import infeasible_questions
from isoloss.compiler.design.greedy import without_each
from isoloss.compiler.design.situation import Design
from isoloss.compiler.observed.study_fits import settle
from isoloss.dsl.study.study import Study
from isoloss.dsl.vocabulary.quantity_text import around_text, flop_text, share_text, wider_text

#: Questions that a reason names, at most, and the change of an interval that is worth naming.
_NAMED, _NOTHING = 3, 1e-3
_WHAT = {"loss": "loss", "size": "N*", "fit": "exponent a, or parameters,"}
_STAGE = {
    "pilot": "the pilot",
    "slice": "this slice",
    "all": "the plan",
    "complete": "the plan",
}


def choice_of(made: Design, study: Study, candidates: Sequence[Candidate]) -> Choice:
    """Chosen: what is finished or begun, and the slice. Reasons say how each question's interval would change;
    gains are relative variance reductions of the answers, mean over questions."""
    s = made.situation
    questions = _questions(made)
    reasons: dict[int, str] = {
        i: "bought before: finished runs are kept and counted" for i in s.owned if i not in s.begun
    }
    reasons |= dict.fromkeys(s.begun, "bought before: begun, so it is brought to its end")
    reasons |= {c.index: PINNED for c in candidates if c.pinned}
    shares = {name: without_each(made.slice, columns) for name, columns in questions.items()}
    for k, i in enumerate(made.slice.order):
        reasons[i] = (
            f"number {k + 1} of {len(made.slice.order)} in {_STAGE[made.stage]}: "
            f"{_without({name: float(share[k]) for name, share in shares.items()})}"
        )
    covariance = made.slice.covariance
    gains, narrower = (
        covariance.gain(),
        {name: covariance.gain_of(columns) for name, columns in questions.items()},
    )
    foreseen = set(made.foreseen.order)
    left = s.available - made.slice.spending.spent
    dropped = [c.index for c in candidates if c.index not in reasons]
    for i in dropped:
        would = _with({name: float(share[i]) for name, share in narrower.items()})
        reasons[i] = _why_dropped(i in foreseen, float(made.slice.spending.price[i]), left, would)
    return with_notes(
        made,
        study,
        Choice(
            chosen=tuple(sorted({*s.owned, *made.slice.order})),
            dropped=tuple(dropped),
            reasons=reasons,
            flops=made.slice.spending.spent,
            gains={i: three_digits(float(gains[i])) for i in dropped},
        ),
    )


def _questions(made: Design) -> dict[str, list[int]]:
    """Columns of the answers by question."""
    found: dict[str, list[int]] = {}
    for column, target in enumerate(made.situation.state.targets):
        found.setdefault(target.question, []).append(column)
    return found


def with_notes(made: Design, study: Study, choice: Choice) -> Choice:
    """The choice with what the design knows about its questions."""
    known: dict[str, Any] = settle(facts(made))
    return replace(
        choice,
        notes=tuple(_notes(made)),
        answers=_answers(made, known),
        facts=known,
        problems=tuple(infeasible_questions(made, study)),
    )


def _without(shares: Mapping[str, float]) -> str:
    """What the questions lose without a run that takes these shares of their variance, most first."""
    wider = {name: (1.0 - min(share, 1 - 1e-15)) ** -0.5 for name, share in shares.items()}
    parts = [f"`{name}` would be {wider_text(wider[name])}" for name in _ranked(wider, 1.0 + _NOTHING)]
    return f"without it the interval of {', of '.join(parts)}" if parts else "hardly missed by itself"


def _with(shares: Mapping[str, float]) -> str:
    """What the questions would gain by it, most first."""
    narrower = {name: 1.0 - (1.0 - share) ** 0.5 for name, share in shares.items()}
    parts = [f"`{name}` by {share_text(narrower[name])}" for name in _ranked(narrower, _NOTHING)]
    return f"would narrow the interval of {', of '.join(parts)}" if parts else "would tell next to nothing"


def _ranked(values: Mapping[str, float], least: float) -> list[str]:
    """Names of the largest values, if they reach `least`."""
    ranked = sorted(values, key=lambda name: -values[name])
    return [name for name in ranked[:_NAMED] if values[name] >= least]


def _why_dropped(foreseen: bool, price: float, left: float, would: str) -> str:
    if price > left:
        return f"over budget: needs {flop_text(price)}, {flop_text(max(0.0, left))} are left; {would}"
    if foreseen:
        return f"foreseen for a later slice; {would}"
    return f"others tell more for their cost: for {flop_text(price)} it {would}"


def _notes(made: Design) -> list[str]:
    s = made.situation
    notes = []
    if made.slice.order and all(b.points == 0 for b in s.posteriors):
        notes.append(
            f"nothing is measured yet: the design starts from a prior, assumed (published exponents, wide), and "
            f"the first {len(made.slice.order)} runs are a pilot"
        )
    if s.pool.assumed:
        listed = ", ".join(f"`{g}` {s.pool.fids[g]:.3g}" for g in s.pool.assumed)
        notes.append(f"fids not measured yet are assumed for the design: {listed}")
    alone = [
        f"`{each.declared.name}`"
        for each in s.laws
        if each.law.pointwise
        and each.declared.base is None
        and each.declared.quality is None
        and each.declared.errors == "independent"
    ]
    if alone:
        notes.append(
            f"fit {' and '.join(dict.fromkeys(alone))} takes errors as independent; the design counts what neighbours "
            f"and replicates share once, as `errors = correlated` does"
        )
    return notes


def _answers(made: Design, known: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Notes per question: how well it is known now, after the slice, with all the money, and the bound."""
    found: dict[str, list[str]] = {}
    for row in known["answers"]:
        found.setdefault(row["question"], []).append(
            f"design, {row['law']}: {_WHAT[row['what']]} {_expected(made, row)} (95 %){_floor(row)}"
        )
    return {name: tuple(notes) for name, notes in found.items()}


def _expected(made: Design, row: Mapping[str, Any]) -> str:
    def around(width: float) -> str:
        return f"±{width:.2g}" if row["what"] == "fit" else around_text(width)

    now, after, end = (around(row[key]) for key in ("now", "after_slice", "whole_budget"))
    if made.slice.spending.spent <= made.situation.before()[1].spent:
        return f"{now} by what is bought"
    text = f"expected {after} after the runs of this plan, {now} before"
    return text if after == end else f"{text}; {end} with the whole budget"


def _floor(row: Mapping[str, Any]) -> str:
    bound = row["no_plan_below"]
    if bound is None:
        return ""
    least = f"±{bound:.2g}" if row["what"] == "fit" else around_text(bound)
    return f"; no plan at this budget comes below {least} (seed noise alone)"
