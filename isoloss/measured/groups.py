"""Rows -> groups of networks that have the same values in named columns: mean over seeds, intervals, differences.

What a group's networks differ in beside their seed is listed, and then neither standard deviation nor interval is
given: the mean would be over another thing than seeds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.compiler.observed.comparison import Difference, Scored, differences, mean_of
from isoloss.compiler.plan import Pair
from isoloss.dsl.vocabulary.quantity_text import count_text, flop_text, fraction_text
from isoloss.measured.rows import Row, swept


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One metric of one evaluation over the networks of one group."""

    columns: Mapping[str, Any]
    evaluation: str
    metric: str
    value: float  # mean over networks
    sd: float | None
    interval: tuple[float, float] | None
    seeds: int
    networks: int
    over: tuple[str, ...]
    tested: int | None
    alarms: tuple[str, ...]
    study: str

    def as_data(self) -> dict[str, Any]:
        return dict(self.columns) | {
            "evaluation": self.evaluation, "metric": self.metric, "value": self.value, "sd": self.sd,
            "interval": self.interval and list(self.interval), "seeds": self.seeds, "networks": self.networks,
            "over": list(self.over), "tested": self.tested, "alarms": list(self.alarms), "study": self.study,
        }  # fmt: skip


def grouped(rows: Sequence[Row], by: Sequence[str]) -> list[GroupRow]:
    """A row per study, group, evaluation and metric, in the order they are met."""
    members: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        values = tuple(_plain(row.column(name)) for name in by)
        members.setdefault((row.study, values, row.evaluation, row.metric, row.identity), []).append(row)
    return [_group(list(by), key, group) for key, group in members.items()]


def _group(by: Sequence[str], key: tuple[Any, ...], rows: Sequence[Row]) -> GroupRow:
    study, values, evaluation, metric, _ = key
    over = tuple(name for name in swept(rows) if name not in by)
    seeds = len({row.seed for row in rows})
    alone = bool(over) or seeds < len(rows)
    mean = mean_of([Scored.of(row.observation) for row in rows])
    one = rows[0].interval if len(rows) == 1 else (mean.low, mean.high)
    if one is not None and metric == "accuracy":
        one = max(one[0], 0.0), min(one[1], 1.0)
    return GroupRow(
        columns=dict(zip(by, values, strict=True)),
        evaluation=evaluation,
        metric=metric,
        value=mean.value,
        sd=None if alone else mean.sd,
        interval=None if alone else one,
        seeds=seeds,
        networks=len(rows),
        over=over,
        tested=rows[0].tested,
        alarms=tuple(dict.fromkeys(alarm for row in rows for alarm in row.alarms)),
        study=study,
    )


def compared(rows: Sequence[Row], by: Sequence[str]) -> list[Difference]:
    """Differences of the groups' means for rows of one evaluation and metric: pairs of networks that are equal in every
    other column and the seed, on the same test images. Groups are named by their values."""
    if len({(row.study, row.evaluation, row.metric) for row in rows}) != 1:
        return []
    other = [name for name in swept(rows) if name not in by]
    groups: dict[str, dict[Hashable, Scored]] = {}
    for row in rows:
        name = group_name(by, [row.column(column) for column in by])
        key = (row.identity, row.seed, *(_plain(row.column(column)) for column in other))
        groups.setdefault(name, {})[key] = Scored.of(row.observation)
    return differences(groups)


def group_name(by: Sequence[str], values: Sequence[Any]) -> str:
    """What a group is called: its values in the order of its columns."""
    return " / ".join(map(column_text, by, values))


def column_text(name: str, value: Any) -> str:
    """A describing column's value for people."""
    return flop_text(value) if name == "compute" and value is not None else described(value)


def described(value: Any) -> str:
    """A describing value for people: `cnn(2)`, `8.19k`, `0.1`, `-` where there is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return count_text(value)
    if isinstance(value, float):
        return fraction_text(value)
    return "-" if value is None else str(value)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)


def difference_text(pair: Difference, metric: str, better_first: bool = False) -> str:
    """`pair_text` of a difference that no study asked for."""
    interval = None if pair.low is None or pair.high is None else (pair.low, pair.high)
    made = Pair(pair.a, pair.b, pair.value, interval, pair.pairs, pair.more_seeds, pair.verdict)
    return pair_text(made, metric, better_first)


def pair_text(pair: Pair, metric: str, turned: bool | None = None) -> str:
    """`trades - mart: +3.2 points [1.1 .. 5.3] over 3 seeds: told apart`. `turned`: b first; None: the better one."""
    higher_is_better = metric == "accuracy"
    if turned is None:
        turned = (pair.difference < 0) == higher_is_better and pair.difference != 0
    a, b, value, interval = pair.a, pair.b, pair.difference, pair.interval
    if turned:
        a, b, value = b, a, -value
        interval = None if interval is None else (-interval[1], -interval[0])
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    text = f"{a} - {b}: {scale * value:+.3g}{unit}"
    if interval is None:
        return f"{text}, not known how sure: one seed each"
    text += f" [{scale * interval[0]:+.3g} .. {scale * interval[1]:+.3g}] over {pair.seeds} seeds"
    if pair.verdict != "open":
        return f"{text}: {'the same' if pair.verdict == 'same' else 'told apart'}"
    more = "" if pair.more_seeds is None else f", about {pair.more_seeds} more seeds would tell"
    return f"{text}: open{more}"
