"""What a store has measured, as rows: one per trained network, evaluation and metric; and groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def results(
    store: str | Path = "isoloss-store",
    *,
    study: str | None = None,
    by: Sequence[str] | None = None,
    metric: str | None = None,
    where: str | None = None,
    wide: bool = False,
) -> Any:
    """The table of `isoloss results` as a pandas DataFrame: a row per trained network, declared evaluation and metric,
    or per group of the columns `by` (mean, sd over seeds, 95 % interval). Accuracies are fractions.

    Raises errors.UserError for a folder that is no store, an unknown study or a condition that can't be read."""
    from isoloss.measured.selection import select_rows
    from isoloss.measured.tables import data_frame

    return data_frame(select_rows(store, study, metric, where), by, wide)
