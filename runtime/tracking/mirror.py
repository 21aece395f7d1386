"""Tell MLflow what the journal says: a study is a parent run, a job a nested run.

In: `journal.jsonl` from the cursor on. Out: runs with params, metrics, tags, artefacts and true statuses; the
cursor, moved. Replaying is harmless: runs are found again by their tags, points carry the journal's times and
steps, and a step that MLflow has is not sent twice.

Loads mlflow; runs only in the tracking process."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store
from isoloss.runtime.store.trust import check_tree
from isoloss.runtime.tracking.database import bring_home
from isoloss.runtime.tracking.names import flatten, metric_name, own_database, state_file
from isoloss.runtime.tracking.outbox import REFUSALS, Outbox

#: Larger artefacts (weights) stay in the store only, where the run's tag `isoloss.folder` points.
_ARTEFACT_BYTES = 10 * 2**20
#: The cursor is saved after this much of the journal: what a crash makes us tell again.
_CHUNK_BYTES = 1 << 20

_JOB_STATUS = {
    "started": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "crashed": "FAILED",
    "stopped": "KILLED",
    "lost": "KILLED",
}
_STUDY_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class TrackingDown(Exception):  # noqa: N818 - a state of the world
    """The tracking store can't be reached now. Nothing is lost: the cursor stays."""


@dataclass
class State:
    """How far the mirror of one tracking URI is. `steps`: run id -> metric -> last step sent."""

    cursor: int = 0
    experiments: dict[str, str] = field(default_factory=dict)  # study name -> experiment id
    studies: dict[str, dict[str, str]] = field(default_factory=dict)  # digest -> name, run, plan
    jobs: dict[str, str] = field(default_factory=dict)  # job id -> run id
    steps: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)  # run id -> tags that say why its job failed
    ends: dict[str, dict[str, str]] = field(default_factory=dict)  # digest -> job id -> its last state


