"""The live view: a block that renews itself on a terminal (a real pty), plain lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import re
import select
import struct
import termios
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

import pytest

from isoloss.compiler.plan import Cost, Facts, Job, Range
from isoloss.runtime.executors.base import Event
from isoloss.runtime.worker.worker import Failure
from isoloss.screens import live_block as screen
from isoloss.screens import pace, progress
from isoloss.screens.progress import Progress
from tests.runtime.fakes import generate_job, train_job
from tests.runtime.training_specs import train_spec


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.setattr(pace, "time", made)
    return made


class Terminal:
    """A pty, and what a person would see on it: enough of a terminal for the sequences that screen.py knows."""

    def __init__(self, columns: int, lines: int) -> None:
        self.end, ours = os.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.out = open(ours, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as the test
        self.columns = columns
        self.raw = ""

    def shown(self) -> list[str]:
        data = b""
        while select.select([self.end], [], [], 0.1)[0]:
            data += os.read(self.end, 1 << 16)
        self.raw += data.decode()
        rows, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[\??[0-9;]*[a-zA-Z]|[^\x1b]", self.raw):
            if part.endswith("A") and len(part) > 1:
                row -= int(part[2:-1])
            elif part == "\x1b[J":
                rows[row] = rows[row][:column]
                del rows[row + 1 :]
            elif part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif len(part) == 1:
                rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + 1 :]
                column += 1
        assert all(len(text) < self.columns for text in rows), "a line would wrap"
        return rows


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Terminal(100, 24)
    monkeypatch.setattr(screen.shutil, "get_terminal_size", lambda: os.get_terminal_size(made.out.fileno()))
    yield made
    made.out.close()
    os.close(made.end)


def training(name: str, seconds: float = 100.0, seed: int = 0) -> Job:
    job = train_job(replace(train_spec(100, 32), seed=seed))
    facts = Facts(params=944, images=3200, flops_per_image=1e6)
    return replace(job, name=name, cost=Cost(seconds=Range(seconds / 2, seconds, seconds * 2)), facts=facts)


def view(out: TextIO, *jobs: Job, slots: int = 2) -> Progress:
    made = Progress(out=out, slots=slots)
    made.expect(jobs, 3)
    return made


def test_a_line_for_each_running_job_and_one_for_the_study(terminal: Terminal, clock: Clock) -> None:
    first, second, later = training("runs/a"), training("runs/b", seed=1), training("runs/c", seed=2)
    watch = view(terminal.out, first, second, later)
    watch(Event("started", first, text="cpu"))
    watch(Event("started", second, text="cpu"))
    watch(Event("progress", first, fraction=0.0))
    watch(Event("progress", second, fraction=0.5))  # from a checkpoint: another attempt's work
    clock.now += 10
    watch(Event("progress", first, fraction=0.25))
    watch(Event("progress", second, fraction=0.75))
    clock.now += 1
    watch(Event("tick", None))
    study, one, other = terminal.shown()[-3:]
    # 2 x 0.25 x 3,200 images in 11 s; 1 MFLOP each.
    assert "3/6 jobs · 2 running" in study
    assert "145 images/s · 145 MFLOP/s" in study
    # Left: 33 s and 11 s at their own pace, and the third at what the first two show of the model: 0.44 of 100 s.
    assert "about 44 s left" in study
    assert re.search(r"runs/a +25%  ██▌ +73 images/s  33 s left  cpu", one)
    assert re.search(r"runs/b +75%  ███████▌ +73 images/s  11 s left  cpu", other)
    watch(Event("finished", second, seconds=200.0))
    clock.now += 1
    watch(Event("tick", None))
    rows = terminal.shown()
    assert rows[-3] == "  [4/6]  runs/b  3.33 min  16 images/s", "what ended stays above"
    assert "2× the planned time so far" in rows[-2]
    watch.close()
    assert terminal.shown()[-1] == ""


def test_what_happens_is_said(terminal: Terminal, clock: Clock) -> None:
    job, other = training("runs/a"), training("runs/b", seed=1)
    watch = view(terminal.out, job, other)
    watch(Event("elsewhere", other, text="process 7 on node2"))
    watch(Event("progress", other, fraction=0.3))
    watch(Event("started", job, text="cpu"))
    watch(Event("again", job, text="the worker was killed (SIGKILL)"))
    watch(Event("lost", None, text="host b went away (its connection ended); its jobs go on elsewhere"))
    watch(Event("failed", job, failure=Failure("R320", "the loss became nan at step 7", ("lower `lr`",))))
    clock.now += 1
    watch(Event("tick", None))
    rows = terminal.shown()
    assert "  elsewhere  runs/b: run by process 7 on node2" in rows
    assert "  again  runs/a: the worker was killed (SIGKILL); it goes on from its last checkpoint" in rows
    assert "  host b went away (its connection ended); its jobs go on elsewhere" in rows
    assert "error[R320]: `runs/a`: the loss became nan at step 7" in rows
    assert re.search(r"runs/b +30% .*process 7 on node2", rows[-1])


@pytest.mark.parametrize("columns", [200, 80, 40, 24])
def test_lines_fit_the_width(columns: int, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    jobs = [training(f"runs/wrn(28, {n})/a_generator_with_a_long_name/100M", seed=n) for n in range(30)]
    watch = view(io.StringIO(), *jobs)
    for job in jobs:
        watch(Event("started", job, text="node17 cuda:0"))
        watch(Event("progress", job, fraction=0.0))
    clock.now += 5
    for job in jobs:
        watch(Event("progress", job, fraction=0.5))
    block = list(watch.block(columns, 24))
    assert len(block) == 12
    assert block[-1] == "    and 20 more"
    assert all(len(line) < columns for line in block)
    assert all("50%" in line for line in block[1:-1])
    assert all(line.startswith("    runs/w") for line in block[1:-1])


def test_no_color_and_dumb_terminals(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = training("runs/a")
    monkeypatch.setenv("NO_COLOR", "1")
    watch = view(terminal.out, job)
    watch(Event("started", job, text="cpu"))
    clock.now += 1
    watch(Event("tick", None))
    assert "runs/a" in terminal.shown()[-1]
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.raw)
    monkeypatch.setenv("TERM", "dumb")
    plain = view(terminal.out, job)
    clock.now += 1
    before = terminal.raw
    plain(Event("started", job, text="cpu"))
    plain.say("a line")
    terminal.shown()
    assert "\x1b" not in terminal.raw[len(before) :]


def test_plain_lines_where_nobody_watches(clock: Clock) -> None:
    out = io.StringIO()
    job, other = training("runs/a"), generate_job(1)
    watch = view(out, job, other)
    watch(Event("started", job, text="cpu"))
    watch(Event("progress", job, fraction=0.0))
    clock.now += 31
    watch(Event("progress", job, fraction=0.5))
    watch(Event("tick", None))
    watch(Event("finished", other, seconds=1.5))
    said = out.getvalue()
    assert "\x1b" not in said
    assert "\r" not in said
    assert said.splitlines() == [
        "  3/5 jobs · 1 running · about 31 s left · 52 images/s · 51.6 MFLOP/s · runs/a 50%",
        "  [4/5]  generate 1  1.5 s",
    ]


def test_time_left_counts_slots_chains_and_ranks(clock: Clock) -> None:
    one, two = training("a", 100.0), training("b", 100.0, seed=1)
    watch = view(io.StringIO(), one, two)
    assert watch.seconds_left() == 100.0
    chained = replace(two, needs=(one.id,))
    watch.expect([chained, one], 0)
    assert watch.seconds_left() == 200.0
    watch.expect([one, two], 0)
    watch.processes = 2  # each takes 100 device-seconds, 50 s on both slots, one after the other
    assert watch.seconds_left() == 100.0
    watch.expect([one, replace(two, cost=Cost())], 0)
    assert watch.seconds_left() is None
