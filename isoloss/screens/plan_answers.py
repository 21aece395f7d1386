"""What a plan answers, or will answer -> lines: each question, what is known of it, how well it will be known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isoloss.compiler.plan import Answer, Plan
from isoloss.dsl.vocabulary.quantity_text import (
    accuracy_text,
    estimate_text,
    flop_text,
    share_text,
    time_text,
)
from isoloss.measured.groups import pair_text
from isoloss.screens.layout import wrapped
from isoloss.screens.paint import Paint

#: Half-widths of log loss and of ln N* beyond which nothing is known worth a number.
UNKNOWN = 1.0


def answers(plan: Plan, paint: Paint) -> list[str]:
    lines: list[str] = []
    fits = [a for a in plan.answers if a.kind == "fit"]
    laws: dict[str, list[Answer]] = {}
    for fit in fits:
        laws.setdefault(fit.name.split("/", 1)[0], []).append(fit)
    widths = (plan.budget.get("design") or {}).get("answers") or []
    for answer in plan.answers:
        if answer.kind != "fit":
            lines.extend(_question(plan, answer, [r for r in widths if r["question"] == answer.name], paint))
    if laws:
        members_text = ", ".join(
            f"{name} ({members[0].laws[0]}, {_state(members)})" for name, members in laws.items()
        )
        lines.extend(wrapped(f"laws: {members_text}"))
    return ["what it will answer", *lines] if lines else []


def _state(members: Sequence[Answer]) -> str:
    counts = Counter(answer.status for answer in members)
    if len(members) == 1:
        return members[0].notes[0] if members[0].status == "pending" else members[0].status
    done = f"{counts['answered']} of " if counts["answered"] and counts["answered"] < len(members) else ""
    return f"{done}{len(members)} of them, one per generator"


def _question(plan: Plan, answer: Answer, rows: Sequence[Mapping[str, Any]], paint: Paint) -> Iterator[str]:
    """A question, then what is known of it in at most a few lines."""
    asked = next((q for q in _declared(plan, answer) if q.get("name") == answer.name), {})
    if answer.kind == "compare":
        yield from _comparison(answer, asked, paint)
        return
    law = f"; by {' and '.join(answer.laws)}"
    first, *rest = wrapped(f"{answer.name}: {_asks(answer, asked)}{law}")
    yield first.replace(answer.name, paint.bold(answer.name), 1)
    yield from rest
    values = {name: value for name, value in answer.values.items() if value is not None}
    if values:
        shown = [f"{_LABELS[name]} {estimate_text(values[name], name)}" for name in _LABELS if name in values]
        yield from wrapped(f"{'so far: ' if answer.status == 'pending' else ''}{', '.join(shown)}", 4)
    measured = {name: value for name, value in answer.measured.items() if value is not None}
    if measured:
        yield from wrapped(
            "measured: " + ", ".join(f"{n} {estimate_text(v, n)}" for n, v in measured.items()), 4
        )
    if answer.status == "pending":
        yield from (line for sentence in _expected(rows) for line in wrapped(sentence, 4))
        if not rows:
            yield from wrapped("pending: " + "; ".join(answer.notes[:2]), 4)
    elif answer.status == "not determined":
        yield from wrapped(paint.warn(f"can't be answered: {answer.notes[-1] if answer.notes else ''}"), 4)
    within = asked.get("within")
    if within is not None:
        yield from (paint.warn(line) for line in wrapped(_out_of_reach(plan, answer, within), 4))


def _comparison(answer: Answer, asked: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """Which groups are compared, and each pair that is known."""
    within = "" if asked.get("within") is None else f", the same within {share_text(asked['within'])}"
    first, *rest = wrapped(
        f"{answer.name}: {answer.metric} under `{answer.evaluation}` by {asked.get('by')}{within}"
    )
    yield first.replace(answer.name, paint.bold(answer.name), 1)
    yield from rest
    for line in pair_lines(answer):
        yield from wrapped(line, 4)
    if answer.status == "pending":
        yield from wrapped("pending: " + "; ".join(answer.notes[:2]), 4)
    elif answer.notes:
        yield from wrapped(paint.warn(answer.notes[-1]), 4)


def pair_lines(answer: Answer, shown: int = 6) -> Iterator[str]:
    """The pairs of a comparison, each with the better one first."""
    for pair in answer.pairs[:shown]:
        yield pair_text(pair, str(answer.metric))
    if len(answer.pairs) > shown:
        yield f"and {len(answer.pairs) - shown} more pairs: --json has all"


_LABELS = {"loss": "loss", "accuracy": "accuracy", "params": "N*", "images": "D*", "flops": "compute"}


def _declared(plan: Plan, answer: Answer) -> Sequence[Mapping[str, Any]]:
    kinds = {"forecast": "forecasts", "allocate": "allocations", "compare": "comparisons"}
    return plan.study.get(kinds[answer.kind]) or ()


def _asks(answer: Answer, asked: Mapping[str, Any]) -> str:
    if answer.kind == "forecast":
        fid = asked.get("fid") or 0
        quality = asked.get("generator") or (f"data of FID {fid:g}" if fid else "real data")
        within = "" if asked.get("within") is None else f", wanted within {share_text(asked['within'])}"
        return f"loss at {flop_text(asked.get('compute_flops'))} on {quality}{within}"
    on = " or ".join(asked.get("generators") or ("?",))
    more = f" or a smaller one for up to {asked['overhead']:.0%} more" if asked.get("overhead") else ""
    if asked.get("accuracy") is not None:
        return f"the cheapest run of accuracy {accuracy_text(asked['accuracy'])} on {on}{more}"
    if asked.get("time_seconds") is not None:
        return f"the best run within {time_text(asked['time_seconds'])} on {on}"
    return f"the best run of {flop_text(asked.get('compute_flops'))} on {on}{more}"


def _expected(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How well each quantity is known now, and how well this plan is expected to leave it: the worst law's."""
    parts = []
    for what, label in (("loss", "loss"), ("size", "N*"), ("fit", "exponent or parameters")):
        widths = [row for row in rows if row["what"] == what]
        if not widths:
            continue
        now, after, rest = (max(r[k] for r in widths) for k in ("now", "after_slice", "whole_budget"))
        more = f", {_width(what, rest)} with the whole budget" if rest < 0.95 * after else ""
        parts.append(f"{label} {_width(what, now)} now, expected {_width(what, after)} after this plan{more}")
    if parts:
        yield "; ".join(parts)


def _width(what: str, half: float) -> str:
    """A half-width of a logarithm, or of an exponent, as a person reads it."""
    if half > UNKNOWN:
        return "not known"
    return f"±{half:.2g}" if what == "fit" else f"±{share_text(math.expm1(half) if what == 'size' else half)}"


def _out_of_reach(plan: Plan, answer: Answer, within: float) -> str:
    """A short line for a tolerance that a warning of the plan calls out of reach; empty without one."""
    for warning in plan.warnings:
        if warning.code in ("B110", "L504") and f"`{answer.name}`" in warning.message:
            return f"within {share_text(within)} is out of reach: {warning.code}, below"
    return ""
