"""Run jobs to see how long they take here: jobs and device slots in, wall seconds by job id out.

The jobs go through the same executor, worker, store and job functions as a study's, in a folder of their own
that is deleted. All slots are busy at once, because a lone process is faster than one of several."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoloss.compiler.plan import GenerateSpec, Job, Observation
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Resources, Watcher
from isoloss.runtime.store.result import Run
from isoloss.runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class Machine:
    """What a calibration belongs to: another host or processor makes its seconds another's."""

    host: str
    cpu: str
    cores: int
    accelerator: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """`seconds` of wall time by job id; `slots` jobs ran at once, on `accelerator` (empty: the CPU)."""

    seconds: Mapping[str, float]
    slots: int
    accelerator: str


def this_machine() -> Machine:
    """Host, processor and cores, without loading torch."""
    from isoloss.runtime.executors.devices import cpu_cores

    return Machine(socket.gethostname(), _cpu_model(), cpu_cores())


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Hardware", "cpu model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def device_count(kind: str) -> int:
    """Slots that this machine has for a kind of device. Raises JobError R204 where it has none."""
    from isoloss.runtime.executors.devices import slots

    return len(slots(Resources(kind, 1_000_000)))


def measure(
    jobs: Sequence[Job], kind: str, watch: Watcher, *, stand_ins: Sequence[Job] = (), count: int | None = None
) -> Measured:
    """Run `jobs` on `count` slots (all that the machine has) and tell their wall seconds.

    `stand_ins` are generate jobs whose images are made up: random pixels, where only the time of what reads
    them is asked for. Raises JobError where a job fails or nothing can run."""
    from isoloss.runtime.executors.local.executor import LocalExecutor

    executor = LocalExecutor(Resources(kind, count or device_count(kind)))
    try:
        with tempfile.TemporaryDirectory(prefix="isoloss-calibrate-") as folder:
            store = Store(Path(folder) / "store")
            store.claim(executor.origin)
            for job in stand_ins:
                _make_up(store, job)
            outcome = executor.run(jobs, store, "calibration", watch)
            for failure in outcome.failed.values():
                raise JobError(failure.code, failure.message, *failure.help)
            if outcome.interrupted:
                raise KeyboardInterrupt
            runs = {result.job: result.run for result in store.results()}
            wanted = [runs[job.id] for job in jobs]
            names = {run.device for run in wanted if not run.device.startswith("cpu")}
            seconds = {job.id: runs[job.id].seconds for job in jobs}
            return Measured(seconds, executor.width, ", ".join(sorted(names)))
    finally:
        executor.close()


def _make_up(store: Store, job: Job) -> None:
    """Commit random images as the result of a generate job, in a store that is thrown away."""
    import numpy as np

    from isoloss.runtime.data.registry import describe
    from isoloss.runtime.data.shards import IMAGES, LABELS

    spec = job.spec
    assert isinstance(spec, GenerateSpec)
    pixels, count, rng = describe(spec.dataset), spec.stop - spec.start, np.random.default_rng(0)
    draft = store.begin(job.id)
    np.save(draft / IMAGES, rng.integers(0, 256, (count, *pixels.shape), dtype=np.uint8))
    np.save(draft / LABELS, rng.integers(0, pixels.classes, count, dtype=np.int64))
    seen = Observation(job.id, "generate", "images", float(count), count=count)
    store.commit(job, draft, (seen,), Run(0.0, 0.0, 0.0, "made up", 1, socket.gethostname()))


def gpu_name() -> str:
    """The first CUDA device's name, as its driver says it. Raises JobError R204 where there is none."""
    import subprocess

    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        listed = ""
    names = [line.strip() for line in listed.splitlines() if line.strip()]
    if not names:
        raise JobError("R204", "this machine has no CUDA device", "`isoloss calibrate --device cpu`")
    return names[0]
