"""What it costs to tell MLflow: microseconds per point of a curve and milliseconds per job, from the journal in
batches; its own `log_metric` as the peer.

    python benchmarks/tracking.py [JOBS] [POINTS]      (1,000 jobs of 200 points)

A made-up study of so many finished jobs, each with a spec, a curve and a result, in SQLite; then what the pages of
`mlflow ui` ask: the jobs of a study, sorted and filtered, their curves and artefacts."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, only benchmarks/ is on the path

from isoloss.compiler.plan import Cost, Facts, Job, Observation, Origin, Range, TrainSpec, job_id
from isoloss.runtime.store.journal import MetricBuffer
from isoloss.runtime.store.result import Run
from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking.names import metric_name
from tests.tracking.servers import MlflowServer

METRIC = "train loss trades(5)"
ROBUST = "loss trades(5) @ pgd(40, cw, linf, 8/255)"


def main(jobs: int, points: int) -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow.tracking import MlflowClient

    from isoloss.runtime.tracking.mirror import Mirror

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        with timed() as writing:
            fill(store, jobs, points)
        total = jobs * points
        print(f"{jobs} jobs of {points} points; load {os.getloadavg()[0]:.1f}")
        print(
            f"journal   {writing()[1] / total * 1e6:8.1f} µs of CPU per point, results of the jobs included"
        )
        uri = f"sqlite:///{store.path / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment("peer")  # makes the database: seconds, not counted
        mirror = Mirror(store, uri)
        with timed() as mirroring:
            mirror.catch_up()
        wall, cpu = mirroring()
        assert not mirror.refused, mirror.refused
        told = f"{wall / total * 1e6:8.1f} µs, {cpu / total * 1e6:.1f} of CPU, per point"
        print(f"mirror    {told}; {cpu / jobs * 1e3:.0f} ms of CPU a job")
        run = client.create_run(experiment).info.run_id
        with timed() as logging:
            for step in range(500):
                client.log_metric(run, "loss", 1.0, step=step)
        wall_peer, cpu_peer = (seconds / 500 for seconds in logging())
        print(f"log_metric{wall_peer * 1e6:8.1f} µs, {cpu_peer * 1e6:.1f} of CPU, per point")
        print(f"ratio     {wall_peer * total / wall:8.1f} x, {cpu_peer * total / cpu:.1f} x of CPU")
        questions(Path(folder), uri)


def questions(folder: Path, uri: str) -> None:
    """As `mlflow ui` is asked by its own pages: wall and the server's CPU milliseconds of each answer."""
    server = MlflowServer(folder, uri)
    server.start()
    try:
        _ask(Asking(server))
    finally:
        server.stop()


def _ask(ask: Asking) -> None:
    experiment = ask.post("experiments/get-by-name?experiment_name=tracked")["experiment"]["experiment_id"]
    nested = "tags.`isoloss.kind` = 'train'"
    best = ["metrics.`loss trades 5 at pgd 40 cw linf 8-255` ASC"]
    newest = ["attributes.start_time DESC"]
    for words, where, order in (
        ("the study", "tags.`isoloss.kind` = 'study'", newest),
        ("newest 100 runs", "", newest),
        ("those that failed", f"{nested} and attributes.status = 'FAILED'", newest),
        ("best 100 by robust loss", nested, best),
        ("of one generator", f"{nested} and params.`cell.generator` = 'dg'", newest),
    ):
        query = {"experiment_ids": [experiment], "filter": where, "max_results": 100, "order_by": order}
        found = ask.timed(f"runs/search, {words}", "runs/search", query).get("runs", [])
    run = found[0]["info"]["run_id"]
    ask.timed(
        "metrics/get-history", f"metrics/get-history?run_id={run}&metric_key={quote(metric_name(METRIC))}"
    )
    ids = "&".join(f"run_ids={row['info']['run_id']}" for row in found[:10])
    bulk = f"metrics/get-history-bulk-interval?{ids}&metric_key={quote(metric_name(METRIC))}&max_results=320"
    ask.timed("a chart of 10 curves", bulk)
    ask.timed("artifacts/list", f"artifacts/list?run_id={run}")


