"""Durable writes: a file or a folder is whole or absent, and a full disk is a message and not a traceback.

In: bytes and paths. Out: what is on the disk after a crash. Used by the store, the journal and the leases."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isoloss.runtime.errors import JobError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EROFS, errno.EACCES, errno.EPERM}
_CHUNK_BYTES = 1 << 20


def storage_fault(error: OSError, doing: str) -> JobError:
    """The JobError for a failed file operation: R103 full, R104 not writable, R105 anything else."""
    reason = error.strerror or str(error)
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return JobError(
            "R103", f"no space left while {doing}{place}", "free some space and run the same command"
        )
    if error.errno in _DENIED:
        return JobError(
            "R104", f"not allowed while {doing}{place}: {reason}", "choose another folder: `--store DIR`"
        )
    return JobError("R105", f"failed while {doing}{place}: {reason}")


@contextmanager
def storage(doing: str) -> Iterator[None]:
    """Turn any OSError inside into the JobError of `storage_fault`; `doing` completes "failed while ..."."""
    try:
        yield
    except OSError as error:
        raise storage_fault(error, doing) from error


def write_all(descriptor: int, data: bytes) -> None:
    """os.write until everything is written. Raises OSError (ENOSPC, EIO, ...)."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync(path: Path) -> None:
    """fsync one file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync every file below `folder`, then every folder, deepest first: after it a rename may publish
    them."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


def replace(path: Path, data: bytes) -> None:
    """Give `path` these contents, atomically and durably: readers see the old or the new, never a part.

    Raises OSError; then the old contents stand and no temporary file stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that a user named, as `replace` does: its old contents stand until the new are on the disk. A link
    is followed, a file keeps its permissions; a pipe or a device is written to. Raises OSError."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    if mode is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    replace(path, data)
    if mode is not None:
        path.chmod(mode)


def sha256(path: Path) -> str:
    """Hex digest of a file's contents."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
