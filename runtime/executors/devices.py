"""Device slots: what this machine and the budget allow, found without starting CUDA.

In: the budget's device kind and count. Out: slots, one worker at a time each."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Resources

#: Threads of a worker that feeds a GPU, assumed: augmentation is on the device, so few are busy.
GPU_WORKER_THREADS = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker at a time. `device` as the worker sees it; `environment` makes it see only that device."""

    number: int
    device: str
    threads: int
    environment: tuple[tuple[str, str], ...]


def cpu_cores() -> int:
    """Cores this process may use (a container's or `taskset`'s limit counts)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> tuple[str, ...]:
    """Names of the CUDA devices this process may use, as CUDA_VISIBLE_DEVICES spells them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1"))
    found = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    if found:
        return tuple(map(str, range(len(found))))
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(map(str, range(sum(line.startswith("GPU ") for line in listed.splitlines()))))


def slots(resources: Resources) -> list[Slot]:
    """As many as the budget has and the machine allows. Raises JobError R204 if the kind isn't here."""
    cores = cpu_cores()
    if resources.kind == "cpu":
        count = max(1, min(resources.count, cores))
        return [slot_on("cpu", number) for number in range(count)]
    names = gpus()[: resources.count]
    if not names:
        raise JobError(
            "R204",
            f"the budget's devices are `{resources.kind}` and this machine has no CUDA device",
            "run where they are, or choose a profile for this machine: `--profile NAME`",
            "or plan for this machine: `--set budget.devices='2 of cpu'`",
        )
    threads = max(1, min(GPU_WORKER_THREADS, cores // len(names)))
    return [slot_on(resources.kind, i, name, threads) for i, name in enumerate(names)]


def slot_on(kind: str, number: int, name: str = "", threads: int = GPU_WORKER_THREADS) -> Slot:
    """A slot of a machine, this or another: its device `name`, by default the one with this number."""
    if kind == "cpu":
        # One thread each: bits depend on the thread count, so it mustn't change with how many slots are free.
        return Slot(number, "cpu", 1, (("OMP_NUM_THREADS", "1"), ("CUDA_VISIBLE_DEVICES", "")))
    environment = (("OMP_NUM_THREADS", str(threads)), ("CUDA_VISIBLE_DEVICES", name or str(number)))
    return Slot(number, "cuda:0", threads, environment)
