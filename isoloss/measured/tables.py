"""Rows and groups -> plain tables for scripts: a list of objects, CSV, Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoloss.measured.groups import grouped
from isoloss.measured.rows import Row
from isoloss.runtime.disk import write_whole

#: What a wide table has of each evaluation beside its value.
_MEASURED = ("evaluation", "metric", "value", "sd", "interval", "tested", "alarms", "job", "source")


def table_of(
    rows: Sequence[Row], by: Sequence[str] | None = None, wide: bool = False
) -> list[dict[str, Any]]:
    """A list of objects: one per row, or per group of `by`; `wide`: one per network or group, evaluations side by side
    under `EVALUATION METRIC`, their intervals under `EVALUATION METRIC interval`."""
    table = (
        [row.as_data() for row in rows] if by is None else [group.as_data() for group in grouped(rows, by)]
    )
    return _wide(table) if wide else table


def _wide(table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}
    for row in table:
        fixed = {name: value for name, value in row.items() if name not in _MEASURED}
        line = lines.setdefault(repr(fixed), fixed)
        name = f"{row['evaluation']} {row['metric']}"
        line[name], line[f"{name} interval"] = row["value"], row["interval"]
        line["alarms"] = [
            *line.get("alarms", []),
            *(f"{row['evaluation']}: {alarm}" for alarm in row["alarms"]),
        ]
    return list(lines.values())


def to_csv(table: Sequence[dict[str, Any]]) -> str:
    """Intervals as two columns, settings as columns of their own, alarms joined by `; `."""
    flat = [_flat(row) for row in table]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(name for row in flat for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def to_parquet(table: Sequence[dict[str, Any]], path: str | Path) -> None:
    """The columns of `to_csv`. Raises ImportError without pyarrow, OSError."""
    import pyarrow
    import pyarrow.parquet

    written = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([_flat(row) for row in table]), written)
    write_whole(Path(path), written.getvalue())


def data_frame(rows: Sequence[Row], by: Sequence[str] | None = None, wide: bool = False) -> Any:
    """The same table as a pandas DataFrame, columns as in `to_csv`."""
    import pandas

    return pandas.DataFrame([_flat(row) for row in table_of(rows, by, wide)])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name == "interval" or name.endswith(" interval"):
            before = name.removesuffix("interval")
            flat[f"{before}low"], flat[f"{before}high"] = value or (None, None)
        elif name == "settings":
            flat |= value
        elif isinstance(value, list):
            flat[name] = "; ".join(map(str, value))
        else:
            flat[name] = value
    return flat
