"""A schedule as an SVG: one row per device, time to the right, one bar per job.

Plan -> text, from what the plan says alone. Pure: same plan, same bytes. Rows shrink as devices grow, and bars
too short to see are drawn as one stripe, so that 256 devices still fit a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from isoloss.compiler.cost.schedule import Placed, Schedule, plan_schedule
from isoloss.compiler.plan import KINDS, Job, Plan
from isoloss.dsl.vocabulary.quantity_text import time_text

_WIDTH, _LEFT, _TOP, _BOTTOM = 1000, 96, 64, 44
_MOST_HEIGHT = 900.0
#: One light colour for each kind of job, in the table's order; the last four are as far apart as can be.
_FILL = dict(
    zip(
        KINDS,
        ("#fb9a99", "#e0c4a8", "#a6cee3", "#ffff99", "#cab2d6", "#fdbf6f", "#b2df8a"),
        strict=True,
    )
)
#: Units of the axis, seconds, largest first.
_UNITS = ((86400.0 * 3, 86400.0, "d"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))


def gantt(plan: Plan) -> str | None:
    """The picture of a plan's schedule; None where it has none (nothing left, or too many jobs to draw)."""
    schedule = plan_schedule(plan.jobs, plan.budget, _restart(plan))
    if schedule is None or not schedule.makespan:
        return None
    rows = int(plan.budget["devices"]["count"])
    height = max(1.5, min(26.0, _MOST_HEIGHT / rows))
    total = _TOP + height * rows + _BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {total:.0f}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{total:.0f}" fill="white"/>',
        *_head(plan, schedule),
        *_axis(schedule, rows, height),
        *_bars(plan.jobs, schedule, height),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _restart(plan: Plan) -> float:
    said = plan.budget.get("schedule") or {}
    return float(said.get("restart_seconds", 0.0))


def _head(plan: Plan, schedule: Schedule) -> Iterator[str]:
    devices = plan.budget["devices"]
    name = escape(str(plan.study.get("name", "")))
    yield (
        f'<text x="{_LEFT}" y="20" font-size="15">{name}: {time_text(schedule.makespan)} on {devices["count"]} of '
        f"{escape(str(devices['kind']))}, {schedule.gap:.2f} x the lower bound of {time_text(schedule.bound)}</text>"
    )
    x = _LEFT
    for kind in dict.fromkeys(job.kind for job in plan.jobs):
        yield f'<rect x="{x}" y="32" width="12" height="12" fill="{_FILL[kind]}"/>'
        yield f'<text x="{x + 18}" y="42">{KINDS[kind].words}</text>'
        x += 140


def _axis(made: Schedule, rows: int, height: float) -> Iterator[str]:
    _, size, word = next(u for u in _UNITS if made.makespan >= u[0])
    span = made.makespan / size
    step = next(s for s in _steps() if span / s <= 10)
    bottom = _TOP + height * rows
    for index in range(int(span / step) + 1):
        x = _x(index * step * size, made)
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#dddddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{index * step:g} {word}</text>'
    for row in sorted({0, rows - 1}):
        yield f'<text x="{_LEFT - 8}" y="{_TOP + height * (row + 0.5) + 4:.1f}" text-anchor="end">device {row}</text>'


def _steps() -> Iterator[float]:
    size = 0.001
    while True:
        yield from (size, 2 * size, 5 * size)
        size *= 10


def _bars(jobs: Sequence[Job], schedule: Schedule, height: float) -> Iterator[str]:
    by_id = {job.id: job for job in jobs}
    for placed in schedule.placed:
        job = by_id[placed.job]
        if placed.end <= placed.start:
            continue  # not estimated, so it has no length
        left, right = _x(placed.start, schedule), _x(placed.end, schedule)
        length, start = time_text(placed.end - placed.start), time_text(placed.start)
        tip = f"{job.name}: {length} on {len(placed.devices)}, from {start}"
        line = ' stroke="white" stroke-width="0.5"' if height > 4 and right - left > 3 else ""
        for first, count in _blocks(placed):
            yield (
                f'<rect x="{left:.1f}" y="{_TOP + height * first:.1f}" width="{max(0.3, right - left):.1f}" '
                f'height="{height * count:.1f}" fill="{_FILL[job.kind]}"{line}><title>{escape(tip)}</title></rect>'
            )


def _blocks(each: Placed) -> Iterator[tuple[int, int]]:
    """(first row, rows) of each run of neighbouring devices."""
    first = last = each.devices[0]
    for device in sorted(each.devices)[1:]:
        if device != last + 1:
            yield first, last - first + 1
            first = device
        last = device
    yield first, last - first + 1


def _x(seconds: float, made: Schedule) -> float:
    return _LEFT + (_WIDTH - _LEFT - 40) * seconds / made.makespan
