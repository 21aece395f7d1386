"""Laws over the plane of network size and training images: isoLoss contours, and where laws disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Floats
from isoloss.dsl.vocabulary.quantity_text import count_text, decimal_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import figure, text
from isoloss.report.png import data_uri
from isoloss.report.svg import Axis, Figure
from isoloss.report.svg.contour import contour
from isoloss.report.trained_networks import TrainedNetwork
from isoloss.report.views import Focus, Frontier, View, Views

GRID = 48
NUM_CONTOURS = 8
DISAGREEMENT_LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2)
#: Orange of the palette, readable on white and on black; its opacity carries the value.
_SHADE, _DEEPEST = (213, 94, 0), 190


@dataclass(frozen=True, eq=False)
class _Plane:
    """A log-spaced grid: `params` and `images` [GRID]."""

    params: Floats
    images: Floats

    def middle(self, view: View, fid: float) -> Floats:
        """Predicted loss [params, images]."""
        flat = view.middle(np.repeat(self.params, GRID), np.tile(self.images, GRID), fid)
        return flat.reshape(GRID, GRID)

    def figure(self, title: str) -> Figure:
        images, params = self.images.tolist(), self.params.tolist()
        return Figure(
            title,
            Axis("training images D", "log", count_text, low=images[0], high=images[-1]),
            Axis("network size N", "log", count_text, low=params[0], high=params[-1]),
            heading=title,
            height=380,
        )

    def levels(
        self, plot: Figure, values: Floats, level: float, colour: str, label: str, style: str = ""
    ) -> None:
        """Draw the lines of one level, each labelled where it crosses the plane's rising diagonal."""
        step_x = math.log(self.images[1] / self.images[0])
        step_y = math.log(self.params[1] / self.params[0])
        for line in contour(values, level):
            xs = [float(self.images[0] * math.exp(x * step_x)) for x, _ in line]
            ys = [float(self.params[0] * math.exp(y * step_y)) for _, y in line]
            plot.line(xs, ys, colour, style=style)
            # Not so near the edge that the label would be cut.
            inside = [i for i, place in enumerate(line) if min(place) > 2.5 and max(place) < GRID - 3.5]
            if inside:
                nearest = min(inside, key=lambda i: abs(line[i][0] - line[i][1]))
                plot.text(xs[nearest], ys[nearest], label, colour)


def contours(material: Material, view: View, about: Focus, best: Frontier) -> str:
    """Lines of equal predicted loss of one law, with its compute-optimal path and the runs."""
    plane = _around(material, beyond=3.0)
    values = plane.middle(view, about.fid)
    if not np.isfinite(values).any():
        return ""
    plot = plane.figure(f"isoLoss, {view.name} ({view.fit.law.name})")
    spread = np.quantile(values[np.isfinite(values)], np.linspace(0.05, 0.92, NUM_CONTOURS))
    for i, level in enumerate(spread.tolist()):
        plane.levels(plot, values, level, f"s{9 - i}", decimal_text(level))
    plot.line(best.images.mid.tolist(), best.params.mid.tolist(), "ink", style="dash")
    plot.legend.append(("ink", "dash", "N*(C), D*(C)"))
    _mark(plot, _runs(material, about), "mute")
    return figure(
        plot.render(),
        f"Lines of equal predicted loss, labelled. Dashed: the compute-optimal path of {text(view.name)}. "
        "Points: trained networks.",
    )


def disagreement(material: Material, laws: Views, about: Focus) -> str:
    """How far apart the laws' predictions are: a shade and level lines, reaching far beyond the runs."""
    speaking = laws.of(about.generator)
    plane = _around(material, beyond=60.0)
    values = [(v, plane.middle(v, about.fid)) for v in speaking]
    known = [(v, x) for v, x in values if np.isfinite(x).all()]
    if len(known) < 2:
        return ""
    table = np.stack([x for _, x in known])
    gap = table.max(axis=0) / table.min(axis=0) - 1.0
    plot = plane.figure("Where the laws disagree")
    deepest = max(float(gap.max()), DISAGREEMENT_LEVELS[0])
    shade = np.zeros((GRID, GRID, 4), dtype=np.uint8)
    shade[..., :3] = _SHADE
    # Rows of a picture run downwards, sizes upwards.
    shade[..., 3] = np.round(_DEEPEST * gap[::-1] / deepest)
    ends = [float(v) for v in (plane.images[0], plane.images[-1], plane.params[0], plane.params[-1])]
    plot.picture(data_uri(shade), *ends)
    for level in DISAGREEMENT_LEVELS:
        plane.levels(plot, gap, level, "ink", f"{100 * level:g} %", "thin")
    _mark(plot, _runs(material, about), "ink")
    names = ", ".join(text(v.name) for v, _ in known)
    return figure(
        plot.render(),
        f"Highest over lowest predicted loss, minus one, among {names}; the deepest shade is "
        f"{number_html.data(100 * deepest)} %. "
        "The stronger, the more the form of the law matters and the less any single one should be believed. "
        "Points: trained networks.",
    )


def _around(material: Material, beyond: float) -> _Plane:
    """Sizes and images of all runs, a factor 3 below and `beyond` above."""
    params = [r.params for r in material.runs]
    images = [r.images for r in material.runs]
    return _Plane(
        np.geomspace(max(1.0, min(params) / 3), max(params) * beyond, GRID),
        np.geomspace(max(1.0, min(images) / 3), max(images) * beyond, GRID),
    )


def _runs(material: Material, about: Focus) -> list[TrainedNetwork]:
    return [r for r in material.runs if about.generator in (None, r.facts.generator)]


def _mark(plot: Figure, runs: list[TrainedNetwork], colour: str) -> None:
    xs, ys = [float(r.images) for r in runs], [float(r.params) for r in runs]
    plot.points(xs, ys, colour, tips=[r.name for r in runs], radius=2.6)
