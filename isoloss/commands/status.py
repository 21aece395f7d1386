"""isoloss status: what a store has done, what runs, what failed; planned against measured."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from isoloss.errors import FINE

if TYPE_CHECKING:
    from isoloss.runtime.store.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  isoloss status --store isoloss-store"
    parser.add_argument("place", nargs="?", metavar="STORE", help="the store's folder (./isoloss-store)")
    parser.add_argument("--store", metavar="DIR", help="the same")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every checksum; set damaged results aside and say what runs again",
    )
    parser.add_argument("--json", action="store_true", help="the same as data")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.errors import as_user_error
    from isoloss.measured.rows import rows_of_store
    from isoloss.plans.store_state import store_state
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store.store import Store
    from isoloss.screens.results_table import results_lines
    from isoloss.screens.status_screen import status_lines, verified_lines

    try:
        store = Store(arguments.place or arguments.store or "isoloss-store", create=False)
        verified = _verified(store) if arguments.verify else None
        state, rows = store_state(store), rows_of_store(store)
    except JobError as error:
        raise as_user_error(error) from error
    if arguments.json:
        import orjson

        if verified is not None:
            state["verified"] = verified
        state["results"] = [row.as_data() for row in rows]
        print(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode())
    else:
        said = verified_lines(verified, state["jobs"]) if verified is not None else ()
        print("\n".join([*status_lines(state), *said, *(results_lines(rows) if rows else ())]))
    return FINE


def _verified(store: Store) -> dict[str, Any]:
    """What `--verify` found, as data."""
    from dataclasses import asdict

    from isoloss.measured.stored_plans import is_plan
    from isoloss.runtime.store.scrub import scrub

    return asdict(scrub(store, is_plan))
