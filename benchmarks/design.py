"""Does the design answer as well as the whole grid for a tenth of its FLOPs? And how long does it take?

    nice python benchmarks/design.py --seeds 400 --misspecified 150 --results FILE --write docs/design.md

Per seed and universe: constants of the law drawn anew, noise and misfit drawn too; none of it known to the
planner. Designs buy cells of the paper's 232 at 10, 5 and 2 % of the grid's FLOPs: `choose = design` slice by
slice as the compiler does, at random, cheapest-first. Each is fitted by the same portfolio of laws 2 and 3 on
the same drawn results, and asked for L*(1e25 FLOP, FID 0) and N*(1e21 FLOP, FID 1.65). Errors are paired with
the whole grid's on the same draw; intervals of the ratios are bootstrapped over seeds. A tenth comes first for all
seeds, then the smaller budgets. A stopped run goes on from what `--results` holds, as long as the code that made
it is the same; `--minutes 0` writes the page of what is there."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from paper_grid import (
    ALLOCATE,
    FID,
    FORECAST,
    METRIC,
    MISFIT,
    RESIDUAL,
    ROOT,
    World,
    cheapest,
    columns,
    designed,
    draw,
    paper,
    prefix,
    shuffled,
    with_seeds,
)
from universes import UNIVERSES

from isoloss.compiler.design.planner import plan, situation
from isoloss.compiler.fit import fit_law
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.options import FitOptions
from isoloss.compiler.laws.points import Points
from isoloss.compiler.portfolio import Portfolio
from isoloss.compiler.runs import Knowledge, Run

SHARES = (0.1, 0.05, 0.02)
CHOICES = ("design", "random", "cheapest")
GRID = "grid 1"
#: The first seed of the page: those below were looked at while the planner was written.
FIRST = 1000
RESAMPLES = 40
#: RMSE over the whole grid's at a tenth of its FLOPs: what is wanted.
GOAL = 1.15

#: Of log loss, then of ln N*: error, whether the 95 % interval holds the truth, its width. nan: no true N*.
Result: TypeAlias = tuple[float, float, float, float, float, float]
#: Of one draw, by "choice share"; None: no law could answer. A share that was not drawn is absent.
Row: TypeAlias = dict[str, Result | None]


# The answers.


def answer(world: World, rows: Sequence[int], seed: int, resamples: int = RESAMPLES) -> Result | None:
    """Errors, coverage and widths of the portfolio's answers; None where it has none."""
    N, D, F = (c[list(rows)] for c in columns(paper()[1]))
    points = Points.build(N, D, np.exp(world.log_loss[list(rows)]), fid=F)
    options = FitOptions(resamples=resamples, max_starts=6, seed=seed)
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
        found[GRID] = answer(world, range(len(paper()[1])), seed)
    for choice in CHOICES:
        order = shuffled(seed) if choice == "random" else cheapest()
        rows = designed(world, share) if choice == "design" else prefix(order, share)
        found[f"{choice} {share:g}"] = answer(world, rows, seed)
    return task, found


# The tables.

QUESTIONS = (("log L*(1e25 FLOP, FID 0)", 0), ("ln N*(1e21 FLOP, FID 1.65)", 3))
Ratio: TypeAlias = tuple[float, float, float]


def ratio(rows: Sequence[Row], key: str, other: str, at: int) -> Ratio:
    """RMSE of one choice over another's on the seeds where both have an answer, and its 95 % bootstrap
    interval."""
    pairs = [(a[at] ** 2, b[at] ** 2) for r in rows if (a := r.get(key)) and (b := r.get(other))]
    both = np.array([p for p in pairs if np.isfinite(p).all()])
    if len(both) < 2:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    picks = rng.integers(len(both), size=(4000, len(both)))
    sums = both[picks].sum(axis=1)
    low, high = np.quantile(np.sqrt(sums[:, 0] / sums[:, 1]), [0.025, 0.975])
    total = both.sum(axis=0)
    return float(np.sqrt(total[0] / total[1])), float(low), float(high)


def column(rows: Sequence[Row], key: str, at: int) -> Floats:
    """Of the seeds that have an answer and a truth."""
    values = np.array([v[at : at + 3] for r in rows if (v := r.get(key))]).reshape(-1, 3)
    return values[np.isfinite(values[:, 0])]


