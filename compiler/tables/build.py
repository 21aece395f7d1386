"""File -> RunTable + diagnostics: stream the cells once, then check whole columns.

All mistakes at once, one message per kind and column. A table with an error is not returned."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Ints
from isoloss.compiler.tables import checks
from isoloss.compiler.tables.columns import Formula, Mapped, map_columns
from isoloss.compiler.tables.open_sheet import LIMIT_BYTES, open_sheet
from isoloss.compiler.tables.problems import TableError, Tally, problem, stop
from isoloss.compiler.tables.sheet import Sheet
from isoloss.compiler.tables.table import COLUMNS, Labels, RunTable
from isoloss.dsl.diagnostics.diagnostic import Diagnostic

#: What people and libraries write for "no value".
EMPTY = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})


def read_table(
    path: str | Path,
    columns: str | None = None,
    *,
    limit_bytes: int = LIMIT_BYTES,
    delimiter: str | None = None,
) -> tuple[RunTable | None, tuple[Diagnostic, ...]]:
    """Read and check a CSV or Parquet table of runs. `columns` is the text of `--columns`,
    `delimiter` what stands between its cells (None: found).

    Returns (None, errors) or (table, warnings); raises nothing for any content of the file."""
    try:
        with open_sheet(path, limit_bytes, delimiter) as sheet:
            mapped, problems = map_columns(sheet.header, columns, sheet.file)
            if problems:
                return None, problems
            cells = _stream(sheet, mapped)
    except TableError as error:
        return None, error.diagnostics
    if not cells.lines:
        headline = f"`{sheet.file}` has a header and no rows"
        return None, stop("L102", sheet.file, headline, "one row per observation").diagnostics
    problems = tuple(_bad_cells(sheet, cells))
    if problems:
        return None, problems
    return _finish(sheet, mapped, cells)


@dataclass(slots=True)
class _Cells:
    """What one pass over the file leaves: numbers by header index, codes of texts, run of each row."""

    numbers: dict[int, array[float]]
    texts: dict[int, tuple[array[int], dict[str, int]]]
    runs: array[int] = field(default_factory=lambda: array("q"))
    run_names: dict[tuple[str, ...], int] = field(default_factory=dict)
    lines: array[int] = field(default_factory=lambda: array("q"))
    not_numbers: dict[int, Tally] = field(default_factory=dict)


def _stream(sheet: Sheet, mapped: Mapped) -> _Cells:
    wanted = {index for formula in mapped.formulas.values() for index, _ in formula.columns}
    cells = _Cells(
        {index: array("d") for index in sorted(wanted)},
        {index: (array("q"), {}) for index in sorted(set(mapped.texts.values()))},
    )
    for line, row in sheet.rows:
        cells.lines.append(line)
        for index, values in cells.numbers.items():
            value = _to_float(row[index])
            if value is None:
                cells.not_numbers.setdefault(index, Tally()).add(line, str(row[index]))
                value = np.nan
            values.append(value)
        for index, (codes, names) in cells.texts.items():
            codes.append(names.setdefault(_to_text(row[index]), len(names)))
        if mapped.keys:
            key = tuple(_to_text(row[index]) for index in mapped.keys)
            cells.runs.append(cells.run_names.setdefault(key, len(cells.run_names)))
    return cells


def _to_text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _to_float(cell: object) -> float | None:
    """nan for an empty cell, None for what is no number. Python's `1_000` is refused: no tool writes it."""
    if cell is None:
        return np.nan
    if isinstance(cell, str):
        text = cell.strip()
        try:
            return float(text) if "_" not in text else None
        except ValueError:
            return np.nan if text.lower() in EMPTY else None
    try:
        return float(cell) if not isinstance(cell, bool) else None  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _bad_cells(sheet: Sheet, cells: _Cells) -> list[Diagnostic]:
    found = []
    for index, tally in cells.not_numbers.items():
        help = "write plain numbers, such as 5849050 or 5.8e6; leave the cell empty where unknown"
        if "," in tally.text:
            help = "write the decimal point as `.` and no thousands separators"
        elif tally.text.strip().endswith("%"):
            help = "write a fraction: 0.716 for 71.6%"
        headline = f"`{sheet.header[index]}` is not a number on {tally.where(sheet.word)}: `{tally.text}`"
        found.append(problem("L113", sheet.file, headline, help, line=tally.lines[0]))
    return found


