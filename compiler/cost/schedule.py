"""When everything could be done: jobs and a number of devices -> start, width and end of each job.

Pure. Trainings are moldable: on w devices one takes its one-device seconds over w^0.95 (scaling.py), on no fewer
devices than hold it, and only on numbers that can share its batch; other jobs take one. Not a promise: an executor
decides as jobs really end.

Method (dual approximation, after Turek, Wolf and Yu 1992): for a deadline each job gets the smallest width with
which the longest chain through it ends in time, then jobs start longest remaining chain first; the best of
some deadlines is kept."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.compiler.cost.placement import world_sizes
from isoloss.compiler.cost.scaling import LOSS_PER_E_FOLD, SCALING, alone_seconds, fewest, widest_job
from isoloss.compiler.plan import KINDS, Job, TrainSpec
from isoloss.compiler.rounding import rounded

#: Deadlines tried, and jobs beyond which only bounds are given: a schedule of more is nothing to read.
DEADLINES = 48
MOST_JOBS = 5_000
#: Steps of the local search that follows, and how many in a row may bring nothing.
WIDENINGS = 64
#: Jobs placed over all tries, about 5 us each.
MOST_PLACED = 60_000
PATIENCE = 8
#: A schedule this near its lower bound is not searched further.
NEAR_ENOUGH = 1.01


@dataclass(frozen=True, slots=True)
class Placed:
    """One job on its devices, seconds from the schedule's start."""

    job: str
    start: float
    end: float
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """`work_bound`: all work over all devices; `path_bound`: the longest chain at full width. No schedule is
    shorter than either. Seconds."""

    makespan: float
    work_bound: float
    path_bound: float
    placed: tuple[Placed, ...]
    restart_seconds: float = 0.0

    @property
    def bound(self) -> float:
        return max(self.work_bound, self.path_bound)

    @property
    def gap(self) -> float:
        """Makespan over its lower bound, at least 1."""
        return self.makespan / self.bound if self.bound else 1.0

    @property
    def widest(self) -> int:
        return max((len(each.devices) for each in self.placed), default=0)

    def summary(self) -> dict[str, Any]:
        """For PLAN.json's budget."""
        return {
            "makespan_seconds": rounded(self.makespan),
            "work_bound_seconds": rounded(self.work_bound),
            "path_bound_seconds": rounded(self.path_bound),
            "gap": rounded(self.gap),
            "widest": self.widest,
            "loss_per_e_fold": LOSS_PER_E_FOLD,
            "restart_seconds": rounded(self.restart_seconds),
        }


def schedule(
    jobs: Sequence[Job],
    devices: int,
    *,
    widest: int | None = None,
    walltime_seconds: float | None = None,
    restart_seconds: float = 0.0,
) -> Schedule:
    """A schedule of the jobs that aren't done, needs before users; jobs come ordered so. Each takes its mid
    seconds; what isn't estimated takes none.

    `widest`: most devices of one job, all where not given. With a walltime a longer job is a chain of links,
    each later one pays `restart_seconds`. Raises ValueError for less than one device."""
    if devices < 1:
        raise ValueError(f"devices must be at least 1, got {devices}")
    limit = max(1, min(devices, widest or devices))
    work = _Work(jobs, devices, limit, walltime_seconds, restart_seconds)
    narrow = list(work.fewest)
    best = _Found(*work.place(narrow), narrow)
    enough = NEAR_ENOUGH * max(work.work_bound, work.path_bound)
    if limit > 1 and best.makespan > enough > 0:
        best = _over_deadlines(work, best, enough)
        best = _widen_last(work, best, enough)
    return Schedule(best.makespan, work.work_bound, work.path_bound, tuple(best.placed), restart_seconds)


@dataclass(frozen=True, slots=True)
class _Found:
    makespan: float
    placed: list[Placed]
    widths: list[int]


