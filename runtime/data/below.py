"""Files below the data root, by a pattern of a study: found, or a message that says what to put where.

A study from a stranger names files by a pattern; it can reach nothing outside the root that the command line or
ISOLOSS_DATA names, not by `..`, not by an absolute path, not through a link."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from isoloss.runtime.data.files import Published, find
from isoloss.runtime.data.shards import MANIFEST
from isoloss.runtime.errors import JobError


def files_below(root: Path | None, pattern: str) -> list[Path]:
    """Files, and folders with a manifest of ours (found as the folder or as its manifest), in the order of their
    names. Raises JobError: R401 without a root or a match, R407 for what would lie elsewhere."""
    _check_relative(pattern)
    if root is None:
        raise JobError(
            "R401",
            f"no folder was given for `{pattern}`",
            "put the files in a folder and name it: `--data FOLDER`, or `export ISOLOSS_DATA=FOLDER`",
        )
    if not root.is_dir():
        raise JobError("R401", f"the data root {root} is no folder", "name another: `--data FOLDER`")
    try:
        matches = sorted(root.glob(pattern), key=lambda path: path.relative_to(root).as_posix())
    except (ValueError, NotImplementedError, OSError) as error:
        raise JobError("R401", f"`{pattern}` finds nothing below {root}: {error}") from error
    for path in matches:
        _check_inside(root, path)
    places = [path.parent if path.name == MANIFEST else path for path in matches]
    found = [path for path in places if path.is_file() or (path / MANIFEST).is_file()]
    if not found:
        raise JobError(
            "R401", f"no file `{pattern}` below {root}", f"put the files there: {root / pattern}",
            "or name the folder that has them: `--data FOLDER`, or `export ISOLOSS_DATA=FOLDER`",
        )  # fmt: skip
    return found


def file_below(root: Path | None, name: str, *, dataset: str, source: str) -> Path:
    """One file by its name below the root. Raises JobError: R401 that says what to fetch from `source` and where to put
    it, R407 for what would lie elsewhere."""
    _check_relative(name)
    path = find(Published(name), [] if root is None else [root], dataset=dataset, source=source)
    assert root is not None, "the file was found below it"
    _check_inside(root, path)
    return path


def _check_relative(pattern: str) -> None:
    pure = PurePosixPath(pattern)
    if not pattern.strip() or pure.is_absolute() or ".." in pure.parts or "\\" in pattern or "\0" in pattern:
        raise JobError(
            "R407", f"`{pattern}` is no path below the data root", "write a relative one without `..`"
        )


def _check_inside(root: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        raise JobError(
            "R407", f"{path} is a link that leaves the data root", f"copy the file to {path.parent}"
        )
