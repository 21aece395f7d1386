"""Sums over jobs: per kind and all; what the budget allows and what is used of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import ceil
from typing import Any

from isoloss.compiler.cost.scaling import wall_seconds
from isoloss.compiler.cost.schedule import plan_schedule
from isoloss.compiler.plan import KINDS, Cost, DeviceProfile, Job, Range
from isoloss.compiler.plans.dag import critical_path_seconds
from isoloss.compiler.rounding import rounded
from isoloss.dsl.study.study import Budget


class Sum:
    """A running total of Costs. What isn't estimated is left out and said."""

    def __init__(self) -> None:
        self.flops = self.low = self.mid = self.high = 0.0
        self.usd_low = self.usd_mid = self.usd_high = 0.0
        self.memory = self.storage = self.transfer = self.inside = 0.0
        self.timed = self.paid = False
        self.unknown: dict[str, None] = {}

    def add(self, cost: Cost, times: int = 1) -> None:
        """Count a bill that so many jobs share."""
        self.flops += times * (cost.flops or 0.0)
        self.inside += times * cost.evaluation_flops
        if cost.seconds is not None:
            self.timed = True
            self.low += times * cost.seconds.low
            self.mid += times * cost.seconds.mid
            self.high += times * cost.seconds.high
        if cost.usd is not None:
            self.paid = True
            self.usd_low += times * cost.usd.low
            self.usd_mid += times * cost.usd.mid
            self.usd_high += times * cost.usd.high
        self.memory = max(self.memory, cost.memory_bytes or 0.0)
        self.storage += times * (cost.storage_bytes or 0.0)
        self.transfer += times * (cost.transfer_bytes or 0.0)
        for why in cost.unknown:
            self.unknown[why.split(":", 1)[0] if len(self.unknown) > 8 else why] = None

    def cost(self) -> Cost:
        """`memory_bytes` is the largest, not a sum."""
        return Cost(
            flops=self.flops,
            seconds=Range(self.low, self.mid, self.high) if self.timed else None,
            usd=Range(self.usd_low, self.usd_mid, self.usd_high) if self.paid else None,
            memory_bytes=self.memory or None,
            storage_bytes=self.storage,
            transfer_bytes=self.transfer,
            unknown=tuple(self.unknown),
            evaluation_flops=self.inside,
        )


def totals(jobs: Iterable[Job]) -> dict[str, Cost]:
    """Per kind that occurs, and "all": the sum of the kinds' flops and evaluation_flops alike."""
    sums = {kind: Sum() for kind in (*KINDS, "all")}
    # Jobs that differ only in seed share one Cost object (price.py): each is hashed once. Equal bills are added
    # once, times their number, so that a plan read from JSON, where nothing is shared, has the same last bits.
    objects: dict[tuple[str, int], tuple[Cost, int]] = {}
    for job in jobs:
        key = job.kind, id(job.cost)
        known = objects.get(key)
        objects[key] = (job.cost, 1) if known is None else (job.cost, known[1] + 1)
    bills: dict[tuple[str, Cost], int] = {}
    for (kind, _), (cost, times) in objects.items():
        bills[kind, cost] = bills.get((kind, cost), 0) + times
    seen: dict[str, None] = {}
    for (kind, cost), times in bills.items():
        seen[kind] = None
        sums[kind].add(cost, times)
        sums["all"].add(cost, times)
    return {kind: sums[kind].cost() for kind in (*(k for k in KINDS if k in seen), "all")}


def bill_flops(cost: Cost) -> float:
    """Everything a job computes, as the budget counts it: what isn't estimated counts zero."""
    return (cost.flops or 0.0) + cost.evaluation_flops


def account(
    budget: Budget,
    jobs: Sequence[Job],
    sums: Mapping[str, Cost],
    reserved_flops: float,
    waiting_flops: float,
    profile: DeviceProfile,
) -> dict[str, Any]:
    """PLAN.json's `budget`: bounds, what is used, chains of jobs longer than the walltime, time bounds, a
    schedule and the energy by kind of job."""
    all_jobs = sums["all"]
    work = sum(j.cost.seconds.mid for j in jobs if j.cost.seconds is not None and j.state != "done")
    path = critical_path_seconds(jobs)
    spent = sum(bill_flops(j.cost) for j in jobs if j.state == "done")
    found: dict[str, Any] = {
        "compute_flops": budget.compute_flops,
        "used_flops": bill_flops(all_jobs),
        "spent_flops": spent,
        "reserved_flops": reserved_flops,
        # Of that, what allocations keep whose runs are not among the jobs yet.
        "waiting_flops": waiting_flops,
        "devices": {"count": budget.devices.count, "kind": budget.devices.kind},
        "device_hours": None if all_jobs.seconds is None else all_jobs.seconds.mid / 3600,
        "walltime_seconds": budget.walltime_seconds,
        "chains": chains(jobs, budget.walltime_seconds),
        "price_per_device_hour": budget.price_per_device_hour,
        "price_per_byte": budget.price_per_byte,
        "currency": budget.currency,
        "storage_bytes": budget.storage_bytes,
        "used_storage_bytes": all_jobs.storage_bytes,
        "transfer_bytes": all_jobs.transfer_bytes,
        "choose": budget.choose,
        # Jobs on their fewest devices: no schedule is shorter than the first, none of theirs than the second.
        "work_bound_seconds": work / budget.devices.count,
        "path_bound_seconds": path,
        "energy_kwh": {
            kind: None if (kwh := energy_kwh(total.seconds, profile.watts)) is None else asdict(kwh)
            for kind, total in sums.items()
        },
    }
    made = plan_schedule(jobs, found, profile.startup_seconds.mid)
    found["schedule"] = None if made is None else made.summary()
    return found


#: Energy at the wall over the device's own: host, power supply, cooling.
WALL = Range(1.4, 1.7, 2.0)


def wall_kwh(device: Range) -> Range:
    """Energy of the whole machine, given its devices'."""
    return Range(*(rounded(mine * times) for mine, times in zip(_ends(device), _ends(WALL), strict=True)))


def _ends(interval: Range) -> tuple[float, float, float]:
    return interval.low, interval.mid, interval.high


def energy_kwh(seconds: Range | None, watts: Range | None) -> Range | None:
    """Device-seconds x what a device draws: low with low, high with high. None where either is unknown.

    Of the devices alone: no host, no cooling. Trackers themselves err by up to 40 %."""
    if seconds is None or watts is None:
        return None
    pairs = ((seconds.low, watts.low), (seconds.mid, watts.mid), (seconds.high, watts.high))
    return Range(*(rounded(time * draw / 3.6e6) for time, draw in pairs))


def chains(jobs: Sequence[Job], walltime_seconds: float | None) -> Mapping[str, int]:
    """How many jobs outlast the walltime on their fewest devices, and the links of the longest chain."""
    if walltime_seconds is None:
        return {"jobs": 0, "longest": 1}
    times = [wall for j in jobs if (wall := wall_seconds(j.cost)) is not None]
    if not times:
        return {"jobs": 0, "longest": 1}
    over = sum(time > walltime_seconds for time in times)
    return {"jobs": over, "longest": max(1, ceil(max(times) / walltime_seconds))}