class Asking:
    """Three times each, after a first that warms up."""

    def __init__(self, server: MlflowServer) -> None:
        self._place = f"{server.uri}/ajax-api/2.0/mlflow/"
        self._process = psutil.Process(server.process.pid)

    def post(self, path: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if data is None else orjson.dumps(data)
        request = urllib.request.Request(self._place + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return orjson.loads(answer.read())

    def timed(self, words: str, path: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        found = self.post(path, data)
        cpu, walls = self._cpu(), []
        for _ in range(3):
            began = time.perf_counter()
            self.post(path, data)
            walls.append(time.perf_counter() - began)
        spent = (self._cpu() - cpu) / 3
        many = f" ({len(found['runs'])})" if found.get("runs") else ""
        print(f"http      {min(walls) * 1e3:8.0f} ms, {spent * 1e3:.0f} of CPU: {words}{many}", flush=True)
        return found

    def _cpu(self) -> float:
        processes = [self._process, *self._process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


def fill(store: Store, count: int, points: int) -> None:
    """As if a study had run here."""
    jobs = [training(n) for n in range(count)]
    facts = {"study": "d" * 64, "name": "tracked"}
    store.save_plan("p.json", orjson.dumps({"jobs": jobs}))
    store.journal.append({"event": "plan", **facts, "file": "plans/p.json", "revision": 0})
    store.journal.append({"event": "study", **facts, "state": "running", "revision": 0})
    for job in jobs:
        note = {"event": "job", **facts, "job": job.id, "name": job.name}
        store.journal.append({**note, "state": "started"})
        log = MetricBuffer(store.journal, job.id)
        for step in range(points):
            log(METRIC, 2.0 / (step + 1), step)
        log.flush()
        draft = store.begin(job.id)
        (draft / "curve.json").write_bytes(b"[]")
        seen = (Observation(job.id, "train", ROBUST, 1.5, images=100),)
        store.commit(job, draft, seen, Run(2.0, 0.0, 2.0, "cpu", 1, "here", planned_seconds=(1.0, 2.5, 4.0)))
        store.journal.append({**note, "state": "finished", "seconds": 2.0})


def training(number: int) -> Job:
    recipe = {
        "loss": {"kind": "trades", "beta": 5, "label_smoothing": "1/10"},
        "attack": {"kind": "pgd", "norm": "linf", "eps": "8/255", "step": "2/255", "steps": 10, "loss": "kl"},
        "optimizer": {"kind": "sgd", "momentum": "9/10", "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"kind": "cosine", "warmup": "1/40", "per": "step", "cycle_momentum": False},
        "batch": 1024, "lr": 0.3, "clip": None,
    }  # fmt: skip
    data = {"kind": "generated", "shards": [f"{n:020x}" for n in range(12)], "images": 5_000_000}
    model = {"kind": "wrn", "depth": 28, "width": number % 16 + 1}
    spec = TrainSpec({"kind": "cifar10"}, model, data, recipe, 4900, 49, None, number, {"dtype": "fp32"})
    cost = Cost(flops=1e18, seconds=Range(1.0, 2.5, 4.0))
    facts = Facts(
        params=10**6 * (number + 1), images=5_017_600, flops_per_image=1e9, generator="dg", grid="runs"
    )
    name = f"runs/wrn(28, {number % 16 + 1})/dg/5M/seed {number // 16}"
    return Job(
        job_id(spec), "train", name, (), spec, Origin(), cost, "ready", "every cell of its grid", facts
    )


@contextmanager
def timed() -> Iterator[Callable[[], tuple[float, float]]]:
    """Wall and CPU seconds of the block, to be asked for after it."""
    wall, cpu = time.perf_counter(), time.process_time()
    ended: list[tuple[float, float]] = []
    yield lambda: ended[0]
    ended.append((time.perf_counter() - wall, time.process_time() - cpu))


if __name__ == "__main__":
    main(*(int(a) for a in (*sys.argv[1:], *("1000", "200")[len(sys.argv) - 1 :])))
