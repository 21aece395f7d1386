"""One job's result on the disk: result.json and the artefacts it vouches for.

In: observations and a folder of artefacts. Out: `result.json`; and back, every byte verified."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import KINDS, Job, Observation, observations_from_json
from isoloss.runtime import disk
from isoloss.runtime.store.trust import is_inner_name, is_regular

FORMAT = "isoloss.result/1"
RESULT = "result.json"
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2


class Damaged(Exception):  # noqa: N818 - a finding, turned into R107 by the store
    """A result is not what was written. The message says which part."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a job was run: recorded beside its observations, never part of its identity.

    `seconds` of wall time over all attempts; `started` and `ended` in seconds since the epoch (this
    attempt)."""

    seconds: float
    started: float
    ended: float
    device: str
    threads: int
    host: str
    world_size: int = 1
    attempts: int = 1
    simulated: bool = False
    planned_seconds: tuple[float, float, float] | None = None  # low, mid, high of the plan it ran under
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def device_seconds(self) -> float:
        """Devices times wall seconds: what plans count, and what is paid for."""
        return self.seconds * self.world_size


@dataclass(frozen=True, slots=True)
class Result:
    """What a job left. `artefacts` maps a name relative to `folder` to (size in bytes, SHA-256 hex)."""

    job: str
    kind: str
    name: str
    folder: Path
    observations: tuple[Observation, ...]
    artefacts: Mapping[str, tuple[int, str]]
    run: Run
    spec: Mapping[str, Any] = field(default_factory=dict)


def write_result(folder: Path, job: Job, observations: Sequence[Observation], run: Run) -> None:
    """Write `result.json` into a folder of artefacts. Raises OSError."""
    artefacts = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and name != RESULT:
            artefacts[name] = [path.stat().st_size, disk.sha256(path)]
    body = {
        "format": FORMAT,
        "job": job.id,
        "kind": job.kind,
        "kind_version": KINDS[job.kind].version,
        "name": job.name,
        "spec": job.spec,
        "observations": list(observations),
        "artefacts": artefacts,
        "run": asdict(run),
    }
    body = orjson.loads(orjson.dumps(body))
    body["digest"] = _digest(body)
    disk.replace(folder / RESULT, orjson.dumps(body, option=_OPTIONS))


def read_result(folder: Path, job: str, artefacts: bool) -> Result:
    """Read and verify. `artefacts` True: every artefact's SHA-256 too, else presence and size.

    Raises Damaged, and OSError where the disk and not the data is at fault."""
    try:
        if not is_regular(folder, RESULT):
            raise Damaged("result.json is no file of its own")
        body = orjson.loads((folder / RESULT).read_bytes())
        claimed = body.pop("digest")
        if _digest(body) != claimed:
            raise Damaged("checksum of result.json")
        if body["job"] != job:
            raise Damaged("result.json is another job's")
        result = _result(folder, body)
    except FileNotFoundError as error:
        raise Damaged("result.json is missing") from error
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Damaged("result.json can't be read") from error
    for name, (size, digest) in result.artefacts.items():
        _verify(folder, name, size, digest if artefacts else None)
    return result


def _verify(folder: Path, name: str, size: int, digest: str | None) -> None:
    path = folder / name
    try:
        if not is_inner_name(name) or not is_regular(folder, name):
            raise Damaged(f"{name} is no file of its own")
        if path.stat().st_size != size:
            raise Damaged(f"size of {name}")
        if digest is not None and disk.sha256(path) != digest:
            raise Damaged(f"checksum of {name}")
    except FileNotFoundError as error:
        raise Damaged(f"{name} is missing") from error


def _result(folder: Path, body: Mapping[str, Any]) -> Result:
    artefacts = {name: (int(size), str(digest)) for name, (size, digest) in body["artefacts"].items()}
    observations = observations_from_json(orjson.dumps(body["observations"]))
    if any(seen.job != body["job"] or not math.isfinite(seen.value) for seen in observations):
        raise ValueError("observations of another job, or that are no numbers")
    if body["kind"] not in KINDS or not isinstance(body["name"], str) or not isinstance(body["spec"], dict):
        raise ValueError("a kind, a name or a spec that is none")
    return Result(
        job=body["job"],
        kind=body["kind"],
        name=body["name"],
        folder=folder,
        observations=observations,
        artefacts=artefacts,
        run=_run_reader().validate_json(orjson.dumps(body["run"])),
        spec=body["spec"],
    )


@cache
def _run_reader() -> Any:
    # pydantic loads only where a result is read.
    from pydantic import TypeAdapter

    return TypeAdapter(Run)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
