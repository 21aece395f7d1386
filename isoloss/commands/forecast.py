"""`isoloss forecast`: one law or several -> the loss and accuracy that a budget can buy, or of given runs.

Several laws are a portfolio: the interval holds their disagreement, the largest error of an extrapolation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoloss.errors import WRONG_USAGE, fault
from isoloss.inputs.arguments import FID_HELP
from isoloss.inputs.run_tables import add_table_arguments

if TYPE_CHECKING:
    from isoloss.inputs.law_file import NamedLaw

EXAMPLE = """
examples:
  isoloss forecast fit2.json fit3.json --compute 1e22 --fid 1.65
  isoloss forecast bartoldson2024.approach2 bartoldson2024.approach3 --compute 1e25
  isoloss forecast bartoldson2024.approach2 --params 36M --images 300M --fid 1.65
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("laws", metavar="LAW", nargs="+", help="fits' JSON or published laws")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--compute", metavar="C", help="what this budget buys: 1e21, '1 ZFLOP'")
    asked.add_argument("--params", metavar="N", help="the loss of one given run, with `--images`: 36M")
    asked.add_argument("--runs", metavar="TABLE", help="the losses of all runs of a table")
    parser.add_argument("--images", metavar="D", help="images that the run draws: 300M")
    add_table_arguments(parser)
    parser.add_argument("--fid", metavar="FID", help=FID_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.inputs.arguments import compute_flops
    from isoloss.inputs.law_file import load_laws
    from isoloss.screens.law_answers import answer, fid_for, show_warnings

    if (arguments.images is None) != (arguments.params is None):
        raise fault("L211", "`--params` and `--images` say one run together", exit_code=WRONG_USAGE)
    laws = [law for text in arguments.laws for law in load_laws(text)]
    if arguments.compute is None:
        return _given_runs(arguments, laws)
    flops = compute_flops(arguments.compute)
    fid = fid_for(laws, arguments.fid)
    together = answer(laws, flops, fid)
    each = [answer([law], flops, fid) for law in laws] if len(laws) > 1 else []
    if arguments.json:
        import orjson

        data = together.to_json()
        if each:
            data["each"] = [one.to_json() for one in each]
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
        return 0
    print(together.screen())
    if each:
        print("\n  each law by itself")
        for one in each:
            print(f"    {one.line()}")
    show_warnings(together.warnings)
    return 0


def _given_runs(arguments: argparse.Namespace, laws: Sequence[NamedLaw]) -> int:
    """The loss (and accuracy) of given runs, each with an interval for a new run."""
    import orjson

    from isoloss.inputs.given_runs import one_run, runs_of
    from isoloss.screens.law_answers import fid_for
    from isoloss.screens.run_forecasts import as_objects, forecast_runs, forecast_screen

    fid = fid_for(laws, arguments.fid)
    alone = arguments.runs is None
    given = (
        one_run(arguments.params, arguments.images, fid)
        if alone
        else runs_of(arguments.runs, arguments.columns, fid, arguments.delimiter)
    )
    found = forecast_runs(laws, given)
    if arguments.json:
        data = as_objects(found)
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        sys.stdout.write(orjson.dumps(data[0] if alone else data, option=options).decode())
    else:
        print(forecast_screen(laws, found))
    return 0
