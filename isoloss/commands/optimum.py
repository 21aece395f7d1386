"""`isoloss optimum`: a law and a compute budget -> N*, D*, loss, accuracy, and what another size costs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from isoloss.compiler.laws.fitting.tradeoff import tradeoff
from isoloss.inputs.arguments import FID_HELP

if TYPE_CHECKING:
    from isoloss.compiler.laws.fitting.fitted import Tradeoff

EXAMPLE = """
examples:
  isoloss optimum bartoldson2024.approach2 --compute 1e21 --fid 1.65
  isoloss optimum fit.json --compute '1 ZFLOP' --json
"""

#: Sizes of the trade-off table, times N*. The paper's example is 0.5 (Appendix H.5, Eq. 6).
SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument(
        "law", metavar="LAW", help="a fit's JSON, or a published law: bartoldson2024.approach2"
    )
    parser.add_argument("--compute", required=True, metavar="C", help="training budget: 1e21, '1 ZFLOP'")
    parser.add_argument("--fid", metavar="FID", help=FID_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.inputs.arguments import compute_flops
    from isoloss.inputs.law_file import load_laws
    from isoloss.screens.law_answers import answer, fid_for, show_warnings
    from isoloss.screens.tradeoff_table import tradeoff_table

    flops = compute_flops(arguments.compute)
    laws = load_laws(arguments.law)
    fid = fid_for(laws, arguments.fid)
    result = answer(laws, flops, fid)
    # Of a portfolio by the law that counts most.
    law = max(laws, key=lambda each: each.weight or 0.0)
    tradeoffs = [tradeoff(law.fit, size, flops, fid, result.rule) for size in SIZES]
    if arguments.json:
        import orjson

        data = {**result.to_json(), "tradeoff": [_tradeoff_json(t) for t in tradeoffs if t is not None]}
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
        return 0
    print(result.screen())
    table = tradeoff_table(SIZES, tradeoffs, result.optimum)
    if table:
        print(table)
    show_warnings(result.warnings)
    return 0


def _tradeoff_json(tradeoff: Tradeoff) -> dict[str, Any]:
    from isoloss.screens.law_answers import ends

    return {
        "size": tradeoff.size,
        "images": tradeoff.images.mid,
        "overhead": tradeoff.overhead.mid,
        "overhead_interval": ends(tradeoff.overhead),
    }
