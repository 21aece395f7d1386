"""`isoloss forecast`: one law or several and a compute budget -> loss and accuracy that it can buy.

Several laws are a portfolio: the interval holds their disagreement, the largest error of an extrapolation."""

from __future__ import annotations

import argparse
import sys

from isoloss.inputs.arguments import FID_HELP

EXAMPLE = """
examples:
  isoloss forecast fit2.json fit3.json --compute 1e22 --fid 1.65
  isoloss forecast bartoldson2024.approach2 bartoldson2024.approach3 --compute 1e25
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("laws", metavar="LAW", nargs="+", help="fits' JSON or published laws")
    parser.add_argument("--compute", required=True, metavar="C", help="training budget: 1e21, '1 ZFLOP'")
    parser.add_argument("--fid", metavar="FID", help=FID_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.inputs.arguments import compute_flops
    from isoloss.inputs.law_file import load_law
    from isoloss.screens.law_answers import answer, fid_for, show_warnings

    flops = compute_flops(arguments.compute)
    laws = [load_law(text) for text in arguments.laws]
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