def _finish(sheet: Sheet, mapped: Mapped, cells: _Cells) -> tuple[RunTable | None, tuple[Diagnostic, ...]]:
    lines: Ints = np.frombuffer(cells.lines, dtype=np.int64)
    values = {name: _evaluate(mapped.formulas.get(name), cells, len(lines)) for name in COLUMNS}
    notes = list(mapped.notes)
    keep = np.ones(len(lines), dtype=bool)
    if "fraction" in mapped.formulas:
        # Evaluations before the first step say nothing about training.
        keep = values["fraction"] != 0.0
        if not keep.all():
            notes.append(f"{int((~keep).sum())} rows at fraction 0 left out: evaluated before training")
    view = checks.View(sheet.file, sheet.word, lines[keep], mapped.formulas)
    values = {name: column[keep] for name, column in values.items()}
    problems = checks.check_values(view, values)
    if not keep.any():
        problems.append(problem("L102", sheet.file, f"`{sheet.file}` has no row with fraction > 0"))
    if problems:
        return None, tuple(problems)
    texts = {
        name: Labels(np.frombuffer(cells.texts[index][0], dtype=np.int64)[keep], tuple(cells.texts[index][1]))
        for name, index in mapped.texts.items()
        if name != "run"
    }
    if "features" not in texts and mapped.layout is not None and mapped.layout.features:
        texts["features"] = Labels(np.zeros(int(keep.sum()), dtype=np.int64), (mapped.layout.features,))
    run, names, run_notes = _runs(mapped, cells, keep, values, texts)
    _derive(values, run, mapped)
    table = RunTable(
        source=sheet.file,
        word=sheet.word,
        **values,
        run=run,
        run_names=names,
        line=lines[keep],
        texts=texts,
        layout=mapped.layout.name if mapped.layout else None,
        notes=(*notes, *run_notes),
    )
    return checks.check_repeats(view, table)


def _evaluate(formula: Formula | None, cells: _Cells, rows: int) -> Floats:
    if formula is None:
        return np.full(rows, np.nan)
    value = np.full(rows, formula.factor)
    with np.errstate(all="ignore"):  # What overflows is caught by the checks, with its line.
        for index, power in formula.columns:
            column = np.frombuffer(cells.numbers[index], dtype=np.float64)
            value = value * column if power > 0 else value / column
    return value


def _runs(
    mapped: Mapped, cells: _Cells, keep: np.ndarray, values: Mapping[str, Floats], texts: Mapping[str, Labels]
) -> tuple[Ints, tuple[str, ...], list[str]]:
    """Which rows belong to one training run: by the `run` column, a layout's keys, or by what a run is."""
    rows = len(values["params"])
    if mapped.keys:
        names = tuple("/".join(key) for key in cells.run_names)
        return np.frombuffer(cells.runs, dtype=np.int64)[keep], names, []
    if "fraction" not in mapped.formulas:
        return np.arange(rows, dtype=np.int64), tuple(f"run{i + 1}" for i in range(rows)), []
    # No `run` column, but rows along training: a run is a network, a data source and a planned length.
    length = values["images"] / values["fraction"]
    rounded: Floats = np.round(np.log(length), 2).astype(
        np.float64
    )  # 1 %: fractions are often printed to three digits.
    columns: list[Floats] = [values["params"], np.nan_to_num(values["fid"], nan=-1.0), rounded]
    columns += [labels.codes.astype(np.float64) for labels in texts.values()]
    _, first, run = np.unique(np.stack(columns), axis=1, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # Ids in order of appearance.
    run = order[run.reshape(-1)].astype(np.int64)
    count = len(first)
    note = f"no `run` column: rows of equal params, fid and planned length taken as one run ({count} runs)"
    return run, tuple(f"run{i + 1}" for i in range(count)), [note]


def _derive(values: dict[str, Floats], run: Ints, mapped: Mapped) -> None:
    """Fill `fraction` and `planned` where the table has none: from the last row of the run."""
    if "fraction" not in mapped.formulas:
        longest = np.zeros(int(run.max()) + 1)
        np.maximum.at(longest, run, values["images"])
        values["fraction"] = values["images"] / longest[run]
    if "planned" not in mapped.formulas:
        values["planned"] = values["images"] / values["fraction"]
