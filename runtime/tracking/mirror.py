"""Tell MLflow what the journal says: a study is a parent run, a job a nested run.

In: `journal.jsonl` from the cursor on. Out: runs with params, metrics, tags, artefacts and true statuses; the
cursor, moved. Replaying is harmless: runs are found again by their tags, points carry the journal's times and
steps, and a step that MLflow has is not sent twice.

Loads mlflow; runs only in the tracking process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from isoloss.runtime import disk, journal
from isoloss.runtime.store import Store
from isoloss.runtime.tracking.names import flatten, metric_name, state_file

_BATCH = 1000  # MLflow's own limit for one log_batch
_PARAMS_BATCH = 100
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
#: Answers that mean "this event will never be accepted", as opposed to "not now".
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}


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


class Mirror:
    """One store's mirror at one tracking URI."""

    def __init__(self, store: Store, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.store, self.uri = store, uri
        self.refused: list[str] = []  # what MLflow will never take, with its reason
        self._client = MlflowClient(tracking_uri=uri)
        self._file = state_file(store.path, uri)
        self._file.parent.mkdir(exist_ok=True)
        self._state = _load(self._file)
        self._plans: dict[str, dict[str, Any]] = {}  # plan file -> its jobs by id
        self._waiting: dict[str, list[tuple[str, int, float, int]]] = {}  # job -> points
        self._known_runs = False
        self._applied = 0  # events after the cursor that are told already

    def pending(self) -> bool:
        """Does the journal have more than the mirror?"""
        path = self.store.path / "journal.jsonl"
        return path.exists() and path.stat().st_size > self._state.cursor

    def catch_up(self) -> int:
        """Mirror everything up to the journal's end; returns the number of events. Raises TrackingDown."""
        path = self.store.path / "journal.jsonl"
        if path.exists() and path.stat().st_size < self._state.cursor:
            self._state.cursor = self._applied = 0  # another journal: start over, replaying is harmless
        count = 0
        with _down():
            self._find_runs()
            while True:
                events, end = journal.read(path, self._state.cursor, limit_bytes=_CHUNK_BYTES)
                if end == self._state.cursor:
                    return count
                for event in events[self._applied :]:
                    self._apply(event)
                    # An attempt that breaks off goes on here, not at the cursor.
                    self._applied += 1
                for job in list(self._waiting):
                    self._send(job)
                self._state.cursor, self._applied = end, 0
                self._save()
                count += len(events)

    def _save(self) -> None:
        disk.replace(self._file, orjson.dumps(asdict(self._state)))

    def _find_runs(self) -> None:
        """Runs that an earlier mirror made and could not write down."""
        if self._known_runs:
            return
        for name, experiment in list(self._state.experiments.items()):
            if self._client.get_experiment(experiment).lifecycle_stage != "active":
                self._forget(name)
                continue
            token = None
            while True:
                where = f"tags.`isoloss.store` = '{self.store.id}'"
                page = self._client.search_runs([experiment], where, max_results=1000, page_token=token)
                for run in page:
                    job = run.data.tags.get("isoloss.job")
                    if job:
                        self._state.jobs.setdefault(job, run.info.run_id)
                token = page.token
                if not token:
                    break
        self._known_runs = True

    def _forget(self, study: str) -> None:
        """Somebody deleted the experiment: make it anew rather than fail for ever."""
        del self._state.experiments[study]
        self._state.studies = {d: s for d, s in self._state.studies.items() if s["name"] != study}
        self._state.jobs, self._state.steps = {}, {}

    # Events.

    def _apply(self, event: Mapping[str, Any]) -> None:
        try:
            kind = event.get("event")
            if kind == "metrics":
                self._waiting.setdefault(event["job"], []).extend(map(tuple, event["points"]))
                if len(self._waiting[event["job"]]) >= _BATCH:
                    self._send(event["job"])
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
            if getattr(error, "error_code", None) not in _REFUSALS and not isinstance(error, KeyError):
                raise
            self._waiting.pop(event.get("job", ""), None)
            self.refused.append(f"{event.get('event')} {event.get('job', '')}: {error}")

    def _study_run(self, event: Mapping[str, Any]) -> dict[str, str]:
        digest = event["study"]
        known = self._state.studies.get(digest)
        if known is None:
            name = event.get("name") or digest[:12]
            tags = {"isoloss.store": self.store.id, "isoloss.study": digest, "isoloss.kind": "study"}
            run = self._run_of("isoloss.study", digest, name)
            run = run or self._new_run(name, name, event["time"], tags)
            known = self._state.studies[digest] = {"name": name, "run": run, "plan": ""}
        return known

    def _run_of(self, tag: str, value: str, study: str) -> str | None:
        where = f"tags.`{tag}` = '{value}' and tags.`isoloss.store` = '{self.store.id}'"
        if tag == "isoloss.study":
            where += " and tags.`isoloss.kind` = 'study'"
        found = self._client.search_runs([self._experiment(study)], where, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _experiment(self, study: str) -> str:
        known = self._state.experiments.get(study)
        if known is None:
            found = self._client.get_experiment_by_name(study)
            if found is not None and found.lifecycle_stage == "active":
                known = str(found.experiment_id)
            else:
                name = study if found is None else f"{study} ({self.store.id})"
                # Beside the SQLite file; a server keeps artefacts where it is told to.
                local = self.uri.startswith("sqlite:")
                place = (self.store.path / "mlruns").as_uri() if local else None
                known = str(self._client.create_experiment(name, artifact_location=place))
            self._state.experiments[study] = known
        return known

    def _new_run(self, study: str, name: str, time: float, tags: dict[str, str]) -> str:
        tags = {"mlflow.source.name": "isoloss", "mlflow.source.type": "JOB", **tags}
        run = self._client.create_run(self._experiment(study), int(time * 1000), tags, run_name=name)
        return str(run.info.run_id)

    def _study(self, event: Mapping[str, Any]) -> None:
        study = self._study_run(event)
        self._status(study["run"], _STUDY_STATUS[event["state"]], event["time"])
        values = {metric_name(k): float(v) for k, v in event.get("values", {}).items() if v is not None}
        self._log(
            study["run"], [(k, int(event.get("revision", 0)), v, _ms(event)) for k, v in values.items()]
        )

    def _job(self, event: Mapping[str, Any]) -> None:
        job, state = event["job"], event["state"]
        run = self._state.jobs.get(job)
        if run is None:
            run = self._state.jobs[job] = self._first_seen(event)
        if state == "started":
            self._params(run, self._planned_params(event))
        self._send(job)
        tags = {"isoloss.state": state}
        if state == "finished" and self.store.has(job):
            tags |= self._result(run, job, event)
        tags |= {f"isoloss.{k}": str(event[k])[:5000] for k in ("code", "message") if event.get(k)}
        self._tags(run, tags)
        self._status(run, _JOB_STATUS[state], event["time"])

    def _first_seen(self, event: Mapping[str, Any]) -> str:
        job = event["job"]
        study = self._study_run(event)
        found = self._run_of("isoloss.job", job, study["name"])
        if found is not None:
            return found
        planned = self._plan(study["plan"]).get(job, {})
        tags = {
            "mlflow.parentRunId": study["run"],
            "isoloss.store": self.store.id,
            "isoloss.study": event["study"],
            "isoloss.job": job,
            "isoloss.kind": str(planned.get("kind", "")),
            "isoloss.reason": str(planned.get("reason", ""))[:5000],
            "isoloss.folder": str(self.store.path / job),
        }
        facts = {k: v for k, v in (planned.get("facts") or {}).items() if v is not None}
        tags |= {f"isoloss.{name}": value for name, value in flatten(facts)}
        return self._new_run(study["name"], event.get("name") or job, event["time"], tags)

    def _planned_params(self, event: Mapping[str, Any]) -> list[tuple[str, str]]:
        planned = self._plan(self._study_run(event)["plan"]).get(event["job"], {})
        # A later plan may know more facts; MLflow refuses a param that changes, and the spec is what counts.
        return list(flatten(planned.get("spec") or {}))

    def _plan(self, file: str) -> dict[str, Any]:
        if file not in self._plans:
            try:
                jobs = orjson.loads((self.store.path / file).read_bytes())["jobs"] if file else []
            except (OSError, orjson.JSONDecodeError, KeyError):
                jobs = []
            self._plans = {file: {job["id"]: job for job in jobs}}
        return self._plans[file]

    def _result(self, run: str, job: str, event: Mapping[str, Any]) -> dict[str, str]:
        """Log what a job measured and left; returns tags."""
        result = self.store.read(job)
        points = [(o.metric, int(o.images or 0), o.value, _ms(event)) for o in result.observations]
        points.append(("wall seconds", 0, result.run.seconds, _ms(event)))
        if result.run.planned_seconds is not None:
            points.append(("planned seconds", 0, result.run.planned_seconds[1], _ms(event)))
        self._log(run, [(metric_name(name), step, value, ms) for name, step, value, ms in points])
        small = [name for name, (size, _) in result.artefacts.items() if size <= _ARTEFACT_BYTES]
        for name in ("result.json", *small):
            folder = Path(name).parent.as_posix()
            self._client.log_artifact(run, str(result.folder / name), None if folder == "." else folder)
        return {"isoloss.device": result.run.device, "isoloss.host": result.run.host}

    def _file_of_study(self, event: Mapping[str, Any]) -> None:
        path = Path(event["path"])
        if path.is_file():
            self._client.log_artifact(self._study_run(event)["run"], str(path))

    # What goes over the wire.

    def _send(self, job: str) -> None:
        points = self._waiting.get(job, [])
        run = self._state.jobs.get(job)
        if run is not None and points:
            self._log(run, [(metric_name(n), s, math.nan if v is None else v, ms) for n, s, v, ms in points])
        self._waiting.pop(job, None)

    def _log(self, run: str, points: Sequence[tuple[str, int, float, int]]) -> None:
        from mlflow.entities import Metric

        sent = self._state.steps.setdefault(run, {})
        last, fresh = dict(sent), []
        for point in points:
            # A resumed job comes by the steps after its checkpoint a second time, with equal values.
            if point[1] > last.get(point[0], -1):
                fresh.append(point)
                last[point[0]] = point[1]
        for batch in _batches(fresh, _BATCH):
            metrics = [Metric(name, value, ms, step) for name, step, value, ms in batch]
            self._client.log_batch(run, metrics=metrics)
            for name, step, _, _ in batch:
                sent[name] = max(step, sent.get(name, -1))

    def _params(self, run: str, params: Sequence[tuple[str, str]]) -> None:
        from mlflow.entities import Param

        for batch in _batches(params, _PARAMS_BATCH):
            self._client.log_batch(run, params=[Param(k, v) for k, v in batch])

    def _tags(self, run: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(run, tags=[RunTag(k, v) for k, v in tags.items()])

    def _status(self, run: str, status: str, time: float) -> None:
        if status == "RUNNING":
            self._client.update_run(run, status="RUNNING")
        else:
            self._client.set_terminated(run, status, int(time * 1000))


class _down:  # noqa: N801 - reads as a statement
    """Whatever goes wrong inside means: not now."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            text = str(error).splitlines()
            raise TrackingDown(text[0] if text else type(error).__name__) from error


def _ms(event: Mapping[str, Any]) -> int:
    return int(event["time"] * 1000)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _load(path: Path) -> State:
    try:
        return State(**orjson.loads(path.read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return State()
