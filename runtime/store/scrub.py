"""Look whether a store is still what was written: every checksum, every line, every plan.

In: a store. Out: results that were damaged and are set aside now, and what else in it says nothing. Reads every
byte, so it runs when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from isoloss.runtime.disk import storage
from isoloss.runtime.errors import JobError
from isoloss.runtime.store.store import ORIGINS, Store
from isoloss.runtime.store.trust import well_formed


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """`checked` results and their `bytes`; `damaged`: job -> why it was set aside; `kept`: job -> why a damaged one
    could not be; `senseless`: sentences on files that hold what they should not."""

    checked: int
    bytes: int
    damaged: dict[str, str]
    kept: dict[str, str]
    senseless: tuple[str, ...]


def scrub(store: Store, is_plan: Callable[[bytes], bool]) -> Scrubbed:
    """Verify all of a store. Raises JobError R105 where it can't be read."""
    damaged: dict[str, str] = {}
    kept: dict[str, str] = {}
    checked = size = 0
    for job in list(store.jobs()):
        try:
            result = store.open_result(job)
        except KeyError:
            continue  # another process set it aside
        except JobError as error:
            if error.code not in ("R107", "R103", "R104"):
                raise
            (damaged if error.code == "R107" else kept)[job] = error.message
        else:
            checked += 1
            size += sum(bytes for bytes, _ in result.artefacts.values())
    return Scrubbed(checked, size, damaged, kept, tuple(_senseless(store.path, is_plan)))


def _senseless(root: Path, is_plan: Callable[[bytes], bool]) -> Iterator[str]:
    with storage("verifying the store"):
        for name in ("journal.jsonl", "forecasts.jsonl"):
            if count := _bad_lines(root / name):
                yield f"R111: {count} lines of `{name}` are no events: passed over"
        for path in sorted((root / "plans").glob("*.json")):
            if not is_plan(path.read_bytes()):
                yield f"R111: `plans/{path.name}` is no plan: passed over"
        if (root / "origin").exists() and _origin(root / "origin") not in ORIGINS:
            yield "R111: `origin` says neither that results are measured nor that they are simulated"


def _bad_lines(path: Path) -> int:
    if not path.exists():
        return 0
    bad = 0
    with path.open("rb") as file:
        for line in file:
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                event = None
            bad += not isinstance(event, dict) or not well_formed(event)
    return bad


def _origin(path: Path) -> object:
    try:
        data = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None
    return data.get("origin") if isinstance(data, dict) else None
