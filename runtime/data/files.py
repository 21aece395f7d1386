"""Published files of datasets below a data root: found, checked, and read without running anything in
them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isoloss.runtime.errors import JobError


@dataclass(frozen=True, slots=True)
class Published:
    """A file of an edition everybody uses. `md5` as its authors publish it (of the file as downloaded); None
    where they publish none: then only its contents are checked."""

    name: str
    md5: str | None = None


def is_there(path: Path) -> bool:
    """Whether it is a file. Raises JobError R401 where that can't be looked up: no permission, too long a name."""
    try:
        return path.is_file()
    except OSError as error:
        problem = f"{path.parent} can't be read: {error.strerror}"
        raise JobError("R401", problem, "name another folder: `--data FOLDER`") from error


def find(file: Published, folders: Sequence[Path], *, dataset: str, source: str) -> Path:
    """The first of `folders` that has the file. Raises JobError R401 that says what to fetch and where to
    put it."""
    for folder in folders:
        path = folder / file.name
        if is_there(path):
            return path
    if not folders:
        raise JobError(
            "R401",
            f"no folder was given for the files of `{dataset}`",
            f"fetch them from {source}",
            "and name the folder that holds them: `--data FOLDER`, or `export ISOLOSS_DATA=FOLDER`",
        )
    raise JobError(
        "R401",
        f"`{dataset}` lacks the file {file.name}",
        f"fetch it from {source}",
        f"put it in {folders[0]}; another folder is named by `--data FOLDER` or `export ISOLOSS_DATA=FOLDER`",
    )


def contents(path: Path, file: Published) -> bytes:
    """The file's bytes, unpacked if it is gzipped. Raises JobError R402 for a wrong checksum or a broken
    archive."""
    data = path.read_bytes()
    _check(path, data, file)
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, str(error)) from error


def member(archive: Path, name: str, file: Published) -> bytes:
    """One file of a published .tar.gz, read without unpacking anything to the disk. Raises JobError R402."""
    packed = io.BytesIO(archive.read_bytes())
    if (
        file.md5 is not None
        and hashlib.md5(packed.getbuffer(), usedforsecurity=False).hexdigest() != file.md5
    ):
        raise damaged(archive, "its checksum is not the published one")
    try:
        with tarfile.open(fileobj=packed, mode="r:gz") as opened:
            found = opened.extractfile(name)
            if found is None:
                raise damaged(archive, f"{name} in it is not a file")
            return found.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
        raise damaged(archive, str(error)) from error


def _check(path: Path, data: bytes, file: Published) -> None:
    # md5 guards against broken downloads here, not against forgers: it is what the authors publish.
    if file.md5 is not None and hashlib.md5(data, usedforsecurity=False).hexdigest() != file.md5:
        raise damaged(path, "its checksum is not the published one")


def damaged(path: Path, reason: str) -> JobError:
    return JobError("R402", f"{path} is damaged: {reason}", "remove it and fetch it again")
