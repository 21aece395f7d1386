"""What a plan runs -> lines: trainings with their networks, images and generators, and the jobs around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isoloss.compiler.plan import KINDS, Job, Plan, TrainSpec, component_text
from isoloss.dsl.vocabulary.quantity_text import count_text, flop_text


def runs(plan: Plan) -> list[str]:
    trained = [job for job in plan.jobs if isinstance(job.spec, TrainSpec)]
    lines = [f"  {line}" for line in _trainings(trained)]
    others = Counter(job.kind for job in plan.jobs if job.kind != "train")
    words = [f"{count:,} {KINDS[kind].words}" for kind, count in others.items()]
    if words:
        lines.append(f"  and their jobs: {', '.join(words)}")
    if plan.dropped:
        lines.append(f"  {len(plan.dropped):,} cells are left out, the likes of {plan.dropped[0].name}")
    return ["what runs", *lines]


def _trainings(trained: Sequence[Job]) -> Iterator[str]:
    if not trained:
        yield "no training"
        return
    grids = [job for job in trained if job.facts.allocation is None]
    asked = [job for job in trained if job.facts.allocation is not None]
    if grids:
        sizes = {job.facts.params or 0: component_text(_model(job)) for job in grids}
        networks = _span([sizes[n] for n in sorted(sizes)], "network")
        images = sorted({job.facts.images or 0 for job in grids})
        drawn = " to ".join(dict.fromkeys(count_text(count) for count in (images[0], images[-1])))
        sources = sorted({job.facts.generator or "" for job in grids})
        seeds = len({_seed(job) for job in grids})
        more = f", {seeds} seeds" if seeds > 1 else ""
        yield f"{len(grids):,} trainings: {networks}, {drawn} images of {_few(sources, 'generator')}{more}"
    for job in asked:
        spent, drawn = flop_text(job.cost.flops), count_text(job.facts.images or 0)
        waits = "" if job.state != "provisional" else ", as far as known"
        what = f"{component_text(_model(job))}, {drawn} images of {job.facts.generator}"
        yield f"`{job.facts.allocation}`: {what}, {spent}{waits}"


def _model(job: Job) -> Mapping[str, Any]:
    assert isinstance(job.spec, TrainSpec)
    return job.spec.model


def _seed(job: Job) -> int:
    assert isinstance(job.spec, TrainSpec)
    return job.spec.seed


def _span(names: Sequence[str], what: str) -> str:
    """`8 networks, wrn(28, 4) to wrn(82, 16)`, or the names of a few."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{len(names)} {what}s, {names[0]} to {names[-1]}"


def _few(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}s" if len(names) > 3 else " and ".join(names)
