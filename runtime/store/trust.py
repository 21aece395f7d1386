"""What a store from a stranger may not do: lead out of its folder, name what isn't its own, say what has no sense.

In: a folder, names and events read in it. Out: whether they stay within it and have their shape. A store is data that
was unpacked, copied or moved: what it says is checked where it is read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoloss.runtime.errors import JobError

JOB_ID = re.compile(r"[0-9a-f]{20}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PLAN_FILE = re.compile(r"plans/[A-Za-z0-9_-]{1,200}\.json")


def check_tree(root: Path, *, below: str = ".") -> None:
    """No link and no device, pipe or socket among what the store reads and writes. Folders of results are looked at as
    each is read, MLflow's by its mirror (`below`). Raises JobError R110, OSError."""
    for entry in _entries(root, root / below):
        name = Path(entry.path).relative_to(root)
        mode = _mode(entry)
        if mode is not None and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            what = "a link" if stat.S_ISLNK(mode) else "no file and no folder"
            raise JobError(
                "R110",
                f"`{name}` in the store `{root}` is {what}",
                "a store holds files and folders alone: put what it points at there, or remove it",
            )


def _entries(root: Path, folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting, first = [folder], folder == root
    while waiting:
        # What another process removes meanwhile leads nowhere.
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                looked_at_later = first and (
                    JOB_ID.fullmatch(entry.name) or entry.name in ("mlruns", "damaged")
                )
                if entry.is_dir(follow_symlinks=False) and not looked_at_later:
                    waiting.append(Path(entry.path))
        first = False


def _mode(entry: os.DirEntry[str]) -> int | None:
    if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
        return None
    with suppress(FileNotFoundError):
        return entry.stat(follow_symlinks=False).st_mode
    return None


def below(root: Path, name: str) -> Path:
    """The path of what a file of the store calls `name`. Raises JobError R110 where it lies elsewhere."""
    try:
        path = root / name
        inside = path.resolve().is_relative_to(root.resolve())
    except (ValueError, OSError, RuntimeError):
        inside = False
    if not inside:
        raise JobError("R110", f"the store `{root}` names a file outside it: `{name}`")
    return path


def is_inner_name(name: str) -> bool:
    """Does a name of a result's part, as result.json gives it, stay in the result's folder?"""
    parts = name.split("/")
    return "\0" not in name and all(part not in ("", ".", "..") for part in parts)


def is_regular(root: Path, name: str) -> bool:
    """Is `name` below `root` a file of its own, through folders that are no links? Raises FileNotFoundError."""
    parts = name.split("/")
    folders = [root.joinpath(*parts[:depth]) for depth in range(len(parts))]
    return all(stat.S_ISDIR(folder.lstat().st_mode) for folder in folders) and stat.S_ISREG(
        (root / name).lstat().st_mode
    )


# Events of the journal.


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_values(value: Any) -> bool:
    return isinstance(value, dict) and all(v is None or _is_number(v) for v in value.values())


def _is_points(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_point, value))


def _is_point(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    name, step, number, ms = value
    whole = type(step) is int and type(ms) is int and abs(step) < 2**62 and 0 <= ms < 2**62
    return isinstance(name, str) and whole and (number is None or isinstance(number, int | float))


_FIELDS = {
    "time": _is_number,
    "job": _is_name,
    "study": _is_text,
    "state": _is_text,
    "name": _is_text,
    "revision": lambda value: type(value) is int and 0 <= value < 10**9,
    "file": lambda value: isinstance(value, str) and _PLAN_FILE.fullmatch(value) is not None,
    "path": _is_text,
    "host": _is_text,
    "pid": lambda value: type(value) is int,
    "code": lambda value: value is None or isinstance(value, str),
    "message": lambda value: value is None or isinstance(value, str),
    "values": _is_values,
    "points": _is_points,
}
_NEEDED = {
    "job": ("time", "job", "state"),
    "study": ("time", "study", "state"),
    "plan": ("time", "study", "name", "file", "revision"),
    "metrics": ("time", "job", "points"),
    "file": ("time", "study", "path"),
    "damaged": ("time", "job"),
}


def well_formed(event: Mapping[str, Any]) -> bool:
    """Has an event of the journal what its readers count on? Of kinds that nobody reads anything goes."""
    kind = event.get("event")
    needed = _NEEDED.get(kind) if isinstance(kind, str) else None
    if needed is None:
        return True
    return all(name in event for name in needed) and all(
        check(event[name]) for name, check in _FIELDS.items() if name in event
    )
