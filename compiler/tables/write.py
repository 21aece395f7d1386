"""RunTable -> canonical CSV text, exact: reading it back gives the same floats."""

from __future__ import annotations

import csv
import io

import numpy as np

from isoloss.compiler.tables.columns import CANONICAL
from isoloss.compiler.tables.table import RunTable


def table_to_csv(table: RunTable) -> str:
    """Header `run, params, images, fid, flops, fraction, loss, accuracy`, then `model`, `generator`, `features` where
    the source had them. Unknown values are empty cells; counts without a fraction are written as integers."""
    texts = [name for name in ("model", "generator", "features") if name in table.texts]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*CANONICAL, *texts])
    numbers = [getattr(table, name) for name in CANONICAL[1:]]
    for i in range(len(table)):
        row = [table.run_names[int(table.run[i])]]
        row += [_cell(float(column[i])) for column in numbers]
        row += [table.texts[name].names[int(table.texts[name].codes[i])] for name in texts]
        writer.writerow(row)
    return out.getvalue()


def _cell(value: float) -> str:
    if np.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
