"""One's own store as a table of runs: a row for each trained network, by one evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from isoloss.compiler.plan import is_clean
from isoloss.compiler.tables.table import Labels, RunTable
from isoloss.errors import fault
from isoloss.measured.rows import Row, hardest_evaluation
from isoloss.measured.selection import select_rows


def is_store(path: str | Path) -> bool:
    """A folder: tables are files."""
    return Path(path).is_dir()


def table_of_store(path: str, evaluation: str | None, recipe: str | None = None) -> RunTable:
    """The networks of a store with their losses and accuracies under `evaluation` (None: the only one that attacks),
    of `recipe` (None: all). Raises UserError where several could be meant, or nothing was measured."""
    rows = [row for row in select_rows(path) if recipe in (None, row.recipe)]
    names = list(dict.fromkeys(row.evaluation for row in rows))
    if not rows:
        raise fault(
            "L102", f"`{path}` holds no results of this kind yet", "run its study: `isoloss run STUDY`"
        )
    chosen = evaluation or _only(names, rows, path)
    mine = [row for row in rows if row.evaluation == chosen]
    if not mine:
        listed = ", ".join(f"`{name}`" for name in names)
        raise fault("L111", f"no network of `{path}` is tested by `{chosen}`", f"they are by {listed}")
    losses = {row.network: row for row in mine if row.metric == "loss"}
    accuracies = {row.network: row for row in mine if row.metric == "accuracy"}
    if len({row.identity for row in losses.values()}) > 1:
        recipes = ", ".join(dict.fromkeys(str(row.recipe) for row in losses.values()))
        headline = f"`{path}` holds losses of different types, of the recipes {recipes}"
        raise fault("L501", headline, "a law is about one: `--recipe NAME`")
    return _table(path, chosen, losses, accuracies)


def _only(names: Sequence[str], rows: Sequence[Row], path: str) -> str:
    attacked = {row.evaluation for row in rows if not is_clean(row.observation.metric)}
    attacking = [name for name in names if name in attacked]
    if len(attacking) == 1 or len(names) == 1:
        return attacking[0] if attacking else names[0]
    listed, example = ", ".join(f"`{name}`" for name in names), hardest_evaluation(rows)
    raise fault(
        "L112", f"the networks of `{path}` are tested by {listed}", f"say by which: `--evaluate '{example}'`"
    )


def _table(path: str, evaluation: str, losses: dict[str, Row], accuracies: dict[str, Row]) -> RunTable:
    networks = list(dict.fromkeys((*losses, *accuracies)))
    about = [losses.get(name) or accuracies[name] for name in networks]

    def column(values: Iterable[float | int | None]) -> np.ndarray:
        return np.array([np.nan if value is None else float(value) for value in values])

    images = column(row.images for row in about)
    texts = {
        "model": _labels(row.model for row in about),
        "generator": _labels(row.generator or "" for row in about),
    }
    return RunTable(
        source=path,
        word="row",
        params=column(row.params for row in about),
        images=images,
        planned=images,
        fid=column(row.observation.fid for row in about),
        flops=column(row.observation.flops for row in about),
        fraction=np.ones(len(about)),
        loss=column(losses[name].value if name in losses else None for name in networks),
        accuracy=column(accuracies[name].value if name in accuracies else None for name in networks),
        run=np.arange(len(about)),
        run_names=tuple(networks),
        line=np.arange(1, len(about) + 1),
        texts=texts,
        layout=None,
        notes=(f"{len(about)} networks of the store, tested by `{evaluation}`",),
    )


def _labels(values: Iterable[str]) -> Labels:
    listed = list(values)
    names = tuple(dict.fromkeys(listed))
    return Labels(np.array([names.index(value) for value in listed], dtype=np.int64), names)
