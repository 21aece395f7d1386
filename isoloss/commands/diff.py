"""`isoloss diff A B`: what changes between two plans or studies: jobs, FLOPs, money, answers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoloss.compiler.diff import PlanDiff

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
    from isoloss.compiler.diff import diff
    from isoloss.planning import plan_of

    # Beside a plan, the profile is the study's.
    both = all(name.endswith(".json") for name in (arguments.a, arguments.b))
    before, after = (
        plan_of(
            name,
            profile=None if name.endswith(".json") and not both else arguments.profile,
            store=arguments.store,
        )[0]
        for name in (arguments.a, arguments.b)
    )
    found = diff(before, after)
    if arguments.json:
        import orjson

        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        currency = str(after.budget.get("currency") or "USD")
        print("\n".join(_lines(found, currency, None if arguments.long else 8)))
    return 0


def _lines(found: PlanDiff, currency: str, limit: int | None) -> list[str]:
    from isoloss.commands.quantities import flop

    if found.empty:
        return [f"nothing changes: {found.same} jobs are the same"]
    lines = []
    groups = (
        ("+", "added", [f"{j.name} ({flop(j.cost.flops)})" for j in found.added]),
        ("-", "dropped", [f"{j.name} ({flop(j.cost.flops)})" for j in found.removed]),
        ("~", "changed, will run again", [b.name for _, b in found.replaced]),
        ("*", "in another state", [f"{b.name}: {a.state} -> {b.state}" for a, b in found.moved]),
    )
    for sign, word, names in groups:
        if names:
            lines.append(f"{len(names)} jobs {word}")
            lines += [f"  {sign} {name}" for name in names[:limit]]
            if limit is not None and len(names) > limit:
                lines.append(f"  {sign} and {len(names) - limit} more (--long)")
    lines.append(f"{found.same} jobs in both")
    sign = "+" if found.flops >= 0 else "-"
    lines.append(f"compute {sign}{flop(abs(found.flops))}")
    if found.usd is not None:
        lines.append(f"money {found.usd:+,.2f} {currency}")
    for answer in found.answers:
        widths = [f"{w:.2%}" if w is not None else "–" for w in (answer.width_before, answer.width_after)]
        states = f"{answer.before or 'not asked'} -> {answer.after or 'not asked'}"
        lines.append(f"answer {answer.name}: {states}, half-width {widths[0]} -> {widths[1]}")
    return lines
