"""A store and its plans -> what is done, running, failed, stopped and waiting, as data. For `isoloss status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def store_state(store: Any) -> dict[str, Any]:
    """The state of a store as data. `studies` come from the latest plan of each; `jobs` are those of all
    plans and results, each with its state: done, running, failed, stopped, waiting."""
    from isoloss.runtime.store import journal, progress_file
    from isoloss.runtime.store.recovery import last_events, running

    last = last_events(store)
    results = {result.job: result for result in store.results()}
    jobs: dict[str, dict[str, Any]] = {}
    studies = []
    for study in _studies(store, journal.read(store.path / "journal.jsonl", metrics=False)[0]):
        studies.append({k: study[k] for k in ("name", "digest", "revision", "state")})
        for job in study["jobs"]:
            jobs[job.pop("id")] = job
    for id, event in last.items():
        state = jobs.setdefault(id, {"name": event.get("name", id), "kind": "", "state": "waiting"})
        if event["state"] in ("failed", "crashed"):
            state |= {"state": "failed", "code": event.get("code"), "message": event.get("message")}
        elif running(store, event):
            state |= {
                "state": "running",
                "since": event["time"],
                "host": event.get("host"),
                "pid": event.get("pid"),
            }
        elif event["state"] in ("started", "stopped", "lost"):
            state["state"] = "stopped"
        note = progress_file.read(store.path / "work" / id)
        if note is not None and state["state"] in ("running", "stopped", "failed"):
            state |= {"fraction": note.fraction, "seconds": note.seconds, "attempts": note.attempts}
            state["seconds_left"] = note.seconds_left
    for id, result in results.items():
        run = result.run
        jobs[id] = {
            "name": result.name,
            "kind": result.kind,
            "state": "done",
            "seconds": run.seconds,
            "device_seconds": run.device_seconds,
            "planned_seconds": run.planned_seconds,
            "device": run.device,
            "simulated": run.simulated,
        }
    return {
        "store": str(store.path),
        "studies": studies,
        "counts": {s: sum(j["state"] == s for j in jobs.values()) for s in _STATES},
        "damaged": sorted(entry.name for entry in (store.path / "damaged").glob("*")),
        "jobs": jobs,
    }


_STATES = ("done", "running", "failed", "stopped", "waiting")


def _studies(store: Any, events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    import orjson

    from isoloss.runtime.errors import JobError

    plans: dict[str, dict[str, Any]] = {}
    states: dict[str, str] = {}
    for event in events:
        if event.get("event") == "plan":
            plans[event["study"]] = event
        elif event.get("event") == "study":
            states[event["study"]] = event["state"]
    for digest, event in plans.items():
        try:
            jobs = orjson.loads(store.below(event["file"]).read_bytes())["jobs"]
            rows = [_row(job) for job in jobs]
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, JobError):
            rows = []
        yield {
            "name": event["name"],
            "digest": digest,
            "revision": event["revision"],
            "state": states.get(digest, "waiting"),
            "jobs": rows,
        }


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's job that waits. Raises KeyError, TypeError, AttributeError for what is none."""
    images = job["facts"]["images"]
    if not all(isinstance(job[name], str) for name in ("id", "name", "kind")) or not isinstance(
        images, int | None
    ):
        raise TypeError("no job of a plan")
    told = {name: job[name] for name in ("id", "name", "kind")}
    return {**told, "state": "waiting", "images": images, "planned_seconds": _planned(job)}


def _planned(job: Mapping[str, Any]) -> list[float] | None:
    """Low, mid, high of a plan's job."""
    seconds = job["cost"]["seconds"]
    return None if seconds is None else [float(seconds[end] + 0) for end in ("low", "mid", "high")]
