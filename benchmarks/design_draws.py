"""Draws of `benchmarks/design.py`: what every choice of runs answers, on drawn results of the paper's grid.

In: tasks (universe, seed, share of the grid's FLOPs). Out: errors, coverage and widths of the answers by choice,
kept in a file line by line, so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from paper_grid import (
    ALLOCATE,
    ERRORS,
    FID,
    FORECAST,
    ROOT,
    World,
    cheapest,
    columns,
    designed,
    draw,
    grid,
    paper,
    prefix,
    shuffled,
)

from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.portfolio import Portfolio

SHARES = (0.1, 0.05, 0.02)
#: From all candidates, then from the grid's cells alone.
CHOICES = ("design", "random", "cheapest", "random of the grid", "cheapest of the grid")
GRID = "grid 1"
#: The whole grid fitted as published: every error on its own.
PUBLISHED = "grid 1, independent errors"
#: Universes below this have a law of the portfolio as their truth.
TRUE = 2
#: The first seed of the page: those below were looked at while the planner was written.
FIRST = 1000
RESAMPLES = 40

#: Of log loss, then of ln N*: error, whether the 95 % interval holds the truth, its width. nan: no true N*.
Result: TypeAlias = tuple[float, float, float, float, float, float]
#: Of one draw, by "choice share"; None: no law could answer. A share that was not drawn is absent.
Row: TypeAlias = dict[str, Result | None]


# The answers.


def answer(
    world: World, rows: Sequence[int], seed: int, errors: str = ERRORS, resamples: int = RESAMPLES
) -> Result | None:
    """Errors, coverage and widths of the portfolio's answers; None where it has none."""
    N, D, F = (c[list(rows)] for c in columns(paper()[1]))
    points = Points.build(N, D, np.exp(world.log_loss[list(rows)]), fid=F)
    options = FitOptions(resamples=resamples, max_starts=6, seed=seed, errors=errors)
    fits = [f for law in ("approach2", "approach3") if (f := fit_law(law, points, options)).usable]
    if not fits:
        return None
    portfolio = Portfolio(fits)
    loss = portfolio.optimum(FORECAST, 0.0).loss
    size = portfolio.optimum(ALLOCATE, FID).params
    if loss is None or size is None:
        return None
    found: list[float] = []
    for range, truth in ((loss, world.best), (size, world.size)):
        low, mid, high = np.log([range.low, range.mid, range.high])
        found += [float(mid - truth), float(low <= truth <= high), float(high - low)]
    return tuple(found)  # type: ignore[return-value]


#: (universe, seed, share of the grid's FLOPs).
Task: TypeAlias = tuple[int, int, float]


def one(task: Task) -> tuple[Task, Row]:
    """Every choice at one share, and with the first share the whole grid."""
    universe, seed, share = task
    world = draw(universe, seed)
    found: Row = {}
    if share == SHARES[0]:
        found[GRID] = answer(world, grid(), seed)
        found[PUBLISHED] = answer(world, grid(), seed, "independent")
    for choice in CHOICES:
        found[f"{choice} {share:g}"] = answer(world, _chosen(choice, world, seed, share), seed)
    return task, found


def _chosen(choice: str, world: World, seed: int, share: float) -> list[int]:
    """Rows of candidates that one of CHOICES buys."""
    if choice == "design":
        return designed(world, share)
    rows = grid() if choice.endswith("of the grid") else range(len(paper()[1]))
    return prefix(shuffled(rows, seed) if choice.startswith("random") else cheapest(rows), share)


# Draws, kept.


def made_by() -> str:
    """What the results hang on: the code of the answers, of the design and of this benchmark."""
    files = [Path(__file__), *(Path(__file__).parent / f for f in ("paper_grid.py", "universes.py"))]
    for folder in ("design", "laws"):
        files += sorted((ROOT / "compiler" / folder).glob("*.py"))
    files += [ROOT / "compiler" / f for f in ("fit.py", "correlated.py", "portfolio.py")]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


def kept(path: Path | None) -> dict[Task, Row]:
    """Draws of earlier calls. Raises SystemExit where other code made them: two planners are no experiment."""
    found: dict[Task, Row] = {}
    if path is not None and path.exists():
        for line in path.read_text().splitlines():
            by, task, row = json.loads(line)
            if by != made_by():
                raise SystemExit(f"{path} was made by other code ({by}, now {made_by()}): begin another file")
            universe, seed, share = task
            found[universe, seed, share] = {key: result and tuple(result) for key, result in row.items()}
    return found


def measure(
    counts: Mapping[int, int], path: Path | None, processes: int = 1, minutes: float = 1e9
) -> dict[int, list[Row]]:
    """Rows by universe; `counts`: seeds of each. Shares in the outer loop, then true laws before false ones, then
    seeds: stopped early, a tenth of the grid has had most, and every choice of a share as many."""
    wanted = [
        (u, FIRST + s, share)
        for shares in (SHARES[:1], SHARES[1:])
        for true in (True, False)
        for s in range(max(counts.values()))
        for u, n in counts.items()
        if (u < TRUE) == true and s < n
        for share in shares
    ]
    found = kept(path)
    _draw([task for task in wanted if task not in found], found, path, processes, minutes)
    rows: dict[int, dict[int, Row]] = {u: {} for u in counts}
    for task in wanted:
        if task in found:
            rows[task[0]].setdefault(task[1], {}).update(found[task])
    return {u: list(by_seed.values()) for u, by_seed in rows.items()}


def _draw(
    tasks: Sequence[Task], found: dict[Task, Row], path: Path | None, processes: int, minutes: float
) -> None:
    if minutes <= 0 or not tasks:
        return
    begun, by = time.monotonic(), made_by()
    with ExitStack() as stack:
        if processes > 1:
            pool = stack.enter_context(get_context("spawn").Pool(processes))
            results: Iterable[tuple[Task, Row]] = pool.imap(one, tasks)
        else:
            results = map(one, tasks)
        for done, (task, row) in enumerate(results, 1):
            found[task] = row
            if path:
                with path.open("a") as out:
                    out.write(json.dumps([by, task, row]) + "\n")
            if done % 50 == 0:
                print(f"{done} of {len(tasks)}", file=sys.stderr, flush=True)
            if time.monotonic() - begun > 60 * minutes:
                return
