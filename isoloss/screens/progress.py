"""Live progress of a run: what each job is at, how fast, how long still, and how that compares with the plan.

In: executor events. Out: on a terminal a block that renews itself, a line per running job; elsewhere plain lines.
Each job's end is a line that stays."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from isoloss.compiler.plan import KINDS, Job
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span, render
from isoloss.dsl.vocabulary.quantity_text import flop_text, time_text
from isoloss.runtime.executors.base import Event, devices_of
from isoloss.runtime.worker.worker import Failure
from isoloss.screens.live_block import Screen, bar, fit
from isoloss.screens.pace import Pace

_REDRAW_SECONDS = 0.2
#: Without a terminal: a sign of life this often.
_REPORT_SECONDS = 30.0
_BAR_COLUMNS = 10
_MOST_NAME_COLUMNS = 48


@dataclass
class Progress:
    """A Watcher. `slots` device slots work at once, `processes` of them on a job that several share (None: as many as
    its plan says). Call `expect` with each new plan's jobs that are left."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    slots: int = 1
    processes: int | None = None

    def __post_init__(self) -> None:
        self._screen = Screen(self.out)
        self._pace = Pace(self._devices)
        self._left: dict[str, Job] = {}
        self._places: dict[str, str] = {}  # of jobs that are run now, by whomever
        self._done = 0
        self._drawn = self._told = time.monotonic()

    def expect(self, left: Sequence[Job], done: int) -> None:
        """`left`: jobs of the current plan without result, provisional ones too; `done`: those with one."""
        self._left = {job.id: job for job in left}
        self._done = done

    def __call__(self, event: Event) -> None:
        if event.job is not None:
            self._job(event, event.job)
        elif event.what == "stopping":
            self.say(
                f"stopping: jobs go to their next checkpoint, {time_text(event.seconds)} at most; "
                "Ctrl-C again to stop at once"
            )
        elif event.what == "lost":
            self.say(f"  {event.text}")
        self._show()

    def say(self, line: str) -> None:
        """Print a line that stays above the block."""
        self._screen.say(line)

    def close(self) -> None:
        self._screen.clear()

    def _job(self, event: Event, job: Job) -> None:
        if event.what == "started":
            self._places[job.id] = event.text
            self._pace.start(job)
        elif event.what == "progress":
            self._pace.progress(job, event.fraction)
        elif event.what == "elsewhere":
            self._places[job.id] = event.text
            self._pace.start(job)
            self.say(f"  elsewhere  {job.name}: run by {event.text}")
        elif event.what == "again":
            self._places.pop(job.id, None)
            self.say(f"  again  {job.name}: {event.text}; it goes on from its last checkpoint")
        elif event.what in ("finished", "failed", "stopped", "skipped"):
            self._places.pop(job.id, None)
            self._left.pop(job.id, None)
            self._ended(event, job)

    def _ended(self, event: Event, job: Job) -> None:
        if event.what == "finished":
            self._done += 1
            self._pace.finish(job, event.seconds)
            took = f"{time_text(event.seconds)}" if event.seconds else event.text
            count = f"[{self._done}/{self._done + len(self._left)}]"
            self.say(f"  {count}  {job.name}  {took}{_speed(job, event.seconds)}")
        elif event.what == "failed" and event.failure is not None:
            self.say(describe(job, event.failure, colour=self._screen.colour))
        elif event.what == "skipped":
            self.say(f"  skipped  {job.name}: {event.text}")
        elif event.what == "stopped":
            self.say(f"  stopped  {job.name}")

    # What renews itself.

    def _show(self) -> None:
        now = time.monotonic()
        if self._screen.live:
            if now - self._drawn > _REDRAW_SECONDS:
                self._drawn = now
                self._screen.draw(list(self.block(*self._screen.size)))
        elif now - self._told > _REPORT_SECONDS and self._places:
            self._told = now
            running = ", ".join(
                f"{self._name(id)} {self._pace.fraction(id):.0%}" for id in list(self._places)[:4]
            )
            self.say(f"  {' · '.join(self._whole())} · {running}")

    def block(self, columns: int, lines: int) -> Iterator[str]:
        """The study in one line and each running job in one, none wider than the terminal, not more than half of
        its lines."""
        yield self._painted(("  " + " · ".join(self._whole()))[: columns - 1], "1")
        most = max(1, lines // 2 - 2)
        for id in list(self._places)[:most]:
            yield self._job_line(id, columns - 1)
        if len(self._places) > most:
            yield f"    and {len(self._places) - most} more"

    def _job_line(self, id: str, columns: int) -> str:
        fraction = self._pace.fraction(id)
        left = self._pace.seconds_left(id)
        tail = f"  {fraction:>4.0%}"
        rate = self._pace.images_per_second(id)
        facts = [
            f"{rate:,.0f} images/s" if rate else "",
            f"{time_text(left, 2)} left" if left is not None else "",
        ]
        # A narrow terminal shows the name before speed and bar.
        room = columns - 4 - len(tail)
        name = fit(self._name(id), min(room, max(20, min(_MOST_NAME_COLUMNS, room - _BAR_COLUMNS - 34))))
        head = f"    {name}{tail}"
        room = columns - len(head) - _BAR_COLUMNS - 2
        if room < 4:
            return head
        extra = "  ".join(filter(None, (*facts, self._places[id])))
        return f"{head}  {self._painted(bar(fraction, _BAR_COLUMNS), '36')}{fit('  ' + extra, room).rstrip()}"

    def _whole(self) -> Iterator[str]:
        """Facts of the whole run, the most useful first: a narrow terminal shows the beginning."""
        yield f"{self._done}/{self._done + len(self._left)} jobs"
        yield f"{len(self._places)} running"
        left = self.seconds_left()
        if left is not None:
            yield f"about {time_text(left, 2)} left"
        ratio = self._pace.ratio
        if ratio is not None:
            yield f"{ratio:.2g}× the planned time so far"
        images = sum(self._pace.images_per_second(id) for id in self._places)
        if images:
            yield f"{images:,.0f} images/s"
        flops = sum(self._pace.flops_per_second(id) for id in self._places)
        if flops:
            yield f"{flop_text(flops)}/s"

    def seconds_left(self) -> float | None:
        """From the cost model, corrected by what was measured: the work that is left over all slots, at least the
        longest chain of jobs that wait for each other. None: some job that is left has no estimate."""
        rest: dict[str, float] = {}
        work = 0.0
        for job in self._left.values():
            seconds = self._pace.estimate(job)
            if seconds is None:
                return None
            rest[job.id] = seconds
            work += seconds * self._devices(job)
        return max(work / max(self.slots, 1), _longest_chain(self._left, rest))

    def _devices(self, job: Job) -> int:
        return devices_of(job, self.processes)

    def _name(self, id: str) -> str:
        job = self._pace.job(id)
        return job.name if job is not None else id

    def _painted(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._screen.colour else text


def _longest_chain(jobs: Mapping[str, Job], seconds: Mapping[str, float]) -> float:
    """Seconds of the longest chain of jobs that wait for each other; jobs come in any order."""
    ends: dict[str, float] = {}

    def end(id: str) -> float:
        if id not in ends:
            ends[id] = seconds[id] + max((end(need) for need in jobs[id].needs if need in jobs), default=0.0)
        return ends[id]

    return max((end(id) for id in jobs), default=0.0)


def describe(job: Job, failure: Failure, *, colour: bool) -> str:
    """A failed job as a diagnostic at the line of the study that asked for it."""
    o = job.origin
    span = Span(o.file, o.line, o.column, o.line, o.column + 1) if o.line else None
    help = [*failure.help]
    if failure.details:
        help.append(f"details: {failure.details}")
    return render(
        [Diagnostic(failure.code, f"`{job.name}`: {failure.message}", span, help=tuple(help))], colour=colour
    )


def _speed(job: Job, seconds: float) -> str:
    if not KINDS[job.kind].shared or not job.facts.images or not seconds:
        return ""
    return f"  {job.facts.images / seconds:,.0f} images/s"
