"""Where compute is best spent, for the quality and compute of the study's first question: N*(C), D*(C), the
accuracy within reach, and what a smaller network costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.accuracy import AccuracyFit
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.plan import Range
from isoloss.dsl.vocabulary.quantity_text import count_text, flop_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import figure, figures, note, section, table, text
from isoloss.report.sections.plane import contours, disagreement
from isoloss.report.svg import SHAPES, Axis, Figure, category
from isoloss.report.views import Focus, Frontier, View, Views, accuracy_line, compute_range, focus, together

SIZES = np.geomspace(0.1, 4.0, 17)
TABLE_SIZES = (0.25, 0.5, 2.0)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A law's frontier and how it is shown."""

    name: str
    colour: str
    line: Frontier


def frontier(material: Material, laws: Views) -> str:
    about = focus(material)
    if not laws.items or about is None or not material.runs:
        why = "no law has been fitted yet" if not laws.items else "no generator's quality is known yet"
        return section("frontier", "Where compute is best spent", f"<p>Not drawn: {why}.</p>")
    computes = compute_range(material, about.flops)
    lines = _frontiers(laws, about, computes)
    single = {d.name: d.line for d in lines}
    drawn = [
        _optimum(material, lines, about, "params"),
        _optimum(material, lines, about, "images"),
        *(
            contours(material, view, about, single[view.name])
            for view in laws.of(about.generator)[:3]
            if view.name in single
        ),
        disagreement(material, laws, about),
        _reach(material, laws, about, computes),
        _tradeoff(laws, about),
    ]
    asked = f", as <em>{text(about.question)}</em> asks" if about.question else ""
    made = f" (generator {text(about.generator)})" if about.generator else ""
    name = text(material.quality_name(about.generator))
    said = note(
        f"All at {name} {number_html.data(about.fid, 'fid')}{made}{asked}. Shaded bands are 95 % intervals."
    )
    return section(
        "frontier",
        "Where compute is best spent",
        said,
        figures(d for d in drawn if d),
        _tradeoff_table(laws, about),
    )


def _frontiers(laws: Views, about: Focus, computes: Floats) -> list[_Drawn]:
    """Each law that knows an optimum, and the question's laws taken together as its answer takes them."""
    lines = [
        _Drawn(v.name, v.colour, v.frontier(computes, about.fid)) for v in laws.frontiers(about.generator)
    ]
    asked = [v for v in laws.frontiers(about.generator) if v.name.partition("/")[0] in about.laws]
    both = together(asked, computes, about.fid)
    if both is not None:
        lines.append(_Drawn("together", "ink", both))
    return lines


def _optimum(material: Material, lines: list[_Drawn], about: Focus, quantity: str) -> str:
    symbol, name = {"params": ("N*", "network size"), "images": ("D*", "training images")}[quantity]
    plot = Figure(
        f"{symbol} against compute",
        Axis("training compute C", "log", flop_text),
        Axis(f"compute-optimal {name} {symbol}", "log", count_text),
        heading=f"{symbol}(C)",
    )
    middles = []
    for drawn in lines:
        band, xs = getattr(drawn.line, quantity), drawn.line.flops.tolist()
        if not np.isfinite(band.mid).any():
            continue
        if drawn.name == "together":  # outlined: a third shade over the others' would hide them
            plot.line(xs, band.low.tolist(), drawn.colour, style="dot thin")
            plot.line(xs, band.high.tolist(), drawn.colour, style="dot thin")
        else:
            middles.append(band.mid)
            plot.band(xs, band.low.tolist(), band.high.tolist(), drawn.colour)
        style = "dash" if drawn.name == "together" else ""
        plot.line(xs, band.mid.tolist(), drawn.colour, style=style)
        plot.legend.append((drawn.colour, style or "line", drawn.name))
    if not middles:
        return ""
    caption = f"{name.capitalize()} of the lowest loss for a compute, by law."
    if len(middles) > 1:
        caption += " Between the laws’ lines lies what one law calls too large and another too small."
    if lines[-1].name == "together":
        caption += " Together: the question’s laws weighted by how well each forecast the dearest runs."
    _mark_runs(plot, material, quantity)
    if about.flops is not None:
        plot.rule(about.flops, "asked")
    return figure(plot.render(), f"{caption} Points: trained networks.")


def _mark_runs(plot: Figure, material: Material, quantity: str) -> None:
    for allocated in (False, True):
        runs = [r for r in material.runs if bool(r.facts.allocation) == allocated and r.facts.flops_per_image]
        if runs:
            plot.points(
                [(r.facts.flops_per_image or 0) * r.images for r in runs],
                [float(getattr(r, quantity)) for r in runs],
                "ink" if allocated else "mute",
                shape="star" if allocated else "circle",
                tips=[r.name for r in runs],
                radius=5 if allocated else 2,
            )
            if allocated:
                plot.legend.append(("ink", "star", "allocated run"))


