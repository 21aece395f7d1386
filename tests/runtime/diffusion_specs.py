"""Small real trainings of denoisers and discriminators for tests: specs, contexts, no worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isoloss.compiler.plan import (
    Component,
    Cost,
    DenoiserSpec,
    DiscriminatorSpec,
    Facts,
    GenerateSpec,
    Job,
    Origin,
    Spec,
    job_id,
    kind_of,
)
from isoloss.runtime.context import JobContext
from tests.runtime.training_specs import DIGITS, Log

NUMERICS = {"dtype": "fp32", "tf32": False, "deterministic": True}
EDM = {"kind": "edm"}


def network(kind: str = "unet", **more: Any) -> Component:
    """About the smallest: 10,000 weights for digits."""
    base = {
        "channels": 4,
        "multipliers": [1, 2],
        "blocks": 1,
        "attention": [4],
        "dropout": 0.0,
        "form": "ddpmpp",
    }
    return {"kind": kind, **base, "condition": 0, **more}


def denoiser_spec(
    steps: int = 8, kernel: Component = EDM, seed: int = 0, numerics: Component = NUMERICS, **more: Any
) -> DenoiserSpec:
    """Keyword arguments replace settings of the network or of the recipe."""
    about = network(**{name: more.pop(name) for name in list(more) if name in network()})
    recipe = {
        "batch": 16, "lr": 2e-3, "warmup": 64, "ema": 200, "ramp": 0.05, "augment": 0.0, "sigma_mean": -1.2,
        "sigma_spread": 1.2, **more,
    }  # fmt: skip
    return DenoiserSpec(DIGITS, about, kernel, recipe, steps, seed, numerics)


def discriminator_spec(generated: str, steps: int = 8, images: int = 400, **more: Any) -> DiscriminatorSpec:
    recipe = {"batch": 16, "lr": 3e-3, "weight_decay": 1e-7, **more}
    return DiscriminatorSpec(DIGITS, network("encoder"), (generated,), images, recipe, steps, 0, NUMERICS)


def edm(steps: int, **more: Any) -> Component:
    return {"kind": "edm", "steps": steps, "sigma_min": 0.002, "sigma_max": 10.0, "rho": 7.0, **more}


def generate_spec(sampler: Component, denoiser: Component, stop: int = 20) -> GenerateSpec:
    return GenerateSpec(DIGITS, sampler, denoiser, 0, stop, 0)


def context(
    spec: Spec,
    folder: Path,
    inputs: Mapping[str, Path] | None = None,
    stopping: Callable[[], bool] = lambda: False,
    data_root: Path | None = None,
) -> JobContext:
    """A context of a job of `spec` in a folder of its own."""
    facts = Facts(params=1000, images=128, flops_per_image=1e6)
    needs = tuple(inputs or {})
    job = Job(job_id(spec), kind_of(spec), "a job", needs, spec, Origin(), Cost(), "ready", "a test", facts)
    for name in ("output", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return JobContext(
        job=job,
        output=folder / "output",
        work=folder / "work",
        inputs=inputs or {},
        device="cpu",
        threads=1,
        data_root=data_root,
        log=Log(),
        progress=lambda fraction: None,
        stopping=stopping,
    )
