"""What every evaluation measured of every network or group: a dot plot with intervals, the table, the differences."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.compiler.observed.comparison import Difference
from isoloss.dsl.vocabulary.quantity_text import accuracy_text, decimal_text
from isoloss.measured.groups import GroupRow, column_text, compared, difference_text, group_name, grouped
from isoloss.measured.rows import Row, evaluations_of, hardest_evaluation, rows_of_plan, swept
from isoloss.report.gather import Material
from isoloss.report.html import details, figure, figures, note, section, table, text
from isoloss.report.svg import SHAPES, Axis, Figure, category
from isoloss.report.svg.labels import text_width

#: Groups that a dot plot can name below its axis, and rows that stand open on the page.
_NAMED, _OPEN = 10, 24
#: Differences that stand open on the page.
_DIFFERENCES = 6
#: Pixels below a dot plot for their names.
_ROOM = 340


def measured(material: Material) -> str:
    """Empty where nothing is measured yet."""
    rows = [] if material.plan is None else rows_of_plan(material.plan, material.results)
    kinds = [metric for metric in ("accuracy", "loss") if any(row.metric == metric for row in rows)]
    if not kinds:
        return section("results", "Results", "<p>No evaluation has a result yet.</p>")
    first, *others = kinds
    body = [_of_metric([row for row in rows if row.metric == first], first)]
    body += [details(f"{name} of every network", _table_of(rows, name)) for name in others]
    return section("results", "Results", *body)


def _of_metric(rows: Sequence[Row], metric: str) -> str:
    by = swept(rows) or ["model"]
    groups = grouped(rows, by)
    hardest = hardest_evaluation(rows)
    best = sorted(
        (g for g in groups if g.evaluation == hardest),
        key=lambda g: -g.value if metric == "accuracy" else g.value,
    )
    names = [_name(g, by) for g in best]
    names += [name for g in groups if (name := _name(g, by)) not in names]
    seeds = max(group.seeds for group in groups)
    how = (
        f"Means of {seeds} seeds; intervals hold the seeds' scatter and the test images."
        if seeds > 1
        else ("One seed each; intervals hold the test images alone.")
    )
    told = f"<p>Best under <strong>{text(hardest)}</strong>: <strong>{text(names[0])}</strong>. {how}</p>"
    plot = figures([_dots(groups, names, by, metric, hardest)])
    lines = _table_of(rows, metric, names)
    return (
        told
        + plot
        + (lines if len(names) <= _OPEN else details(f"All {len(names)}", lines))
        + _differences([row for row in rows if row.evaluation == hardest], by, metric, hardest)
        + _alarms(rows)
    )


def _dots(
    groups: Sequence[GroupRow], names: Sequence[str], by: Sequence[str], metric: str, hardest: str
) -> str:
    shown = list(names[:_NAMED])
    # Long names would lie over each other: the table below has them in this order.
    numbered = sum(text_width(name, 12.0) for name in shown) > _ROOM
    labels = [str(k + 1) for k in range(len(shown))] if numbered else shown
    write = accuracy_text if metric == "accuracy" else decimal_text
    plot = Figure(
        f"{metric} of every group under every evaluation",
        Axis(", ".join(by), write=lambda at: labels[round(at)] if 0 <= round(at) < len(labels) else "",
             low=-0.5, high=len(shown) - 0.5, marks=tuple(map(float, range(len(shown))))),
        Axis(metric, write=write, low=0.0 if metric == "accuracy" else None),
        description=f"One marker per group and evaluation with its 95 % interval, best under {hardest} first.",
    )  # fmt: skip
    evaluations = list(dict.fromkeys(group.evaluation for group in groups))
    for i, evaluation in enumerate(evaluations):
        shift = 0.4 * ((i + 0.5) / len(evaluations) - 0.5)
        mine = [g for g in groups if g.evaluation == evaluation and _name(g, by) in shown]
        if not mine:
            continue
        ends = [g.interval or (float("nan"), float("nan")) for g in mine]
        plot.points(
            [shown.index(_name(g, by)) + shift for g in mine],
            [g.value for g in mine],
            category(i),
            shape=SHAPES[i % len(SHAPES)],
            lows=[low for low, _ in ends],
            highs=[high for _, high in ends],
            tips=[f"{_name(g, by)}, {evaluation}: {_cell(g, metric)}" for g in mine],
        )
        plot.legend.append((category(i), SHAPES[i % len(SHAPES)], evaluation))
    ranks = " Numbered as in the table below." if numbered else ""
    more = f"{ranks} The best {len(shown)} of {len(names)}." if len(names) > len(shown) else ranks
    return figure(
        plot.render(), f"{metric.capitalize()} with 95 % intervals, best under {text(hardest)} first.{more}"
    )


def _table_of(rows: Sequence[Row], metric: str, names: Sequence[str] = ()) -> str:
    rows = [row for row in rows if row.metric == metric]
    by = swept(rows) or ["model"]
    evaluations = [evaluation for evaluation, _ in evaluations_of(rows)]
    lines: dict[str, list[str]] = {}
    cells: dict[tuple[str, str], str] = {}
    for group in grouped(rows, by):
        lines.setdefault(
            _name(group, by), [text(column_text(column, group.columns[column])) for column in by]
        )
        cells[_name(group, by), group.evaluation] = text(_cell(group, metric))
    order = [*names, *(name for name in lines if name not in names)]
    body = [[*lines[name], *(cells.get((name, e), "–") for e in evaluations)] for name in order]
    numeric = range(len(by), len(by) + len(evaluations))
    return table([*by, *map(text, evaluations)], body, numeric)


def _differences(rows: Sequence[Row], by: Sequence[str], metric: str, hardest: str) -> str:
    pairs = compared(rows, by)
    if not pairs or len(pairs) > 60:
        return ""
    if all(pair.low is None for pair in pairs):
        return note("Differences between networks aren't tested: there is one seed of each.")
    best_first = sorted(pairs, key=lambda pair: (pair.verdict == "open", -abs(pair.value)))
    lines = [f"<li>{text(difference_text(pair, metric, _turned(pair, metric)))}</li>" for pair in best_first]
    shown, rest = "".join(lines[:_DIFFERENCES]), "".join(lines[_DIFFERENCES:])
    return (
        f"<h3>Differences under {text(hardest)}</h3><ul>{shown}</ul>"
        + (details(f"{len(lines) - _DIFFERENCES} more differences", f"<ul>{rest}</ul>") if rest else "")
        + note("Paired over seeds and test images; simultaneous 95 % intervals (Holm).")
    )


def _turned(pair: Difference, metric: str) -> bool:
    """Whether the second of a pair is the better one."""
    return (pair.value < 0) == (metric == "accuracy")


def _alarms(rows: Sequence[Row]) -> str:
    alarms: dict[str, list[str]] = {}
    for row in rows:
        for alarm in row.alarms:
            alarms.setdefault(alarm, []).append(f"{row.network}/{row.evaluation}")
    if not alarms:
        return ""
    lines = ""
    for alarm, places in alarms.items():
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        lines += f"<li>{text(alarm)}: {text(', '.join(places[:3]))}{more}</li>"
    return f"<h3>Alarms</h3><ul>{lines}</ul>"


def _name(group: GroupRow, by: Sequence[str]) -> str:
    return group_name(by, [group.columns[column] for column in by])


def _cell(group: GroupRow, metric: str) -> str:
    write = accuracy_text if metric == "accuracy" else decimal_text
    low, high = group.interval or (None, None)
    ends = "" if low is None or high is None else f" [{write(max(low, 0.0))} .. {write(high)}]"
    return f"{write(group.value)}{ends}{' !' if group.alarms else ''}"