def _over_deadlines(work: _Work, best: _Found, enough: float) -> _Found:
    """The best schedule over deadlines from the lower bound to the longest chain of jobs on one device each."""
    bound = max(work.work_bound, work.path_bound)
    ratio = max(max(work.through, default=bound), bound) / bound
    tried = {tuple(best.widths)}
    steps = work.tries(DEADLINES)
    for step in range(steps):
        widths = work.widths(bound * ratio ** (step / steps) * 1.000001)
        if tuple(widths) in tried:
            continue
        tried.add(tuple(widths))
        best = min(best, _Found(*work.place(widths), widths), key=lambda each: each.makespan)
        if best.makespan <= enough:
            break
    return best


def _widen_last(work: _Work, best: _Found, enough: float) -> _Found:
    """Give a device more to the longest job of every chain that ends last, and see whether that helps.

    Equal jobs end together, so that widening one of them alone would show nothing."""
    place = {id: index for index, id in enumerate(work.ids)}
    current, fruitless = best, 0
    for _ in range(work.tries(WIDENINGS)):
        if best.makespan <= enough or fruitless > PATIENCE:
            break
        ends = {place[each.job]: each.end for each in current.placed}
        widths = list(current.widths)
        for index in {_longest(work, i, ends) for i, end in ends.items() if end > 0.998 * current.makespan}:
            widths[index] = work.at_least(index, widths[index] + 1)
        if widths == current.widths:
            break
        current = _Found(*work.place(widths), widths)
        fruitless = 0 if current.makespan < best.makespan else fruitless + 1
        best = min(best, current, key=lambda each: each.makespan)
    return best


def _longest(work: _Work, index: int, ends: Mapping[int, float]) -> int:
    """The longest job of the chain of latest needs that ends with this one."""
    longest: int = index
    while work.needs[index]:
        index = max(work.needs[index], key=lambda i: ends[i])
        longest = max(longest, index, key=lambda i: work.alone[i])
    return longest


