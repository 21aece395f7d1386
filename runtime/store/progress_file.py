"""What a job in progress says of itself, for whoever looks: `isoloss status`, other runs, its next attempt.

In: seconds, attempts, the fraction done. Out: one small hidden file in the job's work folder, renewed every few
seconds and gone with the folder once the result is in."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

NAME = ".note"


@dataclass(frozen=True, slots=True)
class Note:
    """`seconds` of wall time and number of attempts so far, this one included; `fraction` of the job's work that
    its results rest on, in [0, 1]: what a kill undid is in the seconds alone."""

    seconds: float = 0.0
    attempts: int = 0
    fraction: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far. None: too early to tell."""
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction > 0.02 else None


def write(work: Path, note: Note) -> None:
    """Leave it in the job's work folder. A full disk loses the note, nothing else."""
    with suppress(OSError):
        draft = work / f"{NAME}.new"
        draft.write_bytes(orjson.dumps(asdict(note)))
        draft.rename(work / NAME)


def read(work: Path) -> Note | None:
    """What the job whose work folder this is said last; None: nothing, or nothing that can be read."""
    try:
        data = orjson.loads((work / NAME).read_bytes())
        return Note(float(data["seconds"]), int(data["attempts"]), float(data["fraction"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
