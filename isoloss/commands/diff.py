"""`isoloss diff A B`: what changes between two plans or studies: jobs, FLOPs, money, answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoloss.compiler.plans.diff import AnswerChange, PlanDiff, Width

EXAMPLE = """examples:
  isoloss diff before.study after.study
  isoloss diff PLAN.json examples/quickstart.study --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("a", metavar="A", help="a PLAN.json or a .study file")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--profile", metavar="P", help="a profile of the studies")
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")
    parser.add_argument("--long", action="store_true", help="list every job")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.cli import tell
    from isoloss.compiler.plans.diff import diff
    from isoloss.plans.planning import is_plan, plan_of

    # Beside a plan, the profile is the study's. A stale plan is what a diff is for: told, not refused.
    both = all(map(is_plan, (arguments.a, arguments.b)))
    plans = []
    for name in (arguments.a, arguments.b):
        profile = None if is_plan(name) and not both else arguments.profile
        plan, said = plan_of(name, profile=profile, store=arguments.store, stale="warning")
        if is_plan(name):
            tell(said)
        plans.append(plan)
    before, after = plans
    found = diff(before, after)
    if arguments.json:
        import orjson

        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        currency = str(after.budget.get("currency") or "USD")
        print("\n".join(_lines(found, currency, None if arguments.long else 8)))
    return 0


def _lines(found: PlanDiff, currency: str, limit: int | None) -> list[str]:
    from isoloss.dsl.vocabulary.quantity_text import flop_text, money_text, time_text

    if found.empty:
        return [f"nothing changes: {found.same} jobs are the same"]
    lines = [f"setting {change}" for change in found.settings[:limit]]
    if limit is not None and len(found.settings) > limit:
        lines.append(f"and {len(found.settings) - limit} more settings (--long)")
    groups = (
        ("+", "added", [f"{j.name} ({flop_text(j.cost.flops)})" for j in found.added]),
        ("-", "dropped", [f"{j.name} ({flop_text(j.cost.flops)})" for j in found.removed]),
        ("~", "changed, will run again", [b.name for _, b in found.replaced]),
        ("*", "in another state", [f"{b.name}: {a.state} -> {b.state}" for a, b in found.moved]),
    )
    for sign, word, names in groups:
        if names:
            lines.append(f"{len(names)} jobs {word}")
            if sign == "~":
                lines += [
                    f"  because {f.field} {f.before} -> {f.after} ({f.jobs} jobs)"
                    for f in found.fields[:limit]
                ]
            lines += [f"  {sign} {name}" for name in names[:limit]]
            if limit is not None and len(names) > limit:
                lines.append(f"  {sign} and {len(names) - limit} more (--long)")
    lines.append(f"{found.same} jobs in both")
    lines.append(f"compute {_signed(found.flops, flop_text)}")
    if found.usd is not None:
        lines.append(f"money {_signed(found.usd, money_text)} {currency}")
    if found.seconds is not None:
        later = (
            ""
            if found.makespan_seconds is None
            else f"; by the clock {_signed(found.makespan_seconds, time_text)}"
        )
        lines.append(f"device-time {_signed(found.seconds, time_text)}{later}")
    for answer in found.answers:
        states = f"{answer.before or 'not asked'} -> {answer.after or 'not asked'}"
        widths = f"{_width(answer.width_before)} -> {_width(answer.width_after)}"
        lines.append(f"answer {answer.name}: {states}, loss {widths}{_verdict(answer)}")
    return lines


def _signed(value: float, show: Callable[[float], str]) -> str:
    return ("+" if value >= 0 else "-") + show(abs(value))


def _width(width: Width | None) -> str:
    """`±2.3 %`, with whether it is only expected."""
    from isoloss.dsl.vocabulary.quantity_text import share_text

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
