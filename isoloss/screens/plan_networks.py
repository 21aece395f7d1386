"""The networks behind a plan's generators, for its screen: what is trained, how large, how long. Plan -> lines."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.cost.architectures.unet import count_unet
from isoloss.compiler.plan import DenoiserSpec, DiscriminatorSpec, Job, Plan, component_text
from isoloss.dsl.vocabulary.quantity_text import flop_text
from isoloss.screens.layout import columns


def networks(plan: Plan, long: bool) -> list[str]:
    """One row for each; `long`: every setting besides."""
    jobs = [job for job in plan.jobs if isinstance(job.spec, DenoiserSpec | DiscriminatorSpec)]
    if not jobs:
        return []
    rows = [("network", "learns from", "N", "forward", "images drawn", "training")]
    lines = columns([*rows, *(_row(job) for job in jobs)], left=2)
    if long:
        for job in jobs:
            lines.extend(_settings(job))
    return ["networks of generators", *lines]


def _row(job: Job) -> tuple[str, ...]:
    spec = job.spec
    assert isinstance(spec, DenoiserSpec | DiscriminatorSpec)
    counted = count_unet(spec.network, spec.dataset)
    noise = (
        "real and generated images" if isinstance(spec, DiscriminatorSpec) else component_text(spec.kernel)
    )
    images = spec.train_steps * int(spec.recipe["batch"])
    forward, training = flop_text(counted.forward_flops), flop_text(job.cost.flops)
    return job.name, noise, f"{counted.params:,}", forward, f"{images:,}", training


def _settings(job: Job) -> Iterator[str]:
    spec = job.spec
    assert isinstance(spec, DenoiserSpec | DiscriminatorSpec)
    for about in (spec.network, spec.recipe, spec.numerics):
        said = ", ".join(
            f"{name} = {'none' if value is None else value}"
            for name, value in sorted(about.items())
            if name != "kind"
        )
        yield f"    {said}"
