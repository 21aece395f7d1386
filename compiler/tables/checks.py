"""Checks on whole columns of a table: signs, units, repeats. Columns -> diagnostics with lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.arrays import Bools, Floats, Ints
from isoloss.compiler.tables.columns import Formula, written
from isoloss.compiler.tables.problems import Tally, problem
from isoloss.compiler.tables.table import RunTable
from isoloss.dsl.diagnostics.diagnostic import Diagnostic

#: A whole table below this looks like millions: the paper's networks are 5.8 .. 366 million.
#: A network of fewer than 2,000 parameters exists, and is stated as such.
MILLIONS_BELOW = 2000.0

#: flops / (params x images): 6 for language models, 7822 in the paper, 240,000 for PGD-100 at 64x64.
FLOPS_PER_PARAM_IMAGE = (0.5, 1e7)


#: What no run has: the largest network has 1e13 parameters, the largest data set 1e14 tokens. Beyond,
#: products overflow. Lower ends leave room for columns in millions, which L116 is about.
PLAUSIBLE: Mapping[str, tuple[float, float]] = {
    "params": (1e-6, 1e18),
    "images": (1e-6, 1e20),
    "planned": (1e-6, 1e20),
    "flops": (1e-6, 1e45),
    "loss": (1e-9, 1e9),
    "fid": (0.0, 1e6),
}


@dataclass(frozen=True, slots=True)
class View:
    file: str
    word: str
    lines: Ints
    formulas: Mapping[str, Formula]

    def tally(self, bad: np.ndarray, column: Floats) -> Tally:
        tally = Tally()
        for row in np.flatnonzero(bad)[:5]:
            tally.add(int(self.lines[row]), f"{column[row]:g}")
        tally.count = int(bad.sum())
        return tally


def check_values(view: View, values: Mapping[str, Floats]) -> list[Diagnostic]:
    """Every wrong value and unit. A column with wrong values isn't also blamed for its units."""
    found: list[Diagnostic] = []
    clean = True
    for name in ("params", "images", "loss", "accuracy", "fid", "flops", "fraction", "planned"):
        if name in view.formulas:
            bad = list(_column(view, name, values[name]))
            clean = clean and not bad
            found += bad
    if clean:
        found += _units(view, values)
    return found


def _column(view: View, name: str, column: Floats) -> Iterator[Diagnostic]:
    # A loss may be missing only if the table has none at all (then robust error stands in, and is said to).
    if name in ("params", "images", "loss", "fraction"):
        empty = np.isnan(column)
        if empty.any():
            tally = view.tally(empty, column)
            yield problem(
                "L114",
                view.file,
                f"`{name}` is empty or NaN on {tally.where(view.word)}",
                "give the number, or leave the row out: a diverged run is no point of a law",
                line=tally.lines[0],
            )
    elif name == "accuracy" and "loss" not in view.formulas and np.isnan(column).any():
        tally = view.tally(np.isnan(column), column)
        headline = f"`accuracy` is empty or NaN on {tally.where(view.word)}, and there is no `loss`"
        yield problem("L114", view.file, headline, "give one of the two on every row", line=tally.lines[0])
    with np.errstate(invalid="ignore"):
        wrong = np.isinf(column) | (column < 0)
        if name not in ("fid", "accuracy"):
            wrong |= column == 0
    if wrong.any():
        tally = view.tally(wrong, column)
        rule = {
            "loss": "a law is fitted to the loss's logarithm, so it must be positive",
            "fid": "`fid` is 0 for real data, positive for generated, empty where unknown",
            "accuracy": "accuracies are in [0, 1]",
            "fraction": "`fraction` of training is in (0, 1]",
        }.get(name, f"`{name}` must be positive")
        headline = f"`{name}` is {tally.text} on {tally.where(view.word)}"
        yield problem("L115", view.file, headline, rule, line=tally.lines[0])
    elif name in PLAUSIBLE and _beyond(column, PLAUSIBLE[name]).any():
        tally = view.tally(_beyond(column, PLAUSIBLE[name]), column)
        low, high = PLAUSIBLE[name]
        headline = f"`{name}` is {tally.text} on {tally.where(view.word)}: no run has that"
        yield problem("L115", view.file, headline, f"from {low:g} to {high:g}", line=tally.lines[0])
    elif name in ("accuracy", "fraction") and (column > 1.0 + 1e-9).any():
        over = column > 1.0 + 1e-9
        tally = view.tally(over, column)
        source = view.formulas[name].text
        help = (
            f"in percent? say so: `--columns {shlex.quote(f'{name}={written(source)}/100')}`"
            if float(np.nanmax(column)) <= 100.0
            else f"`{name}` is a fraction in [0, 1]"
        )
        headline = f"`{name}` is {tally.text} on {tally.where(view.word)}, above 1"
        yield problem("L117", view.file, headline, help, line=tally.lines[0])


