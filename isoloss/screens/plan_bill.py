"""What a plan costs -> lines: a row per kind of job, then time on the clock, disks and energy."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.plan import KINDS, Cost, Plan, Range
from isoloss.compiler.plans.totals import wall_kwh
from isoloss.dsl.vocabulary.quantity_text import (
    bytes_text,
    device_time_text,
    energy_text,
    flop_text,
    money_range_text,
    time_text,
)
from isoloss.screens.layout import columns, wrapped


def bill(plan: Plan) -> list[str]:
    currency = str(plan.budget.get("currency") or "USD")
    priced = any(total.usd is not None for total in plan.totals.values())
    rows = [("", "jobs", "compute", "device-time", currency if priced else "")]
    # JSON sorts keys; the screen follows the work.
    for kind in (*KINDS, "all"):
        if kind in plan.totals:
            rows.extend(_rows(plan, kind, plan.totals[kind]))
    waiting_flops = float(plan.budget["waiting_flops"])
    if waiting_flops:
        rows.insert(-1, ("kept for `allocate`", "", flop_text(waiting_flops), "", ""))
    return [
        "what it costs",
        *columns(rows),
        *(line for sentence in _sums(plan) for line in wrapped(sentence)),
    ]


def _rows(plan: Plan, kind: str, total: Cost) -> Iterator[tuple[str, str, str, str, str]]:
    jobs = len(plan.jobs) if kind == "all" else sum(1 for job in plan.jobs if job.kind == kind)
    everything = (total.flops or 0.0) + (total.evaluation_flops if kind == "all" else 0.0)
    if kind == "all":
        everything += plan.budget["waiting_flops"]
    compute = flop_text(everything) if everything or not total.unknown else "not estimated"
    word = KINDS[kind].words if kind in KINDS else "together"
    spent = "" if total.seconds is None else device_time_text(total.seconds)
    cash = "" if total.usd is None else money_range_text(total.usd)
    yield word, f"{jobs:,}", compute, spent, cash
    if kind == "train" and total.evaluation_flops:
        yield "  on the way", "", flop_text(total.evaluation_flops), "", ""


def _sums(plan: Plan) -> Iterator[str]:
    """Time on the clock, disks, energy, and where jobs lie."""
    b = plan.budget
    devices = b["devices"]
    if b.get("compute_flops") is not None:
        spent = f", {flop_text(b['spent_flops'])} of it spent" if b.get("spent_flops") else ""
        yield f"the budget is {flop_text(b['compute_flops'])}{spent}"
    on = f"{devices['count']} of {devices['kind']}"
    bound, schedule = max(b["work_bound_seconds"], b["path_bound_seconds"]), b.get("schedule")
    if schedule and schedule["makespan_seconds"]:
        least = max(schedule["work_bound_seconds"], schedule["path_bound_seconds"])
        why = (
            "all work over all devices"
            if schedule["work_bound_seconds"] >= least
            else "the longest chain of jobs"
        )
        makespan = time_text(schedule["makespan_seconds"])
        yield f"{makespan} on {on}; no schedule is shorter than {time_text(least)}, {why}"
    elif bound:
        yield f"at least {time_text(bound)} on {on}"
    chains = b.get("chains") or {}
    if chains.get("jobs"):
        limit = time_text(b["walltime_seconds"])
        yield f"{chains['jobs']:,} jobs outlast the walltime of {limit}: chains of up to {chains['longest']} links"
    placed = [job.cost.placement for job in plan.jobs if job.cost.placement is not None]
    fitting = [place.devices for place in placed if place.fits and place.devices > 1]
    if fitting:
        room = f"one {devices['kind']} can't hold their batches"
        yield f"{len(fitting):,} jobs take up to {max(fitting)} devices each: {room}"
    if any(not place.fits for place in placed):
        yield f"{sum(not place.fits for place in placed):,} jobs fit on no number of these devices"
    volumes = [
        f"{bytes_text(b.get('used_storage_bytes'))} stored",
        f"{bytes_text(b.get('transfer_bytes'))} moved",
    ]
    energy = (b.get("energy_kwh") or {}).get("all")
    if energy is not None:
        device = Range(**energy)
        volumes.append(f"{energy_text(device)} in the devices, {energy_text(wall_kwh(device))} at the wall")
    yield ", ".join(volumes)
