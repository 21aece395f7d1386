"""How the networks behind generators learned: losses of denoisers and discriminators against the images they drew.

In: Material. Out: a figure for denoisers, one for discriminators, where the store has their curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log

from isoloss.compiler.plan import Job, Observation
from isoloss.dsl.vocabulary.quantity_text import count_text
from isoloss.report.gather import Material
from isoloss.report.html import figure
from isoloss.report.svg import SHAPES, Axis, Figure, category

#: Kind of job -> what its loss is called, what a network that has learned nothing has, and in words.
_LOSSES = {
    "denoiser": (
        "denoising loss",
        1.0,
        "EDM's weighted loss per number of an image; 1 is a network that says nothing, on data of deviation ½",
    ),
    "discriminator": (
        "discrimination loss", log(2), "Cross-entropy; one that can't tell real from generated images has ln 2",
    ),
}  # fmt: skip


def learning(material: Material) -> Iterator[str]:
    for kind, (name, untrained, words) in _LOSSES.items():
        jobs = [job for job in material.jobs.values() if job.kind == kind]
        curves = [
            (job, _points(material, job, f"train {name}"), _points(material, job, f"held-out {name}"))
            for job in sorted(jobs, key=lambda job: job.name)
        ]
        known = [curve for curve in curves if curve[2]]
        if known:
            yield _figure(name, untrained, words, known)


def _points(material: Material, job: Job, metric: str) -> list[Observation]:
    result = material.results.get(job.id)
    found = [o for o in result.observations if o.metric == metric and o.images] if result else []
    return sorted(found, key=lambda o: o.images or 0)


def _figure(
    name: str,
    untrained: float,
    words: str,
    curves: Sequence[tuple[Job, list[Observation], list[Observation]]],
) -> str:
    plot = Figure(
        f"{name} against images drawn", Axis("images drawn", "linear", count_text), Axis(name, "log")
    )
    for index, (job, trained, tested) in enumerate(curves):
        colour, shape = category(index), SHAPES[index % len(SHAPES)]
        plot.line([o.images or 0 for o in trained], [o.value for o in trained], colour, style="thin")
        tips = [f"{job.name}, {count_text(o.images or 0)} images: {o.value:.4g}" for o in tested]
        plot.points(
            [o.images or 0 for o in tested], [o.value for o in tested], colour, shape=shape, tips=tips
        )
        plot.legend.append((colour, shape, job.name))
    plot.rule(untrained, vertical=False)
    caption = f"Lines: batches in training. Marks: images held out of it. {words}: the dashed line."
    return figure(plot.render(), caption)