def _beyond(column: Floats, ends: tuple[float, float]) -> Bools:
    with np.errstate(invalid="ignore"):
        return np.asarray((column < ends[0]) | (column > ends[1]))


def _units(view: View, values: Mapping[str, Floats]) -> Iterator[Diagnostic]:
    suspects = []
    for name in ("params", "images"):
        formula = view.formulas[name]
        largest = float(values[name].max())
        if largest < MILLIONS_BELOW and not formula.stated:
            suspects.append((name, formula.text, largest))
    if suspects:
        shown = " and ".join(f"`{name}` (largest {largest:g})" for name, _, largest in suspects)
        fix = ",".join(f"{name}={text}*1e6" for name, text, _ in suspects)
        same = ",".join(f"{name}={text}" for name, text, _ in suspects)
        verb = "look" if len(suspects) > 1 else "looks"
        yield problem(
            "L116",
            view.file,
            f"{shown} {verb} like millions, not plain counts",
            f"if so: `--columns '{fix}'`",
            f"if they are plain counts, say that: `--columns '{same}'`",
            line=1,
        )
        return
    if "flops" not in view.formulas:
        return
    with np.errstate(all="ignore"):
        ratio = values["flops"] / (values["params"] * values["images"])
    known = ratio[np.isfinite(ratio)]
    low, high = FLOPS_PER_PARAM_IMAGE
    if len(known) and not low <= float(np.median(known)) <= high:
        yield problem(
            "L120",
            view.file,
            f"`flops` is {float(np.median(known)):.3g} x params x images: the units can't be right",
            "6 is usual for language models, 7822 for ten-step adversarial training of wide ResNets",
            "scale a column: `--columns 'flops=flops*1e15'`, `params=params*1e6`",
            line=1,
        )


def check_repeats(view: View, table: RunTable) -> tuple[RunTable | None, tuple[Diagnostic, ...]]:
    """One checkpoint of one run is one row. Equal rows are counted once, with a warning; two different values
    for one checkpoint are an error, since no rule could choose between them."""
    if len(np.unique(table.run)) == len(table):
        # Without runs in the table every row is its own: only rows equal in everything are suspicious.
        keys = np.stack([table.params, table.images, np.nan_to_num(table.fid, nan=-1.0), _value(table)])
        where = keys
    else:
        where = np.stack([table.run.astype(np.float64), table.images])
        keys = np.vstack([where, table.params, np.nan_to_num(table.fid, nan=-1.0), _value(table)])
    _, first, counts = np.unique(keys, axis=1, return_index=True, return_counts=True)
    warnings: list[Diagnostic] = []
    if len(first) < len(table):
        repeated = first[counts > 1]
        tally = view.tally(np.isin(np.arange(len(table)), repeated), table.images)
        headline = f"{len(table) - len(first)} rows repeat others ({tally.where(view.word)}); counted once"
        help = "replicates with other seeds need their own `run` name"
        warnings.append(problem("L119", view.file, headline, help, line=tally.lines[0], severity="warning"))
        table = table.take(np.sort(first))
        where = where[:, np.sort(first)]
    _, first, counts = np.unique(where, axis=1, return_index=True, return_counts=True)
    if len(first) < len(table):
        row = int(first[counts > 1].min())
        same = np.flatnonzero((where == where[:, [row]]).all(axis=0))
        lines = ", ".join(str(int(table.line[i])) for i in same[:5])
        name = table.run_names[int(table.run[row])]
        headline = (
            f"run `{name}` has different values for {table.images[row]:g} images ({view.word}s {lines})"
        )
        help = "give replicates their own `run` name, or keep one row per checkpoint"
        return None, (problem("L118", view.file, headline, help, line=int(table.line[row])),)
    return table, tuple(warnings)


def _value(table: RunTable) -> Floats:
    return table.loss if table.has_loss else table.accuracy