class Mirror:
    """One store's mirror at one tracking URI."""

    def __init__(self, store: Store, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.store, self.uri = store, uri
        self._client = MlflowClient(tracking_uri=uri)
        if own_database(store.path, uri):
            check_tree(store.path, below="mlruns")
            bring_home(store.path / "mlflow.db", store.path / "mlruns")
        self._file = state_file(store.path, uri)
        self._file.parent.mkdir(exist_ok=True)
        self._state = _load(self._file)
        self._out = Outbox(self._client, self._state.steps)
        self._plans: dict[str, dict[str, Any]] = {}  # plan file -> its jobs by id
        self._learnt: set[str] = set()  # experiments whose runs we know
        self._applied = 0  # events after the cursor that are told already

    @property
    def refused(self) -> list[str]:
        """What MLflow will never take, with its reason."""
        return self._out.refused

    def pending(self) -> bool:
        """Does the journal have more than the mirror?"""
        path = self.store.path / "journal.jsonl"
        return path.exists() and path.stat().st_size > self._state.cursor

    def catch_up(self, live: Callable[[], None] = lambda: None) -> int:
        """Mirror everything up to the journal's end; returns the number of events. `live` is called after each.
        Raises TrackingDown."""
        path = self.store.path / "journal.jsonl"
        if path.exists() and path.stat().st_size < self._state.cursor:
            self._state.cursor = self._applied = 0  # another journal: start over, replaying is harmless
        count = 0
        with self._down():
            self._check_experiments()
            while True:
                events, end = journal.read(path, self._state.cursor, limit_bytes=_CHUNK_BYTES)
                if end == self._state.cursor:
                    return count
                for event in events[self._applied :]:
                    self._apply(event)
                    # An attempt that breaks off goes on here, not at the cursor.
                    self._applied += 1
                    live()
                self._out.send_all(live)
                self._state.cursor, self._applied = end, 0
                self._save()
                count += len(events)

    @contextmanager
    def _down(self) -> Iterator[None]:
        """Whatever goes wrong inside means: not now."""
        try:
            yield
        except Exception as error:
            # Perhaps another database is there next time: then it doesn't have what we told.
            self._learnt.clear()
            raise TrackingDown(_said(error)) from error

    def _save(self) -> None:
        disk.replace(self._file, orjson.dumps(asdict(self._state)))

    # What an earlier mirror made.

    def _check_experiments(self) -> None:
        for name, experiment in list(self._state.experiments.items()):
            if experiment in self._learnt:
                continue
            found = self._found(experiment)
            if found is None or found.name not in self._names(name):
                self._start_over()
                return
            if found.lifecycle_stage != "active":
                # Somebody deleted it: make it anew rather than fail for ever.
                del self._state.experiments[name]
                for study in self._state.studies.values():
                    study["run"] = study["run"] if study["name"] != name else ""
                self._state.jobs, self._state.ends = {}, {}
                self._state.steps.clear()
                continue
            there = self._learn(experiment)
            told = {study["run"] for study in self._state.studies.values() if study["name"] == name}
            if not told - {""} <= there:
                self._start_over()
                return

    def _found(self, experiment: str) -> Any:
        try:
            return self._client.get_experiment(experiment)
        except Exception as error:
            if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _start_over(self) -> None:
        """The database isn't the one that we told: it was removed, or set aside as damaged. Tell everything."""
        self._state = State()
        self._out = Outbox(self._client, self._state.steps)
        self._applied = 0
        self._learnt.clear()

    def _names(self, study: str) -> tuple[str, str]:
        """Of a study's experiment: its own, and where another store's was deleted."""
        return study, f"{study} ({self.store.id})"

    def _learn(self, experiment: str) -> set[str]:
        """Find this store's runs, also those that an earlier mirror made and couldn't write down. Returns their ids."""
        where, token, there = f"tags.`isoloss.store` = '{self.store.id}'", None, set()
        while True:
            page = self._client.search_runs([experiment], where, max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                there.add(str(run.info.run_id))
                if tags.get("isoloss.job"):
                    self._state.jobs.setdefault(tags["isoloss.job"], run.info.run_id)
                elif tags.get("isoloss.kind") == "study":
                    new = {"name": run.info.run_name, "run": "", "plan": ""}
                    known = self._state.studies.setdefault(tags["isoloss.study"], new)
                    known["run"] = known["run"] or run.info.run_id
            token = page.token
            if not token:
                break
        self._learnt.add(experiment)
        return there

    # Events.

    def _apply(self, event: Mapping[str, Any]) -> None:
        try:
            kind = event.get("event")
            if kind == "metrics":
                self._curve(event)
            elif kind == "study":
                self._study(event)
            elif kind == "plan":
                self._study_run(event)["plan"] = event["file"]
            elif kind == "job" and event.get("state") in _JOB_STATUS:
                self._job(event)
            elif kind == "file":
                self._file_of_study(event)
        except Exception as error:
            # A refusal would come again for ever; the journal keeps what MLflow doesn't want.
            if getattr(error, "error_code", None) not in REFUSALS and not isinstance(
                error, KeyError | JobError
            ):
                raise
            self.refused.append(f"{event.get('event')} {event.get('job', '')}: {error}")

    def _study_run(self, event: Mapping[str, Any]) -> dict[str, str]:
        digest = event["study"]
        # The first event of a study names it; those of its jobs bring their own names.
        new = {"name": event.get("name") or digest[:12], "run": "", "plan": ""}
        known = self._state.studies.setdefault(digest, new)
        if not known["run"]:
            experiment = self._experiment(known["name"])
            tags = {"isoloss.store": self.store.id, "isoloss.study": digest, "isoloss.kind": "study"}
            # An earlier mirror may have made it: then it is known now.
            known["run"] = known["run"] or self._new_run(experiment, known["name"], event["time"], tags)
        return known

    def _experiment(self, study: str) -> str:
        known = self._state.experiments.get(study)
        if known is None:
            found = self._client.get_experiment_by_name(study)
            if found is not None and found.lifecycle_stage == "active":
                known = str(found.experiment_id)
            else:
                name = self._names(study)[found is not None]
                # A server keeps artefacts where it is told to; without one, a database has none but ours.
                served = self.uri.startswith(("http://", "https://"))
                place = None if served else (self.store.path / "mlruns").as_uri()
                # Without the tag its pages show trainings as evaluations of language models.
                tags = {"mlflow.experimentKind": "custom_model_development"}
                known = str(self._client.create_experiment(name, artifact_location=place, tags=tags))
            self._state.experiments[study] = known
            self._learn(known)
        return known

    def _new_run(self, experiment: str, name: str, time: float, tags: dict[str, str]) -> str:
        tags = {"mlflow.source.name": "isoloss", "mlflow.source.type": "JOB", **tags}
        run = self._client.create_run(experiment, int(time * 1000), tags, run_name=name)
        return str(run.info.run_id)

    def _study(self, event: Mapping[str, Any]) -> None:
        study = self._study_run(event)
        values = {metric_name(k): float(v) for k, v in event.get("values", {}).items() if v is not None}
        step = int(event.get("revision", 0))
        self._out.points(study["run"], [(k, step, v, _ms(event)) for k, v in values.items()])
        self._out.tags(study["run"], {"mlflow.note.content": self._words(event)})
        self._status(study["run"], _STUDY_STATUS[event["state"]], event["time"])

    def _words(self, event: Mapping[str, Any]) -> str:
        """What the study's page says, in Markdown."""
        ends = self._state.ends.get(event["study"], {})
        failed = _how_many(ends, "failed") + _how_many(ends, "crashed")
        planned = len(self._plan(self._study_run(event)["plan"]))
        lines = [
            f"{event['state']}: {_how_many(ends, 'finished')} jobs done, {failed} failed, of a plan of {planned}.",
            "Jobs are nested runs, filtered by ``tags.`isoloss.kind` = 'train'`` and the like.",
            "Figures and answers: the artefact `report.html`.",
            f"Store: `{self.store.path}` on {socket.gethostname()}.",
        ]
        return "\n\n".join(lines)

    def _curve(self, event: Mapping[str, Any]) -> None:
        run = self._state.jobs.get(event["job"])
        if run is None:
            raise KeyError("points of a job that never began")
        points = [(metric_name(n), s, math.nan if v is None else v, ms) for n, s, v, ms in event["points"]]
        self._out.points(run, points)

    def _job(self, event: Mapping[str, Any]) -> None:
        job, state = event["job"], event["state"]
        known = self._state.jobs.get(job)
        run = self._state.jobs[job] = known or self._first_seen(event)
        tags = {"isoloss.state": state}
        if state == "started":
            self._out.params(run, self._planned_params(event))
        if state == "finished" and self.store.has(job):
            tags |= self._result(run, job, event)
        faults = {f"isoloss.{k}": str(event[k])[:5000] for k in ("code", "message") if event.get(k)}
        self._out.tags(run, tags | faults)
        self._remember_faults(run, list(faults))
        # A new run is running already.
        if state != "started" or known:
            self._out.send(run)
            self._status(run, _JOB_STATUS[state], event["time"])
        self._count(event)

    def _remember_faults(self, run: str, names: list[str]) -> None:
        """Take away what is not true of a job any more once it goes on."""
        for name in set(self._state.faults.pop(run, ())) - set(names):
            self._out.send(run)
            self._client.delete_tag(run, name)
        if names:
            self._state.faults[run] = names

    def _count(self, event: Mapping[str, Any]) -> None:
        """How far the study is, as a curve of its own. Told twice, it counts once."""
        ends = self._state.ends.setdefault(event["study"], {})
        ends[event["job"]] = event["state"]
        if event["state"] == "finished":
            done = _how_many(ends, "finished")
            self._out.points(self._study_run(event)["run"], [("jobs done", done, float(done), _ms(event))])

    def _first_seen(self, event: Mapping[str, Any]) -> str:
        job = event["job"]
        study = self._study_run(event)
        planned = self._plan(study["plan"]).get(job, {})
        folder = self.store.path / job
        note = f"{planned.get('reason') or 'A job of its study.'}\n\nResult: `{folder}` on {socket.gethostname()}."
        tags = {
            "mlflow.parentRunId": study["run"],
            "mlflow.note.content": note[:5000],
            "isoloss.store": self.store.id,
            "isoloss.study": event["study"],
            "isoloss.job": job,
            "isoloss.kind": str(planned.get("kind", "")),
            "isoloss.folder": str(folder),
        }
        fid = (planned.get("facts") or {}).get("fid")
        tags |= {} if fid is None else {"isoloss.fid": str(fid)}
        return self._new_run(self._experiment(study["name"]), event.get("name") or job, event["time"], tags)

    def _planned_params(self, event: Mapping[str, Any]) -> dict[str, str]:
        planned = self._plan(self._study_run(event)["plan"]).get(event["job"], {})
        # What to sort and chart by. MLflow refuses a param that changes, so a FID that a later plan knows is a tag.
        facts = {k: v for k, v in (planned.get("facts") or {}).items() if v is not None and k != "fid"}
        # What the grid sweeps are columns of their own: `cell.recipe.attack.eps`.
        facts |= facts.pop("settings", None) or {}
        return dict(flatten(planned.get("spec") or {})) | {f"cell.{k}": str(v) for k, v in facts.items()}

    def _plan(self, file: str) -> dict[str, Any]:
        if file not in self._plans:
            self._plans = {file: _jobs_of(self.store.path / file) if file else {}}
        return self._plans[file]

    def _result(self, run: str, job: str, event: Mapping[str, Any]) -> dict[str, str]:
        """Log what a job measured and left; returns tags."""
        result = self.store.read(job)
        points = [
            (metric_name(o.metric), int(o.images or 0), o.value, _ms(event)) for o in result.observations
        ]
        # What has a curve is told, by steps; images would be another axis.
        points = [point for point in points if not self._out.has(run, point[0])]
        points.append(("wall seconds", 0, result.run.seconds, _ms(event)))
        if result.run.planned_seconds is not None:
            points.append(("planned seconds", 0, result.run.planned_seconds[1], _ms(event)))
        self._out.points(run, points)
        small = [name for name, (size, _) in result.artefacts.items() if size <= _ARTEFACT_BYTES]
        for name in ("result.json", *small):
            folder = Path(name).parent.as_posix()
            self._client.log_artifact(run, str(result.folder / name), None if folder == "." else folder)
        return {"isoloss.device": result.run.device, "isoloss.host": result.run.host}

    def _file_of_study(self, event: Mapping[str, Any]) -> None:
        path = self.store.below(event["path"])
        if path.is_file():
            self._client.log_artifact(self._study_run(event)["run"], str(path))

    def _status(self, run: str, status: str, time: float) -> None:
        if status == "RUNNING":
            self._client.update_run(run, status="RUNNING")
        else:
            self._client.set_terminated(run, status, int(time * 1000))


def _said(error: Exception) -> str:
    """In a line what is wrong: of a network's errors, wrapped by each layer in its own words, the first one's."""
    origin: BaseException = error
    while (earlier := origin.__cause__ or origin.__context__) is not None:
        origin = earlier
    text = str(origin if isinstance(origin, OSError) else error).splitlines()
    return text[0] if text else type(error).__name__


def _jobs_of(plan: Path) -> dict[str, Any]:
    """The jobs of a plan by id, as plain data; none of a file that is no plan."""
    try:
        jobs = orjson.loads(plan.read_bytes())["jobs"]
        found = {job["id"]: job for job in jobs if isinstance(job["id"], str)}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    mappings = ("spec", "facts")
    return {id: job for id, job in found.items() if all(isinstance(job.get(m) or {}, dict) for m in mappings)}


def _how_many(ends: Mapping[str, str], state: str) -> int:
    return sum(end == state for end in ends.values())


def _ms(event: Mapping[str, Any]) -> int:
    return int(event["time"] * 1000)


def _load(path: Path) -> State:
    try:
        data = orjson.loads(path.read_bytes())
        return _state_reader().validate_python(data)
    except (OSError, ValueError):
        return State()


@cache
def _state_reader() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(State)
