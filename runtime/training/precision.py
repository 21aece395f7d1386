"""The numerics of a job as torch's global switches, set for a training and put back after it.

fp32 is fp32: cuDNN's own default would round products to TF32 on NVIDIA's GPUs. `tf32` allows it, for products
and convolutions; a CPU has none and computes in fp32. bf16 is autocast: convolutions and products in bfloat16,
parameters, statistics, softmax and the optimizer in fp32."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError

DTYPES = ("fp32", "bf16")
#: How images are made, attacked and looked at: TF32 would move logits and features by 1e-3, and be another generator;
#: and what is stopped and resumed has the same bits.
FULL: Component = {"tf32": False, "deterministic": True}


def check(numerics: Component, device: str) -> None:
    """Raises JobError R325 for a number format that the device doesn't have."""
    dtype = numerics["dtype"]
    if dtype not in DTYPES:
        raise JobError("R325", f"no number format `{dtype}`", f"known: {', '.join(DTYPES)}")
    # Emulated, torch would take it on older ones too.
    if (
        dtype == "bf16"
        and device.startswith("cuda")
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        name = torch.cuda.get_device_name(device)
        raise JobError(
            "R325", f"{name} has no bfloat16", "run it on another device, or write `precision = fp32`, which is "
            "another job",
        )  # fmt: skip
    if numerics["tf32"] and device.startswith("cuda") and torch.cuda.get_device_capability(device)[0] < 8:
        name = torch.cuda.get_device_name(device)
        raise JobError(
            "R325", f"{name} has no TF32", "run it on another device, or write `precision = fp32`, which is "
            "another job",
        )  # fmt: skip


def set_rounding(numerics: Component) -> None:
    """Of products and convolutions, for the whole process: TF32 or not, and sums in the same order every time."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32 = cudnn.allow_tf32 = bool(numerics["tf32"])
    cudnn.deterministic, cudnn.benchmark = bool(numerics["deterministic"]), False


@contextmanager
def switched(numerics: Component, device: str) -> Iterator[None]:
    """Within, torch computes as `numerics` says. Raises JobError R325, see `check`."""
    check(numerics, device)
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    filling = torch.utils.deterministic
    strict, filled = torch.are_deterministic_algorithms_enabled(), filling.fill_uninitialized_memory
    deterministic = bool(numerics["deterministic"])
    if deterministic and device.startswith("cuda"):
        # cuBLAS reads it when a process first uses it; a worker runs one job.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        set_rounding(numerics)
        torch.use_deterministic_algorithms(deterministic)
        # Nothing of ours reads memory that it hasn't written; filling it costs seconds per step under ZeRO.
        filling.fill_uninitialized_memory = False
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(strict)
        filling.fill_uninitialized_memory = filled


def autocast(numerics: Component, device: str) -> torch.autocast:
    """For forward passes."""
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=numerics["dtype"] == "bf16")
