"""A calibration -> lines: where it was measured, the speed of each kind of work, how well it foretells its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from isoloss.dsl.vocabulary.quantity_text import count_text, flop_text, time_range_text, time_text
from isoloss.screens.layout import columns

if TYPE_CHECKING:
    from isoloss.calibrating import Calibration


def calibration_lines(calibration: Calibration) -> Iterator[str]:
    profile, machine = calibration.profile, calibration.machine
    yield f"speed of one `{profile.device}`, {calibration.slots} at once: {machine.host}, "
    yield f"  {machine.accelerator or machine.cpu}, {machine.cores} cores"
    start = profile.startup_seconds
    yield f"  start-up of a job  {time_range_text(start)}"
    rows = [("", "jobs", "arithmetic per second", "values written per second", "per launch")]
    works = list(dict.fromkeys(timed.work for timed in calibration.timed))
    for work in works:
        speed = profile.speeds[work]
        rate, values = speed.flops_per_second, count_text(speed.values_per_second.mid)
        number = sum(timed.work == work for timed in calibration.timed)
        arithmetic = f"{flop_text(rate.mid)} ({flop_text(rate.low)} to {flop_text(rate.high)})"
        rows.append((work, str(number), arithmetic, values, time_text(speed.launch_seconds.mid)))
    yield from columns(rows)
    accuracy = calibration.accuracy
    yield (
        f"  of these {accuracy['jobs']} jobs the median is told within {accuracy['median_error']:.0%}, "
        f"{accuracy['inside']:.0%} lie inside their interval"
    )
