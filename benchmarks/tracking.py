"""What it costs to tell MLflow: microseconds per point of a curve and milliseconds per job, from the journal in
batches; its own `log_metric` as the peer.

    python benchmarks/tracking.py [JOBS] [POINTS]      (1,000 jobs of 200 points)

A made-up study of so many finished jobs, each with a spec, a curve and a result, in SQLite; then what its UI asks:
the jobs of a study, sorted and filtered."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import Cost, Facts, Job, Observation, Origin, Range, TrainSpec, job_id
from isoloss.runtime.journal import MetricBuffer
from isoloss.runtime.result import Run
from isoloss.runtime.store import Store

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
        questions(client)


def questions(client: Any) -> None:
    """As the UI asks them."""
    experiment = client.get_experiment_by_name("tracked")
    parent = client.search_runs([experiment.experiment_id], "tags.`isoloss.kind` = 'study'")[0].info.run_id
    nested = f"tags.mlflow.parentRunId = '{parent}'"
    for words, where, order in (
        ("jobs of the study, newest 100", nested, []),
        ("those that failed", f"{nested} and attributes.status = 'FAILED'", []),
        ("best 100 by robust loss", nested, ["metrics.`loss trades 5 at pgd 40 cw linf 8-255` ASC"]),
        (
            "trainings of one generator",
            f"{nested} and tags.`isoloss.kind` = 'train' and params.`cell.generator` = 'dg'",
            [],
        ),
    ):
        with timed() as searching:
            found = client.search_runs([experiment.experiment_id], where, max_results=100, order_by=order)
        print(f"search    {searching()[0] * 1e3:8.0f} ms: {words} ({len(found)})")


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
