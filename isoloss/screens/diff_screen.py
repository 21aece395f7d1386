"""What changes between two plans -> lines: jobs, FLOPs, money, answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from isoloss.dsl.vocabulary.quantity_text import flop_text, money_text, share_text, time_text

if TYPE_CHECKING:
    from isoloss.compiler.plans.diff import AnswerChange, PlanDiff, Width


def diff_lines(changes: PlanDiff, currency: str, limit: int | None) -> list[str]:
    if changes.empty:
        return [f"nothing changes: {changes.same} jobs are the same"]
    lines = [f"setting {change}" for change in changes.settings[:limit]]
    if limit is not None and len(changes.settings) > limit:
        lines.append(f"and {len(changes.settings) - limit} more settings (--long)")
    groups = (
        ("+", "added", [f"{j.name} ({flop_text(j.cost.flops)})" for j in changes.added]),
        ("-", "dropped", [f"{j.name} ({flop_text(j.cost.flops)})" for j in changes.removed]),
        ("~", "changed, will run again", [b.name for _, b in changes.replaced]),
        ("*", "in another state", [f"{b.name}: {a.state} -> {b.state}" for a, b in changes.moved]),
    )
    for sign, word, names in groups:
        if names:
            lines.append(f"{len(names)} jobs {word}")
            if sign == "~":
                lines += [
                    f"  because {f.field} {f.before} -> {f.after} ({f.jobs} jobs)"
                    for f in changes.fields[:limit]
                ]
            lines += [f"  {sign} {name}" for name in names[:limit]]
            if limit is not None and len(names) > limit:
                lines.append(f"  {sign} and {len(names) - limit} more (--long)")
    lines.append(f"{changes.same} jobs in both")
    lines.append(f"compute {_signed(changes.flops, flop_text)}")
    if changes.usd is not None:
        lines.append(f"money {_signed(changes.usd, money_text)} {currency}")
    if changes.seconds is not None:
        later = (
            ""
            if changes.makespan_seconds is None
            else f"; by the clock {_signed(changes.makespan_seconds, time_text)}"
        )
        lines.append(f"device-time {_signed(changes.seconds, time_text)}{later}")
    for answer in changes.answers:
        states = f"{answer.before or 'not asked'} -> {answer.after or 'not asked'}"
        widths = f"{_width(answer.width_before)} -> {_width(answer.width_after)}"
        lines.append(f"answer {answer.name}: {states}, loss {widths}{_verdict(answer)}")
    return lines


def _signed(value: float, show: Callable[[float], str]) -> str:
    return ("+" if value >= 0 else "-") + show(abs(value))


def _width(width: Width | None) -> str:
    """`±2.3%`, with whether it is only expected."""
    if width is None:
        return "not estimated"
    said = f"±{share_text(width.half)}" if width.half < 1 else "not known"
    return f"{said} expected" if width.expected else said


def _verdict(answer: AnswerChange) -> str:
    """Whether the answer is better or worse known, where both sides say how well in the same way."""
    before, after = answer.width_before, answer.width_after
    if before is None or after is None or before.expected != after.expected or before.half == after.half:
        return ""
    return f" ({'gained' if after.half < before.half else 'lost'})"
