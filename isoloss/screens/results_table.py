"""Rows of results -> a table for people: networks or groups down, evaluations across, best first.

What lies within noise of the best stands beside it with a mark, alarms with another; both are said below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isoloss.compiler.observed.comparison import Difference
from isoloss.dsl.vocabulary.quantity_text import decimal_text
from isoloss.measured.groups import GroupRow, column_text, compared, difference_text, group_name, grouped
from isoloss.measured.rows import Row, evaluations_of, hardest_evaluation, swept

#: Rows and differences that a closing screen shows; `isoloss results` has all.
SHOWN, SHOWN_DIFFERENCES = 12, 6
_ALARM, _NEAR = "!", "~"


def results_lines(
    rows: Sequence[Row], shown: int | None = SHOWN, by: Sequence[str] | None = None
) -> Iterator[str]:
    """The tables of every study: of accuracies, or of losses where there is no accuracy. A line per group of the
    columns `by`; None: of those in which the networks differ."""
    for study in dict.fromkeys(row.study for row in rows):
        mine = [row for row in rows if row.study == study]
        if study != rows[0].study:
            yield ""
        yield from _study_lines(study, mine, shown, by)


def _study_lines(
    study: str, rows: Sequence[Row], shown: int | None, columns: Sequence[str] | None
) -> Iterator[str]:
    metric = "accuracy" if any(row.metric == "accuracy" for row in rows) else "loss"
    rows = [row for row in rows if row.metric == metric]
    by = list(columns or swept(rows)) or ["model"]
    evaluations = [evaluation for evaluation, _ in evaluations_of(rows)]
    hardest = hardest_evaluation(rows)
    groups = grouped(rows, by)
    names = list(dict.fromkeys(_name(group, by) for group in groups))
    cells = {(_name(group, by), group.evaluation): group for group in groups}
    sign = -1 if metric == "accuracy" else 1
    names.sort(key=lambda n: sign * cells[n, hardest].value if (n, hardest) in cells else float("inf"))
    pairs = compared([row for row in rows if row.evaluation == hardest], by)
    # With one seed each nothing tells how far seeds move a network.
    replicated = any(pair.low is not None for pair in pairs)
    near = _near(names, pairs) if replicated else set()
    seeds = max(group.seeds for group in groups)
    over = f", means of {seeds} seeds" if seeds > 1 else ""
    yield f"{metric} of study {study}{over} (95 % intervals), best under `{hardest}` first"
    table = [[*by, *evaluations]]
    for name in names[:shown]:
        first = next(group for group in groups if _name(group, by) == name)
        about = [column_text(column, first.columns[column]) for column in by]
        mark = _NEAR if name in near else ""
        values = [_cell(cells.get((name, evaluation)), metric) for evaluation in evaluations]
        table.append([mark + about[0], *about[1:], *values])
    widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    for line in table:
        yield (
            "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        ).rstrip()
    if shown is not None and len(names) > shown:
        yield f"  and {len(names) - shown} more: `isoloss results`"
    yield from _notes(rows, near, hardest, pairs, names, metric)


def _near(names: Sequence[str], pairs: Sequence[Difference]) -> set[str]:
    """Groups that aren't told apart from the best."""
    best = names[0]
    beside = (pair for pair in pairs if best in (pair.a, pair.b) and pair.verdict in ("open", "same"))
    return {pair.b if pair.a == best else pair.a for pair in beside}


def _notes(
    rows: Sequence[Row],
    near: set[str],
    hardest: str,
    pairs: Sequence[Difference],
    names: Sequence[str],
    metric: str,
) -> Iterator[str]:
    if near:
        yield f"  {_NEAR} not told apart from the best under `{hardest}`"
    order = {name: place for place, name in enumerate(names)}
    if pairs and all(pair.low is None for pair in pairs):
        yield "  differences aren't tested: one seed each; `seed in 0..2` in the grid would tell how sure they are"
        pairs = ()
    ranked = sorted(pairs, key=lambda pair: sorted((order[pair.a], order[pair.b])))
    for pair in ranked[:SHOWN_DIFFERENCES] if len(names) > 1 else ():
        yield f"  {difference_text(pair, metric, better_first=order[pair.a] > order[pair.b])}"
    alarms: dict[str, list[str]] = {}
    for row in rows:
        for alarm in row.alarms:
            alarms.setdefault(alarm.removeprefix("alarm: "), []).append(f"{row.network}/{row.evaluation}")
    for alarm, places in alarms.items():
        more = f" and {len(places) - 2} more" if len(places) > 2 else ""
        yield f"  {_ALARM} {alarm}: {', '.join(places[:2])}{more}"


def _name(group: GroupRow, by: Sequence[str]) -> str:
    return group_name(by, [group.columns[column] for column in by])


def _cell(group: GroupRow | None, metric: str) -> str:
    if group is None:
        return "-"
    scale = 100 if metric == "accuracy" else 1
    unit = "%" if metric == "accuracy" else ""
    text = f"{scale * group.value:.1f}{unit}" if unit else decimal_text(group.value)
    if group.interval is not None:
        low, high = (scale * max(end, 0.0) for end in group.interval)
        if unit:
            low, high = low, min(high, 100.0)
        text += f" [{low:.1f} .. {high:.1f}]" if unit else f" [{decimal_text(low)} .. {decimal_text(high)}]"
    return text + (f" {_ALARM}" if group.alarms else "")