def _reach(material: Material, laws: Views, about: Focus, computes: Floats) -> str:
    """Robust accuracy of the best network against compute, a curve per quality (paper, Figure 1)."""
    line = accuracy_line(material)
    view = next((v for v in laws.of(about.generator) if v.generator is None), None)
    if line is None or view is None or material.accuracy_metric is None:
        return ""
    far = np.geomspace(computes[0], computes[-1] * 1e4, 16)
    plot = Figure(
        "Robust accuracy of compute-optimal networks",
        Axis("training compute C", "log", flop_text),
        Axis("robust accuracy", "linear", lambda v: f"{100 * v:.0f} %"),
        heading=f"Accuracy within reach, {view.name}",
    )
    qualities = [
        (g, material.quality[g])
        for g in material.generators
        if g in material.quality and view.knows(material.space(g))
    ]
    if view.fit.law.uses_fid:
        qualities.append(("FID 0", 0.0))
    for i, (name, fid) in enumerate(qualities):
        colour = category(i)
        _reach_curve(
            plot, view, line, far, name, fid, colour, band=name == about.generator or len(qualities) == 1
        )
        _reach_points(plot, material, material.accuracy_metric, name, colour, SHAPES[i % len(SHAPES)])
    if plot.empty:
        return ""
    if about.flops is not None:
        plot.rule(about.flops, "asked")
    return figure(
        plot.render(),
        f"Predicted accuracy ({text(material.accuracy_metric)}) of the best network for a compute, per "
        "quality of its "
        f"training images: {text(view.name)}, then the loss–accuracy line below. Points are measured. Far "
        "beyond them "
        "this is extrapolation; the band tells how far this one law can be wrong and still fit.",
    )


def _reach_curve(
    plot: Figure, view: View, line: AccuracyFit, far: Floats, name: str, fid: float, colour: str, band: bool
) -> None:
    loss = view.frontier(far, fid, bands=band).loss
    if not np.isfinite(loss.mid).any():
        return
    rows = [_accuracy(line, *ends) for ends in zip(loss.low, loss.mid, loss.high, strict=True)]
    if band:
        plot.band(far.tolist(), [r.low for r in rows], [r.high for r in rows], colour)
    plot.line(
        far.tolist(), [r.mid for r in rows], colour, style="dash" if name == "FID 0" else "", label=name
    )


def _reach_points(plot: Figure, material: Material, metric: str, name: str, colour: str, shape: str) -> None:
    mine = [r for r in material.runs if r.facts.generator == name]
    found = [(r, p) for r in mine if (p := r.final(metric)) and p.flops]
    plot.points(
        [p.flops or math.nan for _, p in found],
        [p.value for _, p in found],
        colour,
        shape=shape,
        radius=2.6,
        tips=[r.name for r, _ in found],
    )


def _accuracy(line: AccuracyFit, low: float, mid: float, high: float) -> Range:
    """A loss and its ends as accuracies; NaN stays NaN."""
    if not math.isfinite(mid):
        return Range(math.nan, math.nan, math.nan)
    if math.isfinite(low) and math.isfinite(high):
        return line.predict(Range(low, mid, high))
    return Range(math.nan, line.value(mid), math.nan)


def _tradeoff(laws: Views, about: Focus) -> str:
    if about.flops is None:
        return ""
    plot = Figure(
        "Training overhead of smaller and larger networks",
        Axis("network size as a multiple of N*", "log", lambda v: f"{v:g}×", marks=(0.1, 0.2, 0.5, 1, 2, 4)),
        Axis("extra training compute", "linear", lambda v: f"{100 * v:.0f} %", low=-0.02, high=1.0),
        heading="Size against compute (Eq. 6)",
    )
    for view in laws.of(about.generator):
        found = [(s, view.drawn_tradeoff(s, about.flops, about.fid)) for s in SIZES.tolist()]
        rows = [(s, t.overhead) for s, t in found if t is not None]
        if rows:
            xs = [s for s, _ in rows]
            plot.band(xs, [o.low for _, o in rows], [min(o.high, 1e3) for _, o in rows], view.colour)
            plot.line(xs, [o.mid for _, o in rows], view.colour)
            plot.legend.append((view.colour, "line", view.name))
    if plot.empty:
        return ""
    return figure(
        plot.render(),
        f"What it costs to reach the loss that {number_html.data(about.flops, 'flops')} buy at best with a "
        "network of another "
        "size: smaller ones need more images, larger ones waste compute.",
    )


def _tradeoff_table(laws: Views, about: Focus) -> str:
    if about.flops is None:
        return ""
    rows = [
        _tradeoff_row(view, size, about.flops, about.fid)
        for view in laws.of(about.generator)
        for size in TABLE_SIZES
    ]
    known = [row for row in rows if row]
    if not known:
        return ""
    return table(["law", "network size", "images, as a multiple of D*", "extra training compute, %"], known)


def _tradeoff_row(view: View, size: float, flops: float, fid: float) -> list[str]:
    optimum = view.fit.optimum(flops, fid, view.flops_rule).params
    if optimum is None:
        return []
    named = f"{size:g} × N* = {number_html.data(size * optimum.mid, 'params')}"
    found = view.tradeoff(size, flops, fid)
    if found is None:
        return [text(view.name), named, '<span class="none">no number of images suffices</span>', "–"]
    overhead = Range(*(100 * v for v in (found.overhead.low, found.overhead.mid, found.overhead.high)))
    return [text(view.name), named, number_html.interval(found.images), number_html.interval(overhead)]
