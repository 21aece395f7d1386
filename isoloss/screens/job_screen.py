"""One job of a plan -> lines: why it exists, what its cost is made of, what would make it another job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from isoloss.dsl.vocabulary.quantity_text import (
    bytes_text,
    flop_text,
    money_range_text,
    time_range_text,
    time_text,
)
from isoloss.screens.layout import columns

if TYPE_CHECKING:
    from isoloss.compiler.plan import Cost
    from isoloss.compiler.plans.explain_job import Explanation


def job_lines(e: Explanation, budget: Any) -> list[str]:

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
    lines += _waits(e)
    lines += ["", "what it is: a change of any of these makes it another job, which runs"]
    return lines + columns(list(e.identity.items()), left=2)


def _resources(cost: Cost, currency: str) -> Iterator[str]:
    """What it takes of devices, money and disks."""
    from isoloss.compiler.cost.scaling import wall_seconds

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
        per_device = f"{place.micro_batch} images at a time, {bytes_text(place.memory_bytes)} on each{zero}"
        yield f"  placement  {place.devices} devices, {per_device}" + ("" if place.fits else ": too much")
        yield from (f"             {advice}" for advice in place.advice)
    yield f"  storage    {bytes_text(cost.storage_bytes)}"
    if cost.transfer_bytes is not None:
        yield f"  transfer   {bytes_text(cost.transfer_bytes)} read from the store and written to it"


def _waits(e: Explanation) -> Iterator[str]:
    """What its seconds are spent on, and where they come from."""
    if not e.waits:
        return
    whole = sum(seconds for _, seconds in e.waits)
    shares = ", ".join(f"{name} {time_text(seconds)} ({seconds / whole:.0%})" for name, seconds in e.waits)
    yield f"  of it      {shares}"
    yield f"  speed      {e.speed}; intervals are 90 %"


def _bill_line(row: tuple[str, str, str]) -> str:
    return f"  {row[0]:<27}{row[1]:>14}   {row[2]}".rstrip()
