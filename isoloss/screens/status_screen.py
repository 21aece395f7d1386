"""The state of a store -> lines: studies, jobs in progress, planned against measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.dsl.vocabulary.quantity_text import bytes_text, time_text


def status_lines(store_state: Mapping[str, Any]) -> Iterator[str]:
    yield f"store {store_state['store']}"
    for study in store_state["studies"]:
        yield f"  study {study['name']} (revision {study['revision']}): {study['state']}"
    counts = ", ".join(f"{n} {state}" for state, n in store_state["counts"].items() if n)
    yield f"  jobs: {counts or 'none yet'}"
    if store_state["damaged"]:
        yield f"  {len(store_state['damaged'])} damaged results were set aside in damaged/"
    for id, job in store_state["jobs"].items():
        if job["state"] == "running":
            yield f"  running  {job['name']}  {'  '.join([*_far(job), _where(job)])}"
        elif job["state"] == "failed":
            yield f"  failed   {job['name']}  {job.get('code') or ''}: {job.get('message') or ''} ({id})"
        elif job["state"] == "stopped":
            yield f"  stopped  {job['name']}  {'  '.join([*_far(job), 'goes on with the next `isoloss run`'])}"
    yield from _compared(store_state["jobs"].values())


def verified_lines(found: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What `--verify` read and found, and what runs again because of it."""
    yield f"  verified: {found['checked']} results, {bytes_text(found['bytes'])}, every checksum"
    for id, why in found["damaged"].items():
        yield f"  damaged  {_name(id, jobs)}  R107: {why}"
    for id, why in found["kept"].items():
        yield f"  damaged  {_name(id, jobs)}  and it could not be set aside: {why}"
    for sentence in found["senseless"]:
        yield f"  {sentence}"
    again = ", ".join(_name(id, jobs) for id in found["damaged"])
    if again:
        yield f"  the next `isoloss run` of their study runs again: {again}"
    elif not found["kept"]:
        yield "  nothing is damaged"


def _name(id: str, jobs: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{jobs[id]['name']} ({id})" if id in jobs else id


def _far(job: Mapping[str, Any]) -> Iterator[str]:
    """How far a job in progress is, whoever runs it, and how fast it has been over all its attempts."""
    if "fraction" not in job:
        return
    yield f"{job['fraction']:.0%}"
    if job.get("images") and job["fraction"] and job["kind"] == "train":
        yield f"{job['images'] * job['fraction'] / max(job['seconds'], 0.1):,.0f} images/s"
    yield f"{time_text(job['seconds'], 2)} so far"
    if job["state"] == "running" and job["seconds_left"] is not None:
        yield f"about {time_text(job['seconds_left'], 2)} left"
    if job.get("planned_seconds"):
        yield f"planned {time_text(job['planned_seconds'][1])}"


def _where(job: Mapping[str, Any]) -> str:
    return f"process {job['pid']} on {job['host']}"


def _compared(jobs: Any) -> Iterator[str]:
    """Planned against measured device-seconds, per kind: sums, the median of how far off a job was, who lay inside its
    interval."""
    from statistics import median

    timed = [j for j in jobs if j["state"] == "done" and j["planned_seconds"] and not j["simulated"]]
    if not timed:
        return
    yield "  planned against measured"
    yield f"    {'':<10}{'jobs':>6}{'planned':>12}{'measured':>12}   median error   inside the interval"
    for kind in dict.fromkeys(j["kind"] for j in timed):
        of_kind = [j for j in timed if j["kind"] == kind]
        planned = sum(j["planned_seconds"][1] for j in of_kind)
        measured = sum(j["device_seconds"] for j in of_kind)
        inside = sum(
            j["planned_seconds"][0] <= j["device_seconds"] <= j["planned_seconds"][2] for j in of_kind
        )
        times = f"{time_text(planned):>12}{time_text(measured):>12}"
        error = median(j["device_seconds"] / j["planned_seconds"][1] - 1 for j in of_kind)
        count = len(of_kind)
        yield f"    {kind:<10}{count:>6}{times}{error:>+15.0%}   {inside} of {count} ({inside / count:.0%})"
