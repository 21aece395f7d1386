"""isoloss status: what a store has done, what runs, what failed; planned against measured."""

from __future__ import annotations

import argparse

from isoloss.errors import FINE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  isoloss status --store isoloss-store"
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="default: ./isoloss-store")
    parser.add_argument("--json", action="store_true", help="the same as data")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.errors import as_user_error
    from isoloss.plans.store_state import store_state
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store.store import Store
    from isoloss.screens.status_screen import status_lines

    try:
        state = store_state(Store(arguments.store, create=False))
    except JobError as error:
        raise as_user_error(error) from error
    if arguments.json:
        import orjson

        print(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(status_lines(state)))
    return FINE
