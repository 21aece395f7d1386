"""How fast jobs go, and how long they still take: the cost model, corrected by what was measured.

In: when jobs start, how far they are, how long they took. Out: seconds left, images and FLOP per second. No text."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from isoloss.compiler.plan import KINDS, Job

#: From so much progress on, a job's own pace is believed rather than the cost model's.
_ENOUGH = 0.05


@dataclass
class _Running:
    """A job in progress. `first`: the fraction that this attempt began with, seen at `since`."""

    job: Job
    since: float
    first: float | None = None
    fraction: float = 0.0


class Pace:
    """Speed and remaining time of the jobs of one run, in wall seconds. `devices` says how many a job takes: plans
    count device-seconds."""

    def __init__(self, devices: Callable[[Job], int]) -> None:
        self._devices = devices
        self._jobs: dict[str, _Running] = {}
        # kind -> device-seconds, of finished jobs that had an estimate
        self._measured: dict[str, float] = defaultdict(float)
        self._planned: dict[str, float] = defaultdict(float)

    def start(self, job: Job) -> None:
        self._jobs[job.id] = _Running(job, time.monotonic())

    def progress(self, job: Job, fraction: float) -> None:
        running = self._jobs.get(job.id)
        if running is not None:
            if running.first is None:
                running.first, running.since = fraction, time.monotonic()
            running.fraction = fraction

    def finish(self, job: Job, seconds: float) -> None:
        """`seconds` of the job over all its attempts; 0: somebody else ran it."""
        self._jobs.pop(job.id, None)
        if seconds and job.cost.seconds is not None:
            self._measured[job.kind] += seconds * self._devices(job)
            self._planned[job.kind] += job.cost.seconds.mid

    def job(self, id: str) -> Job | None:
        running = self._jobs.get(id)
        return None if running is None else running.job

    def fraction(self, id: str) -> float:
        running = self._jobs.get(id)
        return 0.0 if running is None else running.fraction

    @property
    def ratio(self) -> float | None:
        """Measured over planned device-seconds, of all that finished in this run. None: nothing to compare."""
        planned = sum(self._planned.values())
        return sum(self._measured.values()) / planned if planned else None

    def estimate(self, job: Job) -> float | None:
        """Seconds that a job, running or not, still takes. None: not estimated."""
        own = self._own_seconds_left(job.id)
        if own is not None:
            return own
        if job.cost.seconds is None:
            return None
        device_seconds = job.cost.seconds.mid * self._scale(job.kind) * (1 - self.fraction(job.id))
        return device_seconds / self._devices(job)

    def _scale(self, kind: str) -> float:
        """Measured over planned device-seconds of a kind: of what has finished, and of the part of what runs; of other
        kinds where there is neither."""
        measured, planned = self._measured.get(kind, 0.0), self._planned.get(kind, 0.0)
        for running in self._jobs.values():
            done = running.fraction - (running.first or 0.0)
            seconds = running.job.cost.seconds
            if running.job.kind == kind and seconds is not None and done >= _ENOUGH:
                measured += (time.monotonic() - running.since) * self._devices(running.job)
                planned += seconds.mid * done
        return measured / planned if planned else self.ratio or 1.0

    def seconds_left(self, id: str) -> float | None:
        running = self._jobs.get(id)
        return None if running is None else self.estimate(running.job)

    def _own_seconds_left(self, id: str) -> float | None:
        running = self._jobs.get(id)
        if running is None or running.first is None or running.fraction - running.first < _ENOUGH:
            return None
        return self._per_second(running) ** -1 * (1 - running.fraction)

    def _per_second(self, running: _Running) -> float:
        """Share of the job's work that this attempt does in a second."""
        if running.first is None:
            return 0.0
        return (running.fraction - running.first) / max(time.monotonic() - running.since, 0.1)

    def images_per_second(self, id: str) -> float:
        """Images drawn by a training; 0 for other jobs, and where it is too early to tell."""
        running = self._jobs.get(id)
        if running is None or not KINDS[running.job.kind].shared:
            return 0.0
        return (running.job.facts.images or 0) * self._per_second(running)

    def flops_per_second(self, id: str) -> float:
        """The rule count of what a training has done."""
        running = self._jobs.get(id)
        per_image = None if running is None else running.job.facts.flops_per_image
        return self.images_per_second(id) * per_image if per_image else 0.0
