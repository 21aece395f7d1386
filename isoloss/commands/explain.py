"""`isoloss explain JOB PLAN`: why a job exists, what its cost is made of, what would make it run again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoloss.compiler.plan import Cost
    from isoloss.compiler.plans.explain_job import Explanation

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
    from isoloss.cli import tell
    from isoloss.compiler.plans.explain_job import explain, find
    from isoloss.errors import fault
    from isoloss.plans.planning import is_plan, plan_of

    plan, said = plan_of(
        arguments.plan, profile=arguments.profile, overrides=arguments.set, store=arguments.store
    )
    if is_plan(arguments.plan):
        tell(said)
    found = find(plan, arguments.job)
    if not found:
        names = [job.name for job in plan.jobs]
        helps = _close(arguments.job, names)
        asked = next((a for a in plan.answers if a.name == arguments.job and a.kind == "allocate"), None)
        if asked is not None:
            helps = [f"`{asked.name}` is asked for, and its run is {asked.status}: {'; '.join(asked.notes)}"]
        raise fault("P106", f"no job `{arguments.job}` in this plan", *helps)
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
    from isoloss.dsl.vocabulary.quantity_text import flop_text
    from isoloss.screens.columns import columns

    currency = str(budget.get("currency") or "USD")
    lines = [f"{e.name}  ({e.kind} job {e.id}, {e.state})", f"  why        {e.reason}"]
    if e.place:
        lines.append(f"  declared   {e.place}")
    for word, others in (("needs    ", e.needs), ("needed by", e.users)):
        lines += [
            f"  {word}  {name or 'a job that is not in this plan'} ({id[:8]})" for id, name in others[:8]
        ]
        if len(others) > 8:
            lines.append(f"  {word}  and {len(others) - 8} more")
    rows = [(part.name, flop_text(part.flops), part.how) for part in e.bill]
    if not e.cost.unknown:
        rows.append(("together", flop_text((e.cost.flops or 0.0) + e.cost.evaluation_flops), ""))
    lines += ["", "what it costs", *(_bill_line(row) for row in rows)]
    lines += _resources(e.cost, currency)
    lines += ["", "what it is: a change of any of these makes it another job, which runs"]
    return lines + columns(list(e.identity.items()), left=2)


def _resources(cost: Cost, currency: str) -> Iterator[str]:
    """What it takes of devices, money and disks."""
    from isoloss.compiler.cost.scaling import wall_seconds
    from isoloss.dsl.vocabulary.quantity_text import bytes_text, money_range_text, time_range_text, time_text

    place = cost.placement
    wall = wall_seconds(cost)
    clock = (
        f"; {time_text(wall)} by the clock"
        if wall is not None and place is not None and place.devices > 1
        else ""
    )
    on = f"{place.devices} devices, all of them together" if clock and place is not None else "one device"
    yield f"  time       {time_range_text(cost.seconds)} on {on}{clock}"
    if cost.usd is not None:
        yield f"  money      {money_range_text(cost.usd)} {currency}"
    if cost.memory_bytes is not None:
        yield f"  memory     {bytes_text(cost.memory_bytes)} at once, the whole batch on one device"
    if place is not None:
        zero = f", ZeRO-{place.zero_stage}" if place.zero_stage else ""
        each = f"{place.micro_batch} images at a time_text, {bytes_text(place.memory_bytes)} on each{zero}"
        yield f"  placement  {place.devices} devices, {each}" + ("" if place.fits else ": too much")
        yield from (f"             {advice}" for advice in place.advice)
    yield f"  storage    {bytes_text(cost.storage_bytes)}"
    if cost.transfer_bytes is not None:
        yield f"  transfer   {bytes_text(cost.transfer_bytes)} read from the store and written to it"


def _bill_line(row: tuple[str, str, str]) -> str:
    return f"  {row[0]:<27}{row[1]:>14}   {row[2]}".rstrip()
