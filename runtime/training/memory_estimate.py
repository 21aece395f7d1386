"""What fits on a device: estimated before a training from its plan, and measured after it ran out.

The plan's bytes are for the whole batch at once; what doesn't grow with the batch is counted here from the
recipe, the rest is per image. On CUDA a shortage is measured: two small passes, torch's own peaks. On a CPU the
estimate is all there is."""

from __future__ import annotations

import gc
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from isoloss.compiler.plan import Job, TrainSpec, weight_copies
from isoloss.runtime.training.layout import Memory
from isoloss.runtime.training.training_evaluation import chooses

if TYPE_CHECKING:
    from isoloss.runtime.training.trainer import Trainer

#: Share of a device's free memory that a plan may fill: allocators leave holes. Assumed.
USABLE = 0.9


def estimate(job: Job, device: str) -> Memory | None:
    """None where the plan has no estimate."""
    spec, params = job.spec, job.facts.params
    assert isinstance(spec, TrainSpec)
    if job.cost.memory_bytes is None or params is None:
        return None
    state = 4.0 * params * weight_copies(spec.recipe)
    per_image = max(0.0, job.cost.memory_bytes - state) / int(spec.recipe["batch"])
    if not device.startswith("cuda") and chooses(spec):
        # The best weights so far lie in main memory, which is no part of the plan's bytes: those of a device.
        state += 4.0 * params
    return Memory(state, per_image, USABLE * free_bytes(device))


def free_bytes(device: str) -> float:
    """What a process may still take: of the device, or of main memory by the kernel, its cgroup and ulimit."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    limits = [_meminfo("MemAvailable")]
    with suppress(OSError, ValueError):
        cgroup = Path("/sys/fs/cgroup")
        limits.append(int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text()))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limits.append(soft - pages * resource.getpagesize())
    return float(max(0, min(limits)))


def _meminfo(name: str) -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 1 << 62


def measured(trainer: Trainer, device: str) -> Memory | None:
    """From two small passes of a training that ran out; None on a CPU and where even these don't fit."""
    if not device.startswith("cuda"):
        return None
    small = max(1, trainer.layout.micro_batch // 8)
    peaks = []
    try:
        for images in (small, 2 * small):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            trainer.rehearse(images)
            peaks.append(float(torch.cuda.max_memory_allocated(device)))
    except torch.OutOfMemoryError:
        return None
    per_image = (peaks[1] - peaks[0]) / small
    ours = torch.cuda.memory_allocated(device)
    return Memory(peaks[0] - small * per_image, per_image, USABLE * (free_bytes(device) + ours))


def release(device: str) -> None:
    """Give back what a training that ran out of memory left behind."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
