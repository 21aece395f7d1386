"""Loss against training images, with the fitted laws; training curves and their envelope against FLOPs."""

from __future__ import annotations

import math

import numpy as np

from isoloss.dsl.vocabulary.quantity_text import count_text, decimal_text, flop_text
from isoloss.report.gather import Material
from isoloss.report.html import figure, figures, note, section, text
from isoloss.report.svg import SHAPES, Axis, Figure, sequence
from isoloss.report.trained_networks import FINISHED, Point, TrainedNetwork
from isoloss.report.views import View, Views

CURVE_POINTS = 32
LINES = ("", "dash", "dot")


def scaling(material: Material, laws: Views) -> str:
    """One panel per generator of loss against D, coloured by N, then of all training curves against FLOPs."""
    metric = material.loss_metric
    if metric is None or not material.runs:
        return section(
            "scaling", "Scaling curves", "<p>No network has been evaluated yet: nothing to draw.</p>"
        )
    sources = [*material.generators, None]
    said = note(
        f"Loss is <code>{text(metric)}</code>, lower is better. Error bars on points are 95 % intervals "
        "over test "
        "images, where known. Colour and shape say the network's size N; hover over a point for its numbers."
    )
    against_images = [p for g in sources if (p := _images_panel(material, metric, g, laws))]
    against_flops = [p for g in sources if (p := _flops_panel(material, metric, g, laws))]
    return section(
        "scaling",
        "Scaling curves",
        said,
        figures(against_images),
        "<h3>Training curves and their envelope</h3>" if against_flops else "",
        figures(against_flops),
    )


def sizes(material: Material) -> list[int]:
    """The distinct N of all runs, ascending: the order of the sequential colours."""
    return sorted({run.params for run in material.runs})


def colour_and_shape(material: Material, size: int) -> tuple[str, str]:
    every = sizes(material)
    return sequence(every.index(size), len(every)), SHAPES[every.index(size) % len(SHAPES)]


def tip(run: TrainedNetwork, point: Point) -> str:
    """What hovering over a point says."""
    known = point.low is not None and point.high is not None
    interval = f" [{decimal_text(point.low or 0)}, {decimal_text(point.high or 0)}]" if known else ""
    sizes_said = f"N {count_text(run.params)}, D {count_text(point.images)}"
    return f"{run.name}: {sizes_said}, value {decimal_text(point.value)}{interval}"


def loss_range(material: Material, metric: str) -> tuple[float, float]:
    """Lowest and highest final loss, intervals included, a little wider: one scale for all panels."""
    ends = [p for run in material.runs if (p := run.last(metric))]
    lows = [p.value if p.low is None else p.low for p in ends]
    highs = [p.value if p.high is None else p.high for p in ends]
    return max(min(lows) / 1.04, 1e-3), max(highs) * 1.04


def source(material: Material, generator: str | None) -> str:
    """A generator and its quality, for headings."""
    if generator is None:
        return "no generator"
    fid = material.quality.get(generator)
    name = material.quality_name(generator)
    return f"{generator} ({name} {'not known' if fid is None else decimal_text(fid)})"


def _images_panel(material: Material, metric: str, generator: str | None, laws: Views) -> str:
    runs = [r for r in material.runs if r.facts.generator == generator and r.last(metric)]
    if not runs:
        return ""
    low, high = loss_range(material, metric)
    plot = Figure(
        f"Loss against training images, {source(material, generator)}",
        Axis("training images D", "log", count_text),
        Axis("adversarial loss", "log", low=low, high=high),
        heading=source(material, generator),
    )
    drawn = _law_curves(plot, material, generator, laws.of(generator), runs) if generator else []
    for size in sorted({r.params for r in runs}):
        colour, shape = colour_and_shape(material, size)
        mine = [(r, p) for r in runs if r.params == size and (p := r.last(metric))]
        for done in (True, False):
            _run_points(
                plot, [(r, p) for r, p in mine if (p.fraction >= FINISHED) == done], colour, shape, done
            )
        plot.legend.append((colour, shape, f"N {count_text(size)}"))
    plot.legend += [("mute", style or "line", view.name) for view, style in drawn]
    caption = f"Final loss of every network trained on {text(generator or 'real images')}."
    if any(not r.final(metric) for r in runs):
        caption += " Hollow: the latest of a network whose final evaluation is still to come."
    if drawn:
        caption += f" Curves: {_list(v.name for v, _ in drawn)}"
        caption += f"; the shaded 95 % bands are {text(drawn[0][0].name)}’s."
    return figure(plot.render(), caption)


