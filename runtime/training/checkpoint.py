"""State of a training on disk: whole or absent, checksummed, two kept, the newest sound one used.

A file is 32 bytes of SHA-256 and then what torch.save wrote; it appears under its name only when it is whole
and on disk. Read with weights_only: a stranger's file runs no code."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from isoloss.runtime.errors import JobError

KEPT = 2
_PREFIX, _SUFFIX = "step-", ".ckpt"


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state of `step` and drop all but the newest two. Raises OSError (disk full, read-only)."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    path = folder / f"{_PREFIX}{step:012d}{_SUFFIX}"
    temporary = folder / f".{path.name}.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(payload).digest())
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    for old in _found(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path, device: str = "cpu") -> dict[str, Any] | None:
    """The newest sound state, or None. A damaged file is renamed `*.damaged` and the one before it is
    used."""
    for path in _found(folder):
        state = _read(path, device)
        if state is not None:
            return state
        # Every process of a job comes by here: one of them is first.
        with suppress(FileNotFoundError):
            path.replace(path.with_suffix(".damaged"))
    return None


def with_what_is_kept(error: JobError, folder: Path) -> JobError:
    """Why a training can't go on, and what it leaves."""
    newest = next(iter(_found(folder)), None)
    left = "nothing was saved yet"
    if newest is not None:
        left = f"the state after step {int(newest.stem.removeprefix(_PREFIX))} is kept: {newest}"
    return JobError(error.code, error.message, *error.help, left, retry=error.retry)


def _found(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"), reverse=True)


def _read(path: Path, device: str) -> dict[str, Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < 32 or hashlib.sha256(memoryview(content)[32:]).digest() != content[:32]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content[32:]), map_location=device, weights_only=True)
    return state
