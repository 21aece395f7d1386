"""A store's folder and what is asked of it -> rows; what can't be had is told as a user's error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isoloss.dsl.names import did_you_mean
from isoloss.errors import WRONG_USAGE, UserError, as_user_error, fault
from isoloss.measured.rows import DESCRIBING, Row, rows_of_store


def select_rows(
    store: str | Path, study: str | None = None, metric: str | None = None, where: str | None = None
) -> list[Row]:
    """Raises UserError for a folder that is no store, a study that it doesn't have, a condition that can't be read."""
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store.store import Store

    try:
        rows = rows_of_store(Store(store, create=False), study)
    except JobError as error:
        raise as_user_error(error) from error
    except KeyError as known:
        raise fault(
            "N104",
            f"no study of this store is called `{study}`",
            f"it has {known.args[0]}",
            exit_code=WRONG_USAGE,
        ) from None
    rows = [row for row in rows if metric in (None, row.metric)]
    return rows if where is None else _rows_where(rows, where)


def columns_named(rows: Sequence[Row], text: str) -> tuple[str, ...]:
    """The columns of `--by`. Raises UserError for one that these rows don't have."""
    known = (*DESCRIBING, "seed", "study", *dict.fromkeys(name for row in rows for name in row.settings))
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    for name in names:
        if name not in known:
            raise fault(
                "N102", f"`--by` knows no column `{name}`", did_you_mean(name, known), exit_code=WRONG_USAGE
            )
    return names


def _rows_where(rows: Sequence[Row], where: str) -> list[Row]:
    """By the language's own conditions over `params`, `images`, `seed`, `generator` and `recipe`."""
    from isoloss.compiler.tables.where import read_condition
    from isoloss.dsl.study.expression import evaluate

    generators = tuple(dict.fromkeys(row.generator for row in rows if row.generator))
    recipes = tuple(dict.fromkeys(row.recipe for row in rows if row.recipe))
    condition, problems = read_condition(where, generators, "--where", recipes)
    if condition is None:
        raise UserError(problems, WRONG_USAGE)
    names = ("params", "images", "seed", "generator", "recipe")
    verdicts = [evaluate(condition, {name: row.column(name) for name in names}) for row in rows]
    if any(not isinstance(verdict, bool) for verdict in verdicts):
        help = f"a condition here is about {', '.join(f'`{name}`' for name in names)}"
        raise fault(
            "L208", f"`--where {where}` can't be decided for every network", help, exit_code=WRONG_USAGE
        )
    return [row for row, verdict in zip(rows, verdicts, strict=True) if verdict is True]