def _run_points(
    plot: Figure, ends: list[tuple[TrainedNetwork, Point]], colour: str, shape: str, done: bool
) -> None:
    plot.points(
        [p.images for _, p in ends],
        [p.value for _, p in ends],
        colour,
        shape=shape,
        tips=[tip(r, p) for r, p in ends],
        lows=[p.low for _, p in ends],
        highs=[p.high for _, p in ends],
        hollow=not done,
    )


def _law_curves(
    plot: Figure, material: Material, generator: str, candidates: list[View], runs: list[TrainedNetwork]
) -> list[tuple[View, str]]:
    """A curve per N and law, the first law's with its band; and the laws that could be drawn."""
    fid = material.quality.get(generator, math.nan)
    grid = np.geomspace(min(r.images for r in runs) / 1.3, max(r.images for r in runs) * 1.3, CURVE_POINTS)
    drawn: list[tuple[View, str]] = []
    for view in candidates[: len(LINES)]:
        style, said = LINES[len(drawn)], False
        for size in sorted({r.params for r in runs}):
            colour = colour_and_shape(material, size)[0]
            middle = view.middle(size, grid, fid)
            if not np.isfinite(middle).any():
                continue
            said = True
            plot.line(grid.tolist(), middle.tolist(), colour, style=f"{style} thin" if style else "")
            if not drawn:
                band = view.band(size, grid, fid)
                plot.band(grid.tolist(), band.low.tolist(), band.high.tolist(), colour)
        if said:
            drawn.append((view, style))
    return drawn


def _flops_panel(material: Material, metric: str, generator: str | None, laws: Views) -> str:
    runs = [r for r in material.runs if r.facts.generator == generator]
    curves = [(r, [p for p in r.loss.get(metric, ()) if p.flops]) for r in runs]
    curves = [(r, points) for r, points in curves if points]
    if not curves:
        return ""
    low, high = loss_range(material, metric)
    plot = Figure(
        f"Loss against training FLOPs, {source(material, generator)}",
        Axis("training compute", "log", flop_text),
        Axis("adversarial loss", "log", low=low, high=high * 1.25),
        heading=source(material, generator),
    )
    for run, points in curves:
        colour, shape = colour_and_shape(material, run.params)
        plot.line([p.flops or 0.0 for p in points], [p.value for p in points], colour, style="thin")
        last = points[-1]
        plot.points([last.flops or 0.0], [last.value], colour, shape=shape, tips=[tip(run, last)], radius=3.2)
    for size in sorted({r.params for r, _ in curves}):
        plot.legend.append((*colour_and_shape(material, size), f"N {count_text(size)}"))
    xs, ys = envelope([points for _, points in curves])
    if len(xs) > 1:
        plot.line(xs, ys, "ink")
        plot.legend.append(("ink", "line", "envelope"))
    caption = "Test loss while training, one curve a network; its end is the finished network."
    if len(xs) > 1:
        caption += " Thick: the lowest loss reached with so much compute or less."
    caption += _frontier_curves(plot, material, generator, laws, xs)
    return figure(plot.render(), caption)


def _frontier_curves(
    plot: Figure, material: Material, generator: str | None, laws: Views, xs: list[float]
) -> str:
    """L*(C) of each law that knows an optimum; says so for the caption."""
    fid = material.quality.get(generator or "", math.nan)
    if len(xs) < 2 or generator is None:
        return ""
    grid = np.geomspace(xs[0], xs[-1] * 1.5, 16)
    named = []
    for view in laws.frontiers(generator)[: len(LINES) + 1]:
        loss = view.frontier(grid, fid, bands=False).loss
        if np.isfinite(loss.mid).any():
            plot.line(grid.tolist(), loss.mid.tolist(), view.colour, style="dash")
            plot.legend.append((view.colour, "dash", f"L* {view.name}"))
            named.append(view.name)
    return f" Dashed: the loss of the compute-optimal network by {_list(named)}." if named else ""


def envelope(curves: list[list[Point]]) -> tuple[list[float], list[float]]:
    """Compute and loss of the points no cheaper (or equally dear) point beats, as a staircase's corners."""
    best, xs, ys = math.inf, [], []
    for flops, value in sorted((p.flops or 0.0, p.value) for points in curves for p in points):
        if value < best:
            best = value
            xs.append(flops)
            ys.append(value)
    return xs, ys


def _list(names: object) -> str:
    items = [text(n) for n in names]  # type: ignore[attr-defined]
    return ", ".join(items[:-1]) + (" and " if len(items) > 1 else "") + items[-1]
