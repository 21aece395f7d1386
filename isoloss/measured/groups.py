"""Rows -> groups of networks that have the same values in named columns: mean over seeds, intervals, differences.

What a group's networks differ in beside their seed is listed, and then neither standard deviation nor interval is
given: the mean would be over another thing than seeds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.compiler.laws.arrays import Bools
from isoloss.compiler.observed.comparison import Difference, Scored, differences, mean_of
from isoloss.dsl.vocabulary.quantity_text import count_text, fraction_text
from isoloss.measured.rows import Row, swept

#: Half-widths of normal 95 % intervals in standard errors.
_Z = 1.959963984540054


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
    mean = mean_of([to_test(row, with_images=False) for row in rows])
    one = rows[0].interval if len(rows) == 1 else (mean.low, mean.high)
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
        name = group_name([row.column(column) for column in by])
        key = (row.identity, row.seed, *(_plain(row.column(column)) for column in other))
        groups.setdefault(name, {})[key] = to_test(row, with_images=True)
    return differences(groups)


def group_name(values: Sequence[Any]) -> str:
    """What a group is called: its values in the order of its columns."""
    return " / ".join(map(described, values))


def described(value: Any) -> str:
    """A describing value for people: `cnn(2)`, `8.19k`, `0.1`, `-` where there is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return count_text(value)
    if isinstance(value, float):
        return fraction_text(value)
    return "-" if value is None else str(value)


def to_test(row: Row, *, with_images: bool) -> Scored:
    """What the statistics need of a row; `with_images` reads which test images were right."""
    error = None
    if row.metric != "accuracy" or row.tested is None:
        # A simulated value has no test images: seeds are all that moves it.
        low, high = row.interval or (row.value, row.value)
        error = (high - low) / (2 * _Z)
    right = _right(row) if with_images and row.metric == "accuracy" else None
    return Scored(row.value, row.tested or 1, right, error)


def _right(row: Row) -> Bools | None:
    """Which test images the network had right under the attack; None where the store doesn't say."""
    if row.verdicts is None:
        return None
    try:
        with np.load(row.verdicts, allow_pickle=False) as arrays:
            labels, attacked = arrays["labels"], arrays["attacked_predictions"]
            clean = arrays["clean_predictions"]
    except (OSError, KeyError, ValueError):
        return None
    right = np.asarray((labels == attacked) & (labels == clean), dtype=bool)
    return right if right.ndim == 1 and len(right) == row.tested else None


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)


def difference_text(pair: Difference, metric: str, better_first: bool = False) -> str:
    """`trades - mart: +3.2 points [1.1 .. 5.3] over 3 seeds: better`."""
    a, b, value, low, high = pair.a, pair.b, pair.value, pair.low, pair.high
    if better_first:
        a, b, value = b, a, -value
        low, high = (None, None) if low is None or high is None else (-high, -low)
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    text = f"{a} - {b}: {scale * value:+.3g}{unit}"
    if low is None or high is None:
        return f"{text}, not known how sure: one seed each"
    text += f" [{scale * low:+.3g} .. {scale * high:+.3g}] over {pair.pairs} seeds"
    if pair.verdict != "open":
        return f"{text}: {'the same' if pair.verdict == 'same' else 'told apart'}"
    more = "" if pair.more_seeds is None else f", about {pair.more_seeds} more seeds would tell"
    return f"{text}: open{more}"
