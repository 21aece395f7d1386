"""Work and a device's speed -> seconds, each time the same formula: priors, calibration, finished jobs, plans.

seconds = start-up + max(launches, arithmetic + memory) on a device that queues layers ahead, their sum on a core that
does one after the other. Arithmetic is FLOP over a share of the peak, memory the values that layers write over a share
of the bandwidth: their ratio is a network's width, so that narrow layers reach a smaller share of the peak, as was
measured (1 / share = a + b / width). Pure."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from operator import itemgetter

from isoloss.compiler.plan import DeviceProfile, Range, Speed

#: Standard deviations either side of the middle that a 90 % interval has.
Z90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Work:
    """What a device has to do: rule FLOP, activation values that layers write, executions of a layer on a batch."""

    flops: float = 0.0
    values: float = 0.0
    launches: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.values + other.values, self.launches + other.launches)

    def times(self, factor: float) -> Work:
        return Work(self.flops * factor, self.values * factor, self.launches * factor)


NOTHING = Work()


def spread(middle: float, log_sd: float) -> Range:
    """The 90 % interval of a log-normal about its median."""
    return Range(middle * exp(-Z90 * log_sd), middle, middle * exp(Z90 * log_sd))


@dataclass(frozen=True, slots=True)
class Split:
    """Seconds of one job by what it waits for. `launches` and `work` (arithmetic and memory) overlap on a device that
    queues: the longer counts."""

    startup: Range
    launches: Range
    work: Range
    total: Range


def split(profile: DeviceProfile, amounts: Sequence[tuple[str, Work]]) -> Split:
    """Of a job that does each amount of work at a speed of the profile (its key), one after the other. Ends are
    taken to be low together and high together: a cautious sum."""
    start = profile.startup_seconds
    launching, working, total = Range(0.0, 0.0, 0.0), Range(0.0, 0.0, 0.0), start
    for key, work in amounts:
        speed = profile.speeds[key]
        waits, works = launch_seconds(speed, work), work_seconds(speed, work)
        launching, working = _sum(launching, waits), _sum(working, works)
        total = _sum(total, _longer(waits, works) if profile.queues else _sum(waits, works))
    return Split(start, launching, working, total)


def launch_seconds(speed: Speed, work: Work) -> Range:
    each = speed.launch_seconds
    return Range(work.launches * each.low, work.launches * each.mid, work.launches * each.high)


def work_seconds(speed: Speed, work: Work) -> Range:
    flops, values, factor = speed.flops_per_second, speed.values_per_second, width_factor(speed, work)
    return Range(
        factor * (work.flops / flops.high + work.values / values.high),
        factor * (work.flops / flops.mid + work.values / values.mid),
        factor * (work.flops / flops.low + work.values / values.low),
    )


def width_factor(speed: Speed, work: Work) -> float:
    """What networks about as wide took, over the formula: between two that were timed by the log of their widths,
    beyond the outermost as it. Kernels go by blocks of channels, which no smooth formula knows."""
    if not (speed.widths and work.values and work.flops):
        return 1.0
    return exp(
        interpolated(
            [(log(width), log(factor)) for width, factor in speed.widths], log(work.flops / work.values)
        )
    )


def interpolated(points: Sequence[tuple[float, float]], at: float) -> float:
    """Linear between ascending points, level beyond them."""
    right = bisect(points, at, key=itemgetter(0))
    if right in (0, len(points)):
        return points[min(right, len(points) - 1)][1]
    (x0, y0), (x1, y1) = points[right - 1 : right + 1]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def _sum(a: Range, b: Range) -> Range:
    return Range(a.low + b.low, a.mid + b.mid, a.high + b.high)


def _longer(a: Range, b: Range) -> Range:
    return Range(max(a.low, b.low), max(a.mid, b.mid), max(a.high, b.high))