def tables(found: dict[int, list[Row]]) -> Iterator[str]:
    for universe, rows in found.items():
        if not rows:
            continue
        about = UNIVERSES[universe]
        yield f"### {about.name}, {len(rows)} seeds" + (f" ({about.note})" if about.note else "")
        for name, at in QUESTIONS:
            yield from ("", *_table(rows, name, at))
        yield ""


def _table(rows: Sequence[Row], name: str, at: int) -> Iterator[str]:
    grid = column(rows, GRID, at)
    if not len(grid):
        yield f"**{name}**: the truth has none."
        return
    few = "" if len(grid) == len(rows) else f" Of {len(grid)} seeds: the others have no true N*."
    yield (
        f"**{name}**. Whole grid: RMSE {np.sqrt(np.mean(grid[:, 0] ** 2)):.3f}, 95 % intervals cover "
        f"{grid[:, 1].mean():.1%}, median width {np.median(grid[:, 2]):.3g}.{few}"
    )
    yield ""
    yield (
        "| FLOPs / grid's | choice | RMSE / grid's | design's RMSE / this | covers | median width | seeds | no answer |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for share in SHARES:
        for choice in CHOICES:
            key = f"{choice} {share:g}"
            mine = column(rows, key, at)
            drawn = [r[key] for r in rows if key in r]
            if not drawn:
                continue
            beaten = "" if choice == "design" else _text(ratio(rows, f"design {share:g}", key, at))
            shown = f"{mine[:, 1].mean():.1%} | {np.median(mine[:, 2]):.3g}" if len(mine) else "– | –"
            yield (
                f"| {share:.0%} | {choice} | {_text(ratio(rows, key, GRID, at))} | {beaten} | {shown} | "
                f"{len(drawn)} | {drawn.count(None)} |"
            )


def _text(value: Ratio) -> str:
    return f"{value[0]:.2f} ({value[1]:.2f} to {value[2]:.2f})"


def verdicts(found: dict[int, list[Row]]) -> Iterator[str]:
    """The goal, question by question, at a tenth of the grid."""
    for universe in (0, 1):
        for name, at in QUESTIONS:
            rows = found.get(universe, [])
            if not rows:
                continue
            mid, low, high = ratio(rows, "design 0.1", GRID, at)
            met = "met" if high <= GOAL else "met, not beyond doubt" if mid <= GOAL else "NOT met"
            beats = []
            for other in ("random", "cheapest"):
                against = ratio(rows, "design 0.1", f"{other} 0.1", at)
                word = "below" if against[2] < 1 else "not clearly below" if against[1] < 1 else "ABOVE"
                beats.append(f"{word} {other}'s ({_text(against)})")
            yield (
                f"- {UNIVERSES[universe].name}, {name}: {mid:.2f} of the whole grid's RMSE "
                f"({low:.2f} to {high:.2f}), at most {GOAL:g} wanted: {met}; {', '.join(beats)}."
            )


# Speed.


def speed() -> str:
    """CPU seconds of one design step (all of it: belief, slice, what is foreseen, bound, words)."""
    from isoloss.compiler.design.told import choice_of

    lines = ["| candidates | CPU seconds | runs in the slice |", "|---|---|---|"]
    for study, cells, candidates in (paper(), with_seeds(paper()[0], 44)):
        runs = [Run(cell, str(i), (), METRIC) for i, cell in enumerate(cells)]
        available = 0.1 * sum(c.flops for c in candidates)
        begun = time.process_time()
        made = situation(study, cells, candidates, runs, Knowledge(()), available, 10_000)
        assert made is not None
        design = plan(made)
        choice_of(design, study, candidates)
        lines.append(f"| {len(cells):,} | {time.process_time() - begun:.1f} | {len(design.slice.order)} |")
    return "\n".join(lines)


PAGE = """# The budget-optimal design, measured

Written by `{command}`; nothing here is typed by hand.

`choose = design` keeps every finished run, plans the rest of the budget anew after each slice (a pilot of a
tenth from a stated prior, then to two fifths, then all), and buys what leaves the answers least variance.
Simulated on the paper's 232 cells. Per seed the constants of the law are drawn anew, and the residuals: together
{low:.2%} to {high:.2%} of log loss, as of the published fits, {least:.0%} to {most:.0%} of their variance a smooth
misfit that replicates can't average away. None of it is known to the planner. The answer is that of the portfolio
`any(approach2, approach3)` in every row, so that the law's form is unknown too; intervals are from {resamples}
resamples. Ratios below 1 mean better than the whole grid on the same draws; in brackets 95 % Monte-Carlo
intervals, paired by seed. Seeds begin at {first}: the planner was written looking at lower ones.

At a tenth of the grid's FLOPs:

{verdicts}

## A law of the portfolio is true

{true}
## No law of the portfolio is true

{false}
## Speed of one design step

{speed}
"""


# Draws, kept.


def made_by() -> str:
    """What the results hang on: the code of the answers, of the design and of this benchmark."""
    files = [Path(__file__), *(Path(__file__).parent / f for f in ("paper_grid.py", "universes.py"))]
    for folder in ("design", "laws"):
        files += sorted((ROOT / "compiler" / folder).glob("*.py"))
    files += [ROOT / "compiler" / f for f in ("fit.py", "portfolio.py")]
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


def measure(arguments: argparse.Namespace) -> dict[int, list[Row]]:
    """Shares in the outer loop, then true laws before false ones, then seeds: stopped early, a tenth of the grid
    has had most, and every choice of a share as many."""
    counts = {u: arguments.seeds if u < 2 else arguments.misspecified for u in range(len(UNIVERSES))}
    wanted = [
        (u, FIRST + s, share)
        for shares in (SHARES[:1], SHARES[1:])
        for true in (True, False)
        for s in range(max(counts.values()))
        for u, n in counts.items()
        if (u < 2) == true and s < n
        for share in shares
    ]
    found = kept(arguments.results)
    _draw([task for task in wanted if task not in found], found, arguments)
    rows: dict[int, dict[int, Row]] = {u: {} for u in counts}
    for task in wanted:
        if task in found:
            rows[task[0]].setdefault(task[1], {}).update(found[task])
    return {u: list(by_seed.values()) for u, by_seed in rows.items()}


def _draw(tasks: Sequence[Task], found: dict[Task, Row], arguments: argparse.Namespace) -> None:
    if arguments.minutes <= 0 or not tasks:
        return
    begun, by = time.monotonic(), made_by()
    with ExitStack() as stack:
        if arguments.processes > 1:
            pool = stack.enter_context(get_context("spawn").Pool(arguments.processes))
            results: Iterable[tuple[Task, Row]] = pool.imap(one, tasks)
        else:
            results = map(one, tasks)
        for done, (task, row) in enumerate(results, 1):
            found[task] = row
            if arguments.results:
                with arguments.results.open("a") as out:
                    out.write(json.dumps([by, task, row]) + "\n")
            if done % 50 == 0:
                print(f"{done} of {len(tasks)}", file=sys.stderr, flush=True)
            if time.monotonic() - begun > 60 * arguments.minutes:
                return


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=400, help="draws of each true law")
    parser.add_argument("--misspecified", type=int, default=150, help="draws of each universe without one")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop asking for more seeds after so long")
    parser.add_argument("--results", type=Path, help="keep every draw here, and go on from what is there")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only-speed", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.only_speed:
        print(speed())
        return 0
    found = measure(arguments)
    counted = {u: len(rows) for u, rows in found.items()}
    command = f"python benchmarks/design.py --seeds {counted[0]} --misspecified {counted[len(counted) - 1]}"
    page = PAGE.format(
        command=command, low=RESIDUAL[0], high=RESIDUAL[1], least=MISFIT[0], most=MISFIT[1], first=FIRST,
        resamples=RESAMPLES, verdicts="\n".join(verdicts(found)), speed=speed(),
        true="\n".join(tables({u: found[u] for u in (0, 1)})),
        false="\n".join(tables({u: rows for u, rows in found.items() if u > 1})),
    )  # fmt: skip
    print(page)
    if arguments.write:
        arguments.write.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
