"""A calibration -> lines: where it was measured, the speed of each kind of work, how well it foretells its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from isoloss.dsl.vocabulary.quantity_text import flop_text, time_range_text, time_text
from isoloss.screens.layout import columns

if TYPE_CHECKING:
    from isoloss.calibrating import Calibration


def calibration_lines(found: Calibration) -> Iterator[str]:
    profile, machine = found.profile, found.machine
    yield f"speed of one `{profile.device}`, {found.slots} at once: {machine.host}, "
    yield f"  {machine.accelerator or machine.cpu}, {machine.cores} cores"
    start = profile.startup_seconds
    yield f"  start-up of a job  {time_range_text(start)}"
    rows = [("", "jobs", "arithmetic per second", "per launch")]
    works = list(dict.fromkeys(each.work for each in found.timed))
    for work in works:
        rate, launch = profile.flops_per_second[work], profile.launch_seconds[work]
        number = sum(each.work == work for each in found.timed)
        speed = (
            f"{flop_text(rate.mid)} ({flop_text(rate.low)} to {flop_text(rate.high)})"
            if rate.mid < 1e17
            else "not seen"
        )
        rows.append((work, str(number), speed, time_text(launch.mid)))
    yield from columns(rows)
    told = found.accuracy
    yield (
        f"  of these {told['jobs']} jobs the median is told within {told['median_error']:.0%}, "
        f"{told['inside']:.0%} lie inside their interval"
    )
