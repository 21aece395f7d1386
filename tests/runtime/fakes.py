"""Fake jobs: fast job functions and the plans they run under, so that stores and executors are tested alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import orjson

from isoloss.compiler.plan import (
    Cost,
    Facts,
    FidSpec,
    GenerateSpec,
    Job,
    Observation,
    Origin,
    Range,
    TrainSpec,
    job_id,
)  # fmt: skip
from isoloss.runtime.context import JobContext
from isoloss.runtime.errors import JobError, Stopped

DATASET = {"kind": "digits"}

#: What LocalExecutor is given instead of the real job functions.
FUNCTIONS = {
    "generate": "tests.runtime.fakes:generate",
    "fid": "tests.runtime.fakes:follow",
}


def generate_job(number: int, *, behaviour: str = "", seconds: float = 1.0) -> Job:
    """A job without needs. `behaviour` is what the fake function does, see `generate`."""
    spec = GenerateSpec(DATASET, {"kind": "edm", "behaviour": behaviour}, {"kind": "mixture"}, 0, 10, number)
    cost = Cost(flops=1e6, seconds=Range(seconds / 2, seconds, seconds * 2))
    id = job_id(spec)
    return Job(id, "generate", f"generate {number}", (), spec, Origin("a.study", 3, 1), cost, "ready", "test")


def follow_job(*needs: Job, behaviour: str = "") -> Job:
    """A job that needs others."""
    ids = tuple(need.id for need in needs)
    spec = FidSpec(DATASET, {"kind": "pixels", "behaviour": behaviour}, ids, 10, 0)
    cost = Cost(flops=1e3, seconds=Range(0.5, 1, 2))
    id = job_id(spec)
    return Job(id, "fid", f"fid of {len(ids)}", ids, spec, Origin("a.study", 9, 1), cost, "ready", "test")


def train_job(spec: TrainSpec) -> Job:
    facts = Facts(params=944, images=spec.train_steps * spec.recipe["batch"], flops_per_image=1000.0)
    return Job(job_id(spec), "train", "a training", (), spec, Origin(), Cost(), "ready", "a test", facts)


def generate(context: JobContext) -> tuple[Observation, ...]:
    """Writes its seed as an artefact; misbehaves as its spec says."""
    spec = context.job.spec
    assert isinstance(spec, GenerateSpec)
    note_execution(context)
    behave(context, str(spec.sampler["behaviour"]))
    (context.output / "images.npy").write_bytes(str(spec.seed).encode() * 100)
    for step in range(3):
        context.log("loss", 1.0 / (step + 1), step)
    return (Observation(context.job.id, "generate", "images", 10.0, images=10),)


def follow(context: JobContext) -> tuple[Observation, ...]:
    """Sums the seeds of its inputs."""
    spec = context.job.spec
    assert isinstance(spec, FidSpec)
    note_execution(context)
    behave(context, str(spec.features["behaviour"]))
    total = sum(float((context.inputs[need] / "images.npy").read_text()[:1]) for need in spec.samples)
    return (Observation(context.job.id, "fid", "fid @ pixels", total),)


def note_execution(context: JobContext) -> None:
    """One line per time that a job really ran, in the folder named by the environment."""
    folder = os.environ.get("FAKE_EXECUTIONS")
    if folder:
        (Path(folder) / f"{context.job.id}.{os.getpid()}.{time.monotonic_ns()}").touch()


def behave(context: JobContext, behaviour: str) -> None:
    word, _, number = behaviour.partition(":")
    if word == "error":
        raise JobError("R301", "the loss is not a number at step 7", "lower `lr`")
    if word == "placed":
        (context.output / "placement.json").write_bytes(orjson.dumps(context.placement))
    if word == "bug":
        raise ZeroDivisionError("a fake bug")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "full":
        raise OSError(28, "No space left on device")
    if word == "memory":
        raise MemoryError
    if word == "sleep":
        sleep(context, float(number))
    if word == "steps":
        steps(context, int(number))
    if word == "stubborn":
        end = time.monotonic() + float(number)
        while time.monotonic() < end:
            time.sleep(0.01)


def sleep(context: JobContext, seconds: float) -> None:
    """In small steps, each a place to stop at."""
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        context.progress((time.monotonic() - begin) / seconds)
        time.sleep(0.01)


def steps(context: JobContext, count: int) -> None:
    """Like a training: a checkpoint after every step, resumed from where it was; 10 ms a step."""
    checkpoint = context.work / "step"
    begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(begin, count):
        time.sleep(0.01)
        context.log("step", float(step), step)
        context.log.flush()
        draft = context.work / "step.new"
        draft.write_text(str(step + 1))
        draft.rename(checkpoint)
        if context.stopping():
            raise Stopped
        context.progress((step + 1) / count)
