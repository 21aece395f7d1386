"""Runs whose loss is asked for: one from the command line, or all of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.tables import read_table
from isoloss.inputs.arguments import count_value
from isoloss.inputs.run_tables import load_table


@dataclass(frozen=True, slots=True, eq=False)
class GivenRuns:
    """N, D and FID [n] of runs, D in images seen."""

    params: Floats
    images: Floats
    fid: Floats


def one_run(params: str, images: str, fid: float) -> GivenRuns:
    """Raises UserError L211 for what is no count."""
    columns = (count_value("params", params), count_value("images", images), fid)
    return GivenRuns(*(np.array([value], dtype=np.float64) for value in columns))


def runs_of(path: str, columns: str | None, fid: float, delimiter: str | None = None) -> GivenRuns:
    """The rows of a table in its order; it needs no losses. Rows without a FID have `fid`. Raises UserError with
    everything that is wrong with the table."""
    table, _ = read_table(path, columns, delimiter=delimiter)
    if table is None:
        # A table without losses is what a forecast is for: any number stands in for them while it is checked.
        table, _ = read_table(
            path, f"{columns},loss=params" if columns else "loss=params", delimiter=delimiter
        )
    if table is None:
        table, _ = load_table(path, columns, delimiter)
    return GivenRuns(table.params, table.images, np.where(np.isnan(table.fid), fid, table.fid))
