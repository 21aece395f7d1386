"""What was forecast before it was measured: the ledger -> a table, pictures, coverage so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoloss.compiler.plan import Range
from isoloss.dsl.vocabulary.quantity_text import accuracy_text, decimal_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import figure, figures, note, section, state, table, text
from isoloss.report.svg import Axis, Figure

#: What a measurement can settle; N* and D* stay predictions.
QUANTITIES = ("loss", "accuracy")


@dataclass(frozen=True, slots=True)
class Entry:
    """One forecast and, once known, what came of it."""

    name: str
    job: str
    quantity: str
    expected: Range
    measured: Range | None


def forecasts(material: Material) -> str:
    entries, title = read(material), "Forecast against measured"
    if not entries:
        return section("forecasts", title, "<p>The ledger has no forecast yet.</p>")
    scored = [e for e in entries if e.measured is not None and not math.isnan(e.expected.low)]
    inside = sum(_inside(e) for e in scored)
    waiting = sum(e.measured is None for e in entries)
    if scored:
        said = f"{inside} of {len(scored)} scored forecasts lie inside their 95 % intervals"
        said += f"; {waiting} wait to be measured." if waiting else "."
    else:
        said = f"{len(entries)} forecasts are in the ledger; none can be scored yet."
    few = " So few say little about the intervals’ true coverage." if 0 < len(scored) < 20 else ""
    explained = note(
        "Each forecast was written before its run began; nothing in the ledger is ever changed. Inside: the "
        "measured value lies in the forecast’s interval, which includes the scatter of single runs."
    )
    head = ["question", "quantity", "forecast", "measured", "verdict", "job"]
    body = table(head, [_row(e) for e in entries])
    return section("forecasts", title, f"<p>{said}{few}</p>", body, figures(_pictures(entries)), explained)


def _pictures(entries: list[Entry]) -> list[str]:
    """One picture per quantity: each forecast's interval with what was measured."""
    drawn = []
    for quantity in QUANTITIES:
        mine = [e for e in entries if e.quantity == quantity and e.measured is not None]
        if mine:
            drawn.append(_picture(quantity, mine))
    return drawn


def _picture(quantity: str, entries: list[Entry]) -> str:
    rows = tuple(range(len(entries)))
    names = Axis("", "linear", lambda v: entries[round(v)].name, low=-0.6, high=len(rows) - 0.4, marks=rows)
    plot = Figure(
        f"Forecast and measured {quantity}",
        Axis(quantity, "linear", accuracy_text if quantity == "accuracy" else decimal_text),
        names,
        height=92 + 34 * len(rows),
        legend=[("c0", "circle", "forecast, 95 %"), ("c1", "diamond", "measured")],
    )
    for i, entry in enumerate(entries):
        for place, found, colour, shape in (
            (i + 0.1, entry.expected, "c0", "circle"),
            (i - 0.1, entry.measured, "c1", "diamond"),
        ):
            if found is not None:
                plot.line([found.low, found.high], [place, place], colour)
                plot.points([found.mid], [place], colour, shape=shape)
    return figure(plot.render(), f"Forecast {quantity} and what came of it, each with its interval.")


def _inside(entry: Entry) -> bool:
    return entry.measured is not None and entry.expected.low <= entry.measured.mid <= entry.expected.high


def _row(entry: Entry) -> list[str]:
    said = [text(entry.name), text(entry.quantity), number_html.interval(entry.expected, entry.quantity)]
    if entry.measured is None:
        return [*said, "–", state("pending", "wait"), _job(entry)]
    if math.isnan(entry.expected.low):
        words = state("no interval was forecast", "wait")
    else:
        words = state("inside", "good") if _inside(entry) else state("outside", "bad")
    return [*said, number_html.interval(entry.measured, entry.quantity), words, _job(entry)]


def _job(entry: Entry) -> str:
    return f'<a class="id" href="#job-{text(entry.job)}">{text(entry.job[:10])}</a>' if entry.job else "–"


def read(material: Material) -> list[Entry]:
    """The ledger's forecasts of this study, oldest first, each with its score once there is one."""
    digest = material.plan.digest if material.plan else None
    lines = [e for e in material.forecasts if digest in (None, e.get("study"))]
    scored = [e for e in lines if e.get("event") == "score"]
    scores = {(e.get("job"), e.get("quantity")): as_range(e.get("measured")) for e in scored}
    entries = []
    for line in lines:
        values = line.get("values")
        if line.get("event") != "forecast" or not isinstance(values, Mapping):
            continue
        job = str(line.get("job") or "")
        for quantity in QUANTITIES:
            expected = as_range(values.get(quantity))
            if expected is not None:
                found = scores.get((job, quantity)) or _measured(material, job, quantity)
                entries.append(Entry(str(line.get("answer", "")), job, quantity, expected, found))
    return entries


def _measured(material: Material, job: str, quantity: str) -> Range | None:
    """What the plan's answers say of a job, where an interruption kept the score from being written."""
    answers = material.plan.answers if material.plan else ()
    return next((a.measured.get(quantity) for a in answers if a.job == job), None)


def as_range(value: Any) -> Range | None:
    """A Range in JSON; ends without a number are NaN; None for anything else."""
    if not isinstance(value, Mapping) or not isinstance(value.get("mid"), int | float):
        return None
    ends = [value.get(k) for k in ("low", "mid", "high")]
    return Range(*(float(v) if isinstance(v, int | float) else math.nan for v in ends))
