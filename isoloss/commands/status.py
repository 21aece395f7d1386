"""isoloss status: what a store has done, what runs, what failed; planned against measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.errors import FINE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  isoloss status --store isoloss-store"
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="default: ./isoloss-store")
    parser.add_argument("--json", action="store_true", help="the same as data")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.loop import as_user_error
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store.store import Store

    try:
        found = survey(Store(arguments.store, create=False))
    except JobError as error:
        raise as_user_error(error) from error
    if arguments.json:
        import orjson

        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(_lines(found)))
    return FINE


def survey(store: Any) -> dict[str, Any]:
    """The state of a store as data. `studies` come from the latest plan of each; `jobs` are those of all
    plans and results, each with its state: done, running, failed, stopped, waiting."""
    from isoloss.runtime.store import journal
    from isoloss.runtime.store import progress_file as notes
    from isoloss.runtime.store.recovery import last_events, running

    last = last_events(store)
    results = {result.job: result for result in store.results()}
    jobs: dict[str, dict[str, Any]] = {}
    studies = []
    for study in _studies(store, journal.read(store.path / "journal.jsonl", metrics=False)[0]):
        studies.append({k: study[k] for k in ("name", "digest", "revision", "state")})
        for job in study["jobs"]:
            jobs[job["id"]] = {"name": job["name"], "kind": job["kind"], "state": "waiting"}
            jobs[job["id"]] |= {"images": job["facts"]["images"], "planned_seconds": _planned(job)}
    for id, event in last.items():
        known = jobs.setdefault(id, {"name": event.get("name", id), "kind": "", "state": "waiting"})
        if event["state"] in ("failed", "crashed"):
            known |= {"state": "failed", "code": event.get("code"), "message": event.get("message")}
        elif running(store, event):
            known |= {
                "state": "running",
                "since": event["time"],
                "host": event.get("host"),
                "pid": event.get("pid"),
            }
        elif event["state"] in ("started", "stopped", "lost"):
            known["state"] = "stopped"
        note = notes.read(store.path / "work" / id)
        if note is not None and known["state"] in ("running", "stopped", "failed"):
            known |= {"fraction": note.fraction, "seconds": note.seconds, "attempts": note.attempts}
            known["seconds_left"] = note.seconds_left
    for id, result in results.items():
        run = result.run
        jobs[id] = {
            "name": result.name,
            "kind": result.kind,
            "state": "done",
            "seconds": run.seconds,
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

    plans: dict[str, dict[str, Any]] = {}
    states: dict[str, str] = {}
    for event in events:
        if event.get("event") == "plan":
            plans[event["study"]] = event
        elif event.get("event") == "study":
            states[event["study"]] = event["state"]
    for digest, event in plans.items():
        try:
            jobs = orjson.loads((store.path / event["file"]).read_bytes())["jobs"]
        except (OSError, orjson.JSONDecodeError, KeyError):
            jobs = []
        yield {
            "name": event["name"],
            "digest": digest,
            "revision": event["revision"],
            "state": states.get(digest, "running"),
            "jobs": jobs,
        }


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"store {found['store']}"
    for study in found["studies"]:
        yield f"  study {study['name']} (revision {study['revision']}): {study['state']}"
    counts = ", ".join(f"{n} {state}" for state, n in found["counts"].items() if n)
    yield f"  jobs: {counts or 'none yet'}"
    if found["damaged"]:
        yield f"  {len(found['damaged'])} damaged results were set aside in damaged/"
    for id, job in found["jobs"].items():
        if job["state"] == "running":
            yield f"  running  {job['name']}  {'  '.join([*_far(job), _where(job)])}"
        elif job["state"] == "failed":
            yield f"  failed   {job['name']}  {job.get('code') or ''}: {job.get('message') or ''} ({id})"
        elif job["state"] == "stopped":
            yield f"  stopped  {job['name']}  {'  '.join([*_far(job), 'goes on with the next `isoloss run`'])}"
    yield from _compared(found["jobs"].values())


def _far(job: Mapping[str, Any]) -> Iterator[str]:
    """How far a job in progress is, whoever runs it, and how fast it has been over all its attempts."""
    from isoloss.dsl.vocabulary.quantity_text import time_text

    if "fraction" not in job:
        return
    yield f"{job['fraction']:.0%}"
    if job.get("images") and job["fraction"] and job["kind"] == "train":
        yield f"{job['images'] * job['fraction'] / max(job['seconds'], 0.1):,.0f} images/s"
    yield f"{time_text(job['seconds'])} so far"
    if job["state"] == "running" and job["seconds_left"] is not None:
        yield f"about {time_text(job['seconds_left'])} left"
    if job.get("planned_seconds"):
        yield f"planned {time_text(job['planned_seconds'][1])}"


def _where(job: Mapping[str, Any]) -> str:
    return f"process {job['pid']} on {job['host']}"


def _planned(job: Mapping[str, Any]) -> list[float] | None:
    """Low, mid, high of a plan's job."""
    seconds = job["cost"]["seconds"]
    return None if seconds is None else [seconds["low"], seconds["mid"], seconds["high"]]


def _compared(jobs: Any) -> Iterator[str]:
    """Planned against measured, per kind: sums, the median of how far off a job was, who lay inside its interval."""
    from statistics import median

    from isoloss.dsl.vocabulary.quantity_text import time_text

    timed = [j for j in jobs if j["state"] == "done" and j["planned_seconds"] and not j["simulated"]]
    if not timed:
        return
    yield "  planned against measured"
    yield f"    {'':<10}{'jobs':>6}{'planned':>12}{'measured':>12}   median error   inside the interval"
    for kind in dict.fromkeys(j["kind"] for j in timed):
        mine = [j for j in timed if j["kind"] == kind]
        planned = sum(j["planned_seconds"][1] for j in mine)
        measured = sum(j["seconds"] for j in mine)
        inside = sum(j["planned_seconds"][0] <= j["seconds"] <= j["planned_seconds"][2] for j in mine)
        times = f"{time_text(planned):>12}{time_text(measured):>12}"
        error = median(j["seconds"] / j["planned_seconds"][1] - 1 for j in mine)
        yield f"    {kind:<10}{len(mine):>6}{times}{error:>+15.0%}   {inside} of {len(mine)} ({inside / len(mine):.0%})"
