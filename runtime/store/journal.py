"""The journal: everything that happened in a store, in order. MLflow is its mirror.

In: events as dicts, metric points. Out: `journal.jsonl`, one JSON object a line, only ever appended to.

Each event is one `write` on a descriptor opened with O_APPEND, so that lines of several processes don't mix.
A process killed in a write leaves a torn line; the next writer starts a new one, readers pass the torn
over, and what a stranger wrote that is no event."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from isoloss.runtime.disk import storage, storage_fault, write_all
from isoloss.runtime.store.trust import well_formed

#: A buffer this long, or a point this long after the last write, is written: what a kill can lose of a curve.
_BUFFERED_POINTS = 1000
_BUFFERED_SECONDS = 2.0


class Journal:
    """One process's end of the journal. Not shared by threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def append(self, event: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write one event, stamped with the time; `durable`: on the disk before this returns. Raises JobError
        R103, R104, R105."""
        line = orjson.dumps({"time": round(time.time(), 3), **event}) + b"\n"
        with storage("writing the journal"):
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            # One write per line; a retry after a short write would let another process's line in between,
            # which readers survive, as they survive any torn line.
            write_all(self._descriptor, b"\n" + line if self._torn() else line)
            if durable:
                os.fsync(self._descriptor)

    def _torn(self) -> bool:
        assert self._descriptor is not None
        end = os.fstat(self._descriptor).st_size
        return end > 0 and os.pread(self._descriptor, 1, end - 1) != b"\n"

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass
class MetricBuffer:
    """A job's curve on its way to the journal: the `log` of its JobContext.

    A call appends to a list (about a microsecond); one line carries up to 1,000 points
    [metric, step, value, milliseconds since the epoch]."""

    journal: Journal
    job: str
    _points: list[tuple[str, int, float, int]] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)

    def __call__(self, metric: str, value: float, step: int) -> None:
        points = self._points
        points.append((metric, step, float(value), time.time_ns() // 1_000_000))
        if len(points) >= _BUFFERED_POINTS or time.monotonic() - self._written > _BUFFERED_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered. Raises JobError R103, R104, R105."""
        if self._points:
            # orjson writes NaN and infinity as null; the mirror reads null as NaN.
            self.journal.append({"event": "metrics", "job": self.job, "points": self._points})
            self._points = []
        self._written = time.monotonic()


def read(
    path: Path, offset: int = 0, *, metrics: bool = True, limit_bytes: int = -1
) -> tuple[list[dict[str, Any]], int]:
    """Events from byte `offset` on, and the offset to go on from. A last line without its end waits for the
    next call; a line that is no event was torn by a kill, or isn't ours, and is passed over. No journal: no events.
    `metrics` False: curves, most of a long journal, are not even parsed. `limit_bytes`: about so much of it,
    in whole lines."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit_bytes)
            if limit_bytes > 0:
                data += file.readline()
    except FileNotFoundError:
        return [], offset
    except OSError as error:
        raise storage_fault(error, "reading the journal") from error
    whole = data.rfind(b"\n") + 1
    events = []
    for line in data[:whole].splitlines():
        if not metrics and b'"event":"metrics"' in line[:64]:
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict) and well_formed(event):
            events.append(event)
    return events, offset + whole
