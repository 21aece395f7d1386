"""`isoloss import`: a published or private table of runs -> our canonical CSV; a published network -> our weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from isoloss.errors import WRONG_USAGE, fault
from isoloss.inputs.run_tables import add_table_arguments

EXAMPLE = """
examples:
  isoloss import AT_scaling_law_data.csv -o runs.csv
  isoloss import theirs.parquet --columns 'params=N*1e6,images=D,loss=L' --where 'params > 1M' -o runs.csv
  isoloss import edm-cifar10-32x32-cond-vp.pkl -o data/edm-cifar10-32x32-cond-vp.pt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("table", metavar="FILE", help="runs: CSV or Parquet; or NVIDIA's EDM weights: .pkl")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="the canonical table, or our weights"
    )
    add_table_arguments(parser)
    parser.add_argument("--where", metavar="EXPR", help="keep the runs for which this holds")
    parser.add_argument("--json", action="store_true", help="say what was read as JSON")


def run(arguments: argparse.Namespace) -> int:
    if Path(arguments.table).suffix == ".pkl":
        if arguments.columns or arguments.where:
            raise fault("L214", "`--columns` and `--where` are for tables of runs", exit_code=WRONG_USAGE)
        from isoloss.inputs.published_weights import import_weights

        return import_weights(Path(arguments.table), Path(arguments.output), arguments.json)
    from isoloss.compiler.tables.write import table_to_csv
    from isoloss.inputs.run_tables import filter_table, load_table
    from isoloss.runtime.disk import write_whole

    table, warnings = load_table(arguments.table, arguments.columns, arguments.delimiter)
    if arguments.where:
        table = filter_table(table, arguments.where)
    output = Path(arguments.output)
    if output.exists() and output.samefile(arguments.table):
        raise fault(
            "L214", f"`{output}` is the table itself", "write to another file: nothing is overwritten"
        )
    try:
        write_whole(output, table_to_csv(table).encode())
    except OSError as error:
        raise fault("L214", f"`{output}` can't be written: {error.strerror}") from None
    if arguments.json:
        import orjson

        from isoloss.dsl.diagnostics.diagnostic import as_data

        data = {
            "rows": len(table),
            "runs": table.num_runs,
            "layout": table.layout,
            "notes": list(table.notes),
            "output": str(output),
            "warnings": [as_data(d) for d in warnings],
        }
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
        return 0
    from isoloss.screens.law_answers import show_warnings

    print(f"{len(table)} rows of {table.num_runs} runs: {arguments.table} -> {output}")
    for note in table.notes:
        print(f"  note: {note}")
    show_warnings(warnings)
    return 0
