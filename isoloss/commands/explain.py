"""`isoloss explain JOB PLAN`: why a job exists, what its cost is made of, what would make it run again."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoloss.compiler.explain import Explanation

EXAMPLE = """examples:
  isoloss plan examples/quickstart.study -o PLAN.json
  isoloss explain 'runs/cnn(2)/fine/4k' PLAN.json
  isoloss explain 3fa9 PLAN.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("job", metavar="JOB", help="a job's name, or the start of its id")
    parser.add_argument("plan", metavar="PLAN", help="a PLAN.json or a .study file")
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", help="change a setting of the study"
    )
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.compiler.explain import explain, find
    from isoloss.errors import fault
    from isoloss.planning import plan_of

    plan, _ = plan_of(
        arguments.plan, profile=arguments.profile, overrides=arguments.set, store=arguments.store
    )
    found = find(plan, arguments.job)
    if not found:
        names = [job.name for job in plan.jobs]
        raise fault("P106", f"no job `{arguments.job}` in this plan", *_close(arguments.job, names))
    if len(found) > 1:
        listed = ", ".join(f"{job.id[:8]} ({job.name})" for job in found[:6])
        raise fault("P106", f"`{arguments.job}` names {len(found)} jobs", f"say more of the id: {listed}")
    explanation = explain(plan, found[0])
    if arguments.json:
        import orjson

        sys.stdout.write(orjson.dumps(explanation, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print("\n".join(_lines(explanation, plan.budget)))
    return 0


def _close(text: str, names: list[str]) -> list[str]:
    from difflib import get_close_matches

    near = get_close_matches(text, names, n=3, cutoff=0.5)
    help = [f"did you mean {', '.join(f'`{n}`' for n in near)}?"] if near else []
    return [*help, "`isoloss plan --long` lists names and ids"]


def _lines(e: Explanation, budget: Any) -> list[str]:
    from isoloss.commands.quantities import columns, flop, money, size, time_range

    currency = str(budget.get("currency") or "USD")
    lines = [f"{e.name}  ({e.kind} job {e.id}, {e.state})", f"  why        {e.reason}"]
    if e.place:
        lines.append(f"  declared   {e.place}")
    lines += [f"  needs      {name or 'a job that is not in this plan'} ({id[:8]})" for id, name in e.needs]
    lines += [f"  needed by  {name} ({id[:8]})" for id, name in e.users[:8]]
    if len(e.users) > 8:
        lines.append(f"  needed by  and {len(e.users) - 8} more")
    rows = [(part.name, flop(part.flops), part.how) for part in e.bill]
    if not e.cost.unknown:
        rows.append(("together", flop((e.cost.flops or 0.0) + e.cost.evaluation_flops), ""))
    lines += ["", "what it costs", *(_bill_line(row) for row in rows)]
    lines.append(f"  time       {time_range(e.cost.seconds)} on one device")
    if e.cost.usd is not None:
        lines.append(f"  money      {money(e.cost.usd, currency)}")
    if e.cost.memory_bytes is not None:
        lines.append(f"  memory     {size(e.cost.memory_bytes)} at once, the whole batch on one device")
    lines.append(f"  storage    {size(e.cost.storage_bytes)}")
    lines += ["", "what it is: a change of any of these makes it another job, which runs"]
    return lines + columns(list(e.identity.items()), left=2)


def _bill_line(row: tuple[str, str, str]) -> str:
    return f"  {row[0]:<27}{row[1]:>14}   {row[2]}".rstrip()
