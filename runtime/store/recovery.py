"""What became of every job, from the journal; and putting right what a crash left behind.

In: a store. Out: the last event of each job. Runs when a run begins, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store


def last_events(store: Store) -> Mapping[str, Mapping[str, Any]]:
    """job id -> its last "job" event; `state` is started, finished, failed, crashed, stopped, skipped or
    lost. A result in the store says more than its last event."""
    events, _ = journal.read(store.path / "journal.jsonl", metrics=False)
    return {e["job"]: e for e in events if e.get("event") == "job" and "job" in e and "state" in e}


def study_states(store: Store) -> Mapping[str, str]:
    """study digest -> running, finished, failed or stopped, as the journal last said."""
    events, _ = journal.read(store.path / "journal.jsonl", metrics=False)
    return {e["study"]: e["state"] for e in events if e.get("event") == "study"}


def running(store: Store, event: Mapping[str, Any]) -> bool:
    """Is the job of this event being run now, by whomever?"""
    return event["state"] == "started" and store.leases.holder(event["job"]) is not None


def recover(store: Store) -> list[str]:
    """Say in the journal which jobs were begun by a process that is gone, so that nobody takes them for
    running, and which have a result that nobody told of; remove half-written results (never checkpoints). Returns
    the ids of those that were lost."""
    lost = []
    for job, event in last_events(store).items():
        if event["state"] == "finished" or running(store, event):
            continue
        # With a result: killed between the result and its line. Not lost, only not yet said.
        state = "finished" if store.has(job) else "lost" if event["state"] == "started" else None
        if state is not None:
            facts = {k: event[k] for k in ("name", "study") if k in event}
            store.journal.append({"event": "job", "state": state, "job": job, **facts})
        if state == "lost":
            lost.append(job)
    store.sweep()
    return lost
