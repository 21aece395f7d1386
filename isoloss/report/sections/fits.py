"""Fitted laws: parameters with intervals, status, residuals; loss -> accuracy."""

from __future__ import annotations

import math

import numpy as np

from isoloss.compiler.plan import Range
from isoloss.dsl.vocabulary.quantity_text import accuracy_text, flop_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import facts, figure, figures, note, section, state, text
from isoloss.report.sections.answers import declared
from isoloss.report.sections.scaling import tip
from isoloss.report.svg import SHAPES, Axis, Figure, category
from isoloss.report.views import View, Views, accuracy_line

GREEK = {"alpha": "α", "beta": "β", "epsilon": "ε", "zeta": "ζ", "kappa": "κ"}

#: Statuses without reservation (compiler/laws/fitting/options.py).
SOUND = ("CONVERGED", "PUBLISHED")


def fits(material: Material, laws: Views) -> str:
    if not laws.items and not laws.unreadable:
        return section(
            "laws", "Fitted laws", "<p>No law has been fitted yet.</p>", figures([_accuracy(material)])
        )
    cards = "".join(_card(material, view) for view in laws.items)
    lost = "".join(note(f"{text(name)} can't be shown: {text(why)}.") for name, why in laws.unreadable)
    drawn = [*(_residuals(material, view) for view in laws.items), _accuracy(material)]
    return section(
        "laws", "Fitted laws", f'<div class="cards">{cards}</div>', lost, figures(d for d in drawn if d)
    )


def _card(material: Material, view: View) -> str:
    fit = view.fit
    status = fit.status.value
    badge = state(status.lower().replace("_", " "), "good" if status in SOUND else "wait")
    rows = [("form", text(fit.law.name))]
    intervals = fit.intervals
    for name, value in fit.parameters.items():
        if math.isnan(value):
            rows.append((GREEK.get(name, name), '<span class="none">not identified by these runs</span>'))
            continue
        low, high = intervals.get(name, (None, None))
        rows.append((GREEK.get(name, name), number_html.span(value, low, high)))
    rows += [(f"exponent {name}", number_html.interval(value)) for name, value in fit.exponents.items()]
    rows.append(("fitted to", f"{fit.points} points of {fit.runs} runs"))
    if math.isfinite(fit.residual_sigma):
        rows.append(("scatter about it", f"{number_html.data(100 * fit.residual_sigma)} % of the loss"))
    if fit.r2 is not None:
        rows.append(("R²", number_html.data(fit.r2)))
    if fit.starts:
        share = (
            f", {accuracy_text(fit.share_at_best)} at the best" if math.isfinite(fit.share_at_best) else ""
        )
        rows.append(("starts", f"{fit.starts}{share}"))
    if fit.provenance:
        rows.append(("source", text(fit.provenance)))
    notes = "".join(note(text(w)) for w in fit.warnings)
    return f'<div class="card"><h3>{text(view.name)}<span>{badge}</span></h3>{facts(rows)}{notes}</div>'


def _signed_percent(value: float) -> str:
    return f"{100 * value:+.3g} %".replace("-", "−") if value else "0"


def _residuals(material: Material, view: View) -> str:
    """Measured over predicted, minus one, against compute."""
    metric = material.loss_metric
    if metric is None or not view.fit.usable or not view.fit.law.pointwise:
        return ""
    declaration = declared(material, "fit", view.name.partition("/")[0])
    rule, floor = declaration.get("points", "best"), float(declaration.get("floor") or 0.5)
    plot = Figure(
        f"Residuals of {view.name}",
        Axis("training compute", "log", flop_text),
        Axis("measured / predicted − 1", "linear", _signed_percent),
        heading=f"Residuals, {view.name}",
    )
    for i, generator in enumerate(material.generators):
        if (
            view.generator not in (None, generator)
            or generator not in material.quality
            or not view.knows(material.space(generator))
        ):
            continue
        runs = [r for r in material.runs if r.facts.generator == generator]
        found = [(r, p) for r in runs if (p := r.final(metric) if rule == "final" else r.best(metric, floor))]
        predicted = view.middle(
            [r.params for r, _ in found], [p.images for _, p in found], material.quality[generator]
        )
        rows = [
            (r, p, p.value / float(q) - 1)
            for (r, p), q in zip(found, predicted, strict=True)
            if np.isfinite(q) and p.flops
        ]
        for allocated in (False, True):
            chosen = [row for row in rows if bool(row[0].facts.allocation) == allocated]
            plot.points(
                [p.flops or 0.0 for _, p, _ in chosen],
                [e for _, _, e in chosen],
                category(i),
                shape="star" if allocated else SHAPES[i % 8],
                tips=[tip(r, p) for r, p, _ in chosen],
                hollow=allocated,
                radius=5 if allocated else 3.4,
            )
        if rows:
            plot.legend.append((category(i), SHAPES[i % 8], generator))
    if not plot.legend:
        return ""
    plot.rule(0.0, vertical=False)
    return figure(
        plot.render(),
        f"Every run against {text(view.name)}; a pattern here is something the form misses. Hollow stars: "
        "runs of an "
        "allocation, which never enter a fit. The law was fitted to the runs its declaration selects.",
    )


def _accuracy(material: Material) -> str:
    loss, accuracy = material.loss_metric, material.accuracy_metric
    if loss is None or accuracy is None:
        return ""
    plot = Figure(
        "Robust accuracy against loss",
        Axis("adversarial loss"),
        Axis("robust accuracy", "linear", lambda v: f"{100 * v:.0f} %"),
        heading="Loss → accuracy",
    )
    every: list[float] = []
    for i, generator in enumerate(material.generators):
        pairs = [
            (r, a, b)
            for r in material.runs
            if r.facts.generator == generator and (a := r.final(loss)) and (b := r.final(accuracy))
        ]
        every += [a.value for _, a, _ in pairs]
        plot.points(
            [a.value for _, a, _ in pairs],
            [b.value for _, _, b in pairs],
            category(i),
            shape=SHAPES[i % 8],
            tips=[tip(r, b) for r, _, b in pairs],
            lows=[b.low for _, _, b in pairs],
            highs=[b.high for _, _, b in pairs],
            radius=3.4,
        )
        if pairs:
            plot.legend.append((category(i), SHAPES[i % 8], generator))
    if not every:
        return ""
    line = accuracy_line(material)
    if line is None:
        return figure(plot.render(), "Fewer than three networks differ in loss: no line is fitted.")
    xs = np.linspace(min(every) * 0.97, max(every) * 1.03, 40)
    rows = [line.predict(Range(x, x, x)) for x in xs.tolist()]
    plot.band(xs.tolist(), [r.low for r in rows], [r.high for r in rows], "ink")
    plot.line(xs.tolist(), [r.mid for r in rows], "ink")
    sign = "−" if line.slope < 0 else "+"
    return figure(
        plot.render(),
        f"Final points of {line.points} networks ({text(accuracy)}); the line is accuracy = "
        f"{number_html.data(line.intercept)} {sign} {number_html.data(abs(line.slope))} × loss, R² "
        f"{number_html.data(line.r2)}; band: 95 % for one more network.",
    )
