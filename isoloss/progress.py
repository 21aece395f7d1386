"""Live progress of a run: a line that renews itself on a terminal, plain lines elsewhere.

In: executor events. Out: text on stderr: each job's end, and how far the study is, how fast, how long
still."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from isoloss.compiler.plan import Job
from isoloss.dsl.diagnostics import Diagnostic, Span, render
from isoloss.runtime.executors.base import Event
from isoloss.runtime.worker import Failure

_REDRAW_SECONDS = 0.2
#: Without a terminal: a sign of life this often.
_REPORT_SECONDS = 30.0


@dataclass
class _Watched:
    job: Job
    since: float
    fraction: float = 0.0


@dataclass
class Progress:
    """A Watcher. Call `expect` with each new plan's jobs that are left."""

    slots: int = 1
    out: TextIO = field(default_factory=lambda: sys.stderr)
    _left: dict[str, Job] = field(default_factory=dict)
    _running: dict[str, _Watched] = field(default_factory=dict)
    _done: int = 0
    _measured: float = 0.0
    _planned: float = 0.0
    _drawn: float = 0.0
    _said: float = field(default_factory=time.monotonic)
    _width: int = 0

    def __post_init__(self) -> None:
        self._live = self.out.isatty() and os.environ.get("TERM") != "dumb"

    def expect(self, left: Sequence[Job], done: int) -> None:
        """`left`: jobs of the current plan without result, provisional ones too; `done`: those with one."""
        self._left = {job.id: job for job in left}
        self._done = done

    def __call__(self, event: Event) -> None:
        if event.job is not None:
            self._job(event, event.job)
        elif event.what == "stopping":
            self.say(
                f"stopping: jobs go to their next checkpoint, {event.seconds:.0f} s at most; "
                "Ctrl-C again to stop at once"
            )
        self._show()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        print(line, file=self.out, flush=True)

    def close(self) -> None:
        self._clear()

    def _job(self, event: Event, job: Job) -> None:
        if event.what == "started":
            self._running[job.id] = _Watched(job, time.monotonic())
        elif event.what == "progress" and job.id in self._running:
            self._running[job.id].fraction = event.fraction
        elif event.what == "elsewhere":
            self.say(f"  elsewhere  {job.name}: run by {event.text}")
        elif event.what in ("finished", "failed", "stopped", "skipped"):
            self._running.pop(job.id, None)
            self._left.pop(job.id, None)
            self._ended(event, job)

    def _ended(self, event: Event, job: Job) -> None:
        if event.what == "finished":
            self._done += 1
            if event.seconds and job.cost.seconds is not None:
                self._measured += event.seconds
                self._planned += job.cost.seconds.mid
            took = f"{event.seconds:.1f} s" if event.seconds else event.text
            count = f"[{self._done}/{self._done + len(self._left)}]"
            self.say(f"  {count}  {job.name}  {took}{_speed(job, event.seconds)}")
        elif event.what == "failed" and event.failure is not None:
            self.say(describe(job, event.failure))
        elif event.what == "skipped":
            self.say(f"  skipped  {job.name}: {event.text}")
        elif event.what == "stopped":
            self.say(f"  stopped  {job.name}")

    # The line that renews itself.

    def _show(self) -> None:
        now = time.monotonic()
        if self._live:
            if now - self._drawn > _REDRAW_SECONDS:
                self._drawn = now
                self._draw()
        elif now - self._said > _REPORT_SECONDS and self._running:
            self._said = now
            print("  " + self._line(), file=self.out, flush=True)

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns - 1
        line = ("  " + self._line())[:columns]
        self.out.write("\r" + line.ljust(self._width))
        self.out.flush()
        self._width = len(line)

    def _clear(self) -> None:
        if self._width:
            self.out.write("\r" + " " * self._width + "\r")
            self.out.flush()
            self._width = 0

    def _line(self) -> str:
        jobs = ", ".join(f"{w.job.name} {w.fraction:.0%}" for w in self._running.values()) or "waiting"
        parts = [f"{self._done}/{self._done + len(self._left)} jobs", jobs]
        speed = self._images_per_second()
        if speed:
            parts.append(f"{speed:,.0f} images/s")
        left = self.seconds_left()
        if left is not None:
            parts.append(f"about {duration(left)} left")
        return " · ".join(parts)

    def _images_per_second(self) -> float:
        now = time.monotonic()
        return sum(
            (w.job.facts.images or 0) * w.fraction / max(now - w.since, 0.1)
            for w in self._running.values()
            if w.job.kind == "train"
        )

    def seconds_left(self) -> float | None:
        """From the cost model, scaled by how the finished jobs of this run compare with it. None: some job
        that is left has no estimate."""
        scale = self._measured / self._planned if self._planned else 1.0
        total = longest = 0.0
        for job in self._left.values():
            if job.cost.seconds is None:
                return None
            watched = self._running.get(job.id)
            rest = job.cost.seconds.mid * scale * (1 - (watched.fraction if watched else 0.0))
            total, longest = total + rest, max(longest, rest)
        return max(total / max(self.slots, 1), longest)


def describe(job: Job, failure: Failure) -> str:
    """A failed job as a diagnostic at the line of the study that asked for it."""
    o = job.origin
    span = Span(o.file, o.line, o.column, o.line, o.column + 1) if o.line else None
    help = [*failure.help]
    if failure.details:
        help.append(f"details: {failure.details}")
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    return render(
        [Diagnostic(failure.code, f"`{job.name}`: {failure.message}", span, help=tuple(help))], colour=colour
    )


def duration(seconds: float) -> str:
    """For people: "45 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _speed(job: Job, seconds: float) -> str:
    if job.kind != "train" or not job.facts.images or not seconds:
        return ""
    return f"  {job.facts.images / seconds:,.0f} images/s"
