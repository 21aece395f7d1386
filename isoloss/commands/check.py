"""`isoloss check`: parse, resolve, type-check and count the cells of studies."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from isoloss.dsl.diagnostics.diagnostic import Diagnostic, as_data
from isoloss.dsl.study.study import Study
from isoloss.errors import FINE, WRONG_INPUT

EPILOG = """examples:
  isoloss check examples/robustness_limits.study
  isoloss check a.study b.study --profile laptop --set grid.runs.images='[4k, 8k]'
  isoloss check a.study --format json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="a .study file")
    parser.add_argument("--profile", metavar="NAME", help="choose a profile of the studies")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="override one setting",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print")


def run(arguments: argparse.Namespace) -> int:
    """Check every file; 0 if all are fine."""
    from isoloss.dsl.load import load_study
    from isoloss.screens.diagnostics import show_diagnostics

    all_diagnostics: list[Diagnostic] = []
    studies: list[dict[str, object]] = []
    wrong = False
    for file in arguments.files:
        study, diagnostics = load_study(file, profile=arguments.profile, overrides=arguments.overrides)
        cells = 0
        if study is not None:
            cells, more = _cells(study)
            diagnostics += more
        fails = study is None or any(d.severity == "error" for d in diagnostics)
        wrong = wrong or fails
        studies.append(_summary(file, study, cells, fails))
        if arguments.format == "text":
            show_diagnostics(diagnostics, arguments)
            if study is not None and not fails:
                print(f"{file}: fine; {_sentence(study, cells)}")
        all_diagnostics += diagnostics
    if arguments.format == "json":
        _print_json(all_diagnostics, studies)
    return WRONG_INPUT if wrong else FINE


def _cells(study: Study) -> tuple[int, list[Diagnostic]]:
    """The number of cells, and what is wrong with them."""
    if not study.grids:
        return 0, []
    from isoloss.compiler.cells.expand import expand
    from isoloss.dsl.diagnostics.collector import with_source

    cells, diagnostics = expand(study)
    return len(cells), with_source(diagnostics)


def _sentence(study: Study, cells: int) -> str:
    """`232 cells in 1 grid, 3 fits, 1 forecast, 1 allocation`."""
    grids = _count(len(study.grids), "grid")
    parts = [f"{_count(cells, 'cell')} in {grids}"] if study.grids else ["no grid"]
    for number, word in (
        (len(study.fits), "fit"),
        (len(study.forecasts), "forecast"),
        (len(study.allocations), "allocation"),
        (len(study.comparisons), "comparison"),
    ):
        if number:
            parts.append(_count(number, word))
    return ", ".join(parts)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _summary(file: Path, study: Study | None, cells: int, fails: bool) -> dict[str, object]:
    summary: dict[str, object] = {"file": str(file), "fine": not fails}
    if study is not None:
        summary |= {
            "study": study.name,
            "profile": study.profile,
            "cells": cells,
            "grids": len(study.grids),
            "fits": len(study.fits),
            "forecasts": len(study.forecasts),
            "allocations": len(study.allocations),
        }
    return summary


def _print_json(found: list[Diagnostic], studies: list[dict[str, object]]) -> None:
    import orjson

    payload = {"diagnostics": [as_data(d) for d in found], "studies": studies}
    sys.stdout.write(orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode() + "\n")