class _Work:
    """The jobs as plain lists: what a few dozen schedules of them share."""

    def __init__(
        self,
        jobs: Sequence[Job],
        devices: int,
        widest: int,
        walltime_seconds: float | None,
        restart_seconds: float,
    ) -> None:
        left = [job for job in jobs if job.state != "done"]
        self.ids = [job.id for job in left]
        #: Devices of each job at least; a bound that the devices at hand can't meet is theirs.
        self.fewest = [min(widest, fewest(job.cost)) for job in left]
        self._possible = _possible_widths(left, self.fewest, widest)
        self.alone = [
            0.0 if job.cost.seconds is None else alone_seconds(job.cost.seconds.mid, fewest(job.cost))
            for job in left
        ]
        place = {id: index for index, id in enumerate(self.ids)}
        self.needs = [[place[need] for need in job.needs if need in place] for job in left]
        self.users: list[list[int]] = [[] for _ in left]
        for index, needs in enumerate(self.needs):
            for need in needs:
                self.users[need].append(index)
        self.devices, self.widest = devices, widest
        self._walltime, self._restart = walltime_seconds, restart_seconds
        self.through = self._through()
        areas = (t * w ** (1 - SCALING) for t, w in zip(self.alone, self.fewest, strict=True))
        self.work_bound = sum(areas) / devices
        shortest = [t / w[-1] ** SCALING for t, w in zip(self.alone, self._possible, strict=True)]
        self.path_bound = max(self._after(shortest), default=0.0)

    def tries(self, most: int) -> int:
        """How many schedules to try: fewer of more jobs, so that planning stays quick."""
        return max(4, min(most, MOST_PLACED // max(1, len(self.ids))))

    def seconds(self, index: int, width: int) -> float:
        """On so many devices, restarts of a chain included."""
        seconds: float = self.alone[index] / width**SCALING
        if self._walltime is not None and seconds > self._walltime:
            seconds += (math.ceil(seconds / self._walltime) - 1) * self._restart
        return seconds

    def at_least(self, index: int, width: int) -> int:
        """The smallest number of devices from `width` on that the job can lie on, its largest where there is none."""
        possible = self._possible[index]
        return possible[min(bisect_left(possible, width), len(possible) - 1)]

    def widths(self, deadline: float) -> list[int]:
        """The smallest width of each job with which the longest chain through it ends by the deadline."""
        return [
            self.at_least(index, math.ceil((chain / deadline) ** (1 / SCALING) - 1e-9))
            for index, chain in enumerate(self.through)
        ]

    def place(self, widths: Sequence[int]) -> tuple[float, list[Placed]]:
        """(makespan, jobs): whenever devices are free, the job with the longest chain after it that fits."""
        times = [self.seconds(index, width) for index, width in enumerate(widths)]
        after = self._after(times)
        waiting = [len(needs) for needs in self.needs]
        ready = [(-after[i], i) for i, count in enumerate(waiting) if count == 0]
        heapq.heapify(ready)
        free = list(range(self.devices))
        running: list[tuple[float, int, tuple[int, ...]]] = []
        placed: list[Placed] = []
        now = 0.0
        while ready or running:
            aside = []
            while ready and free:
                entry = heapq.heappop(ready)
                index = entry[1]
                if widths[index] > len(free):
                    aside.append(entry)
                    continue
                mine = tuple(heapq.heappop(free) for _ in range(widths[index]))
                heapq.heappush(running, (now + times[index], index, mine))
                placed.append(Placed(self.ids[index], now, now + times[index], mine))
            for entry in aside:
                heapq.heappush(ready, entry)
            now = running[0][0]
            while running and running[0][0] <= now:
                _, index, mine = heapq.heappop(running)
                for device in mine:
                    heapq.heappush(free, device)
                for user in self.users[index]:
                    waiting[user] -= 1
                    if waiting[user] == 0:
                        heapq.heappush(ready, (-after[user], user))
        return now, placed

    def _after(self, times: Sequence[float]) -> list[float]:
        """Seconds from each job's start to the end of the longest chain that begins with it."""
        after = [0.0] * len(times)
        for index in range(len(times) - 1, -1, -1):
            after[index] = times[index] + max((after[user] for user in self.users[index]), default=0.0)
        return after

    def _through(self) -> list[float]:
        """One-device seconds of the longest chain through each job."""
        after = self._after(self.alone)
        before = [0.0] * len(self.alone)
        for index, needs in enumerate(self.needs):
            before[index] = max((before[need] + self.alone[need] for need in needs), default=0.0)
        return [early + late for early, late in zip(before, after, strict=True)]


def _possible_widths(jobs: Sequence[Job], fewest: Sequence[int], widest: int) -> Sequence[tuple[int, ...]]:
    """Of each job the numbers of devices, ascending, that the runtime can lay it on, from its fewest to `widest`."""
    known: dict[tuple[int, int, int], tuple[int, ...]] = {}
    possible: list[tuple[int, ...]] = []
    for job, least in zip(jobs, fewest, strict=True):
        spec = job.spec
        if not KINDS[job.kind].shared or not isinstance(spec, TrainSpec):
            possible.append((least,))
            continue
        key = int(spec.recipe["batch"]), int(spec.numerics["batchnorm_group"]), least
        if key not in known:
            known[key] = tuple(n for n in world_sizes(*key[:2], widest) if n >= least) or (least,)
        possible.append(known[key])
    return possible


def plan_schedule(jobs: Sequence[Job], budget: Mapping[str, Any], restart_seconds: float) -> Schedule | None:
    """The schedule of a plan's jobs on its budget's devices; None for more than MOST_JOBS jobs."""
    if len(jobs) > MOST_JOBS:
        return None
    count, kind = int(budget["devices"]["count"]), str(budget["devices"]["kind"])
    return schedule(
        jobs,
        count,
        widest=widest_job(kind, count),
        walltime_seconds=budget["walltime_seconds"],
        restart_seconds=restart_seconds,
    )
