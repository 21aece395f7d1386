"""isoloss results: what was measured, a row per trained network or per group, a column per evaluation."""

from __future__ import annotations

import argparse

from isoloss.errors import FINE, WRONG_USAGE, fault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  isoloss results isoloss-store --by recipe --metric accuracy"
    parser.add_argument(
        "store",
        nargs="?",
        default="isoloss-store",
        metavar="STORE",
        help="the store's folder (./isoloss-store)",
    )
    parser.add_argument("--study", metavar="S", help="of this study alone; a store may hold several")
    parser.add_argument(
        "--by", metavar="COLUMNS", help="groups: recipe,model,… (mean and sd over seeds, interval)"
    )
    parser.add_argument("--metric", choices=("accuracy", "loss"), help="of this metric alone")
    parser.add_argument(
        "--where", metavar="TEST", help="rows for which it holds: `recipe == trades and images > 4k`"
    )
    parser.add_argument(
        "--wide", action="store_true", help="with --csv, --parquet or --json: a column per evaluation"
    )
    parser.add_argument("--csv", action="store_true", help="as CSV")
    parser.add_argument("--parquet", metavar="FILE", help="as Parquet, into a file")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.measured.selection import columns_named, select_rows
    from isoloss.measured.tables import table_of, to_csv, to_parquet
    from isoloss.screens.results_table import results_lines

    rows = select_rows(arguments.store, arguments.study, arguments.metric, arguments.where)
    by = columns_named(rows, arguments.by) if arguments.by and rows else None
    if not (arguments.json or arguments.csv or arguments.parquet):
        print("\n".join(results_lines(rows, None, by)) if rows else "nothing is measured yet")
        return FINE
    table = table_of(rows, by, arguments.wide)
    if arguments.parquet:
        try:
            to_parquet(table, arguments.parquet)
        except ImportError:
            raise fault(
                "L109", "Parquet needs the package `pyarrow`", "`pip install pyarrow`, or write `--csv`",
                exit_code=WRONG_USAGE,
            ) from None  # fmt: skip
        except OSError as error:
            raise fault("L214", f"`{arguments.parquet}` can't be written: {error.strerror}") from None
    elif arguments.json:
        import orjson

        print(orjson.dumps(table, option=orjson.OPT_INDENT_2).decode())
    else:
        print(to_csv(table), end="")
    return FINE
