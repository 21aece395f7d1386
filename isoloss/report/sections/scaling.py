"""Loss against training images and against compute: what was measured, before any law."""

from __future__ import annotations

from isoloss.report import format as write
from isoloss.report.gather import Material, Point, Run
from isoloss.report.html import figure, figures, note, section, text
from isoloss.report.svg import SHAPES, Axis, Figure, sequence


def scaling(material: Material) -> str:
    """One panel per generator of loss against D, coloured by N; then all training curves against FLOPs."""
    metric = material.loss_metric
    if metric is None or not material.runs:
        return section(
            "scaling", "Scaling curves", "<p>No network has been evaluated yet: nothing to draw.</p>"
        )
    panels = [p for g in (*material.generators, None) if (p := _panel(material, metric, g))]
    said = note(
        f"Loss is <code>{text(metric)}</code>, lower is better. Error bars are 95 % intervals over test images, where known."
    )
    return section("scaling", "Scaling curves", said, figures(panels))


def sizes(material: Material) -> list[int]:
    """The distinct N of all runs, ascending: the order of the sequential colours."""
    return sorted({run.params for run in material.runs})


def tip(run: Run, point: Point) -> str:
    """What hovering over a point says."""
    interval = (
        ""
        if point.low is None or point.high is None
        else f" [{write.significant(point.low)}, {write.significant(point.high)}]"
    )
    return (
        f"{run.name}: N {write.count(run.params)}, D {write.count(point.images)}, "
        f"value {write.significant(point.value)}{interval}"
    )


def loss_range(material: Material, metric: str) -> tuple[float, float]:
    """Lowest and highest final loss, intervals included, a little wider: one scale for all panels."""
    ends = [p for run in material.runs if (p := run.final(metric))]
    lows = [p.value if p.low is None else p.low for p in ends]
    highs = [p.value if p.high is None else p.high for p in ends]
    return min(lows) / 1.04, max(highs) * 1.04


def _panel(material: Material, metric: str, generator: str | None) -> str:
    runs = [r for r in material.runs if r.facts.generator == generator and r.final(metric)]
    if not runs:
        return ""
    low, high = loss_range(material, metric)
    every = sizes(material)
    heading = generator or "no generator"
    if generator in material.quality:
        heading += f" (FID {write.significant(material.quality[generator])})"
    plot = Figure(
        f"Loss against training images, {heading}",
        Axis("training images D", "log", write.count),
        Axis("adversarial loss", "log", low=low, high=high),
        heading=heading,
    )
    for size in sorted({r.params for r in runs}):
        colour, shape = sequence(every.index(size), len(every)), SHAPES[every.index(size) % len(SHAPES)]
        ends = [(r, p) for r in runs if r.params == size and (p := r.final(metric))]
        plot.points(
            [p.images for _, p in ends],
            [p.value for _, p in ends],
            colour,
            shape=shape,
            tips=[tip(r, p) for r, p in ends],
            lows=[p.low for _, p in ends],
            highs=[p.high for _, p in ends],
        )
        plot.legend.append((colour, shape, f"N {write.count(size)}"))
    return figure(plot.render(), f"Final loss of every network trained on {text(heading)}.")
