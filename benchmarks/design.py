"""Does the design answer as well as the whole grid for a tenth of its FLOPs? And how long does it take?

    nice -n 10 python benchmarks/design.py [--seeds 400] [--minutes 30] [--results FILE] [--write docs/design.md]

Per seed and truth: constants of law 2 or law 3 drawn anew, noise and misfit drawn too; none of it known to the
planner. Designs buy cells of the paper's 232 at 10, 5 and 2 % of the grid's FLOPs: `choose = design` slice by
slice as the compiler does, at random, cheapest-first. Each is fitted by the same portfolio of laws 2 and 3 on
the same drawn results, and asked for L*(1e25 FLOP, FID 0) and N*(1e21 FLOP, FID 1.65). Errors are paired with
the whole grid's on the same draw; intervals of the ratios are bootstrapped over seeds."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from universes import UNIVERSES, Truth

from isoloss.compiler.cells import Cell, expand
from isoloss.compiler.design.choice import Candidate
from isoloss.compiler.design.planner import next_slice, plan, situation
from isoloss.compiler.fit import fit_law
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.options import FitOptions
from isoloss.compiler.laws.points import Points
from isoloss.compiler.plan import Observation
from isoloss.compiler.portfolio import Portfolio
from isoloss.compiler.runs import Knowledge, Run
from isoloss.dsl.load import load_study
from isoloss.dsl.study import Axis, RunSet, Study

ROOT = Path(__file__).resolve().parents[1]
SHARES = (0.1, 0.05, 0.02)
CHOICES = ("design", "random", "cheapest")
TRUTHS = ("law 2 true", "law 3 true")
FORECAST, ALLOCATE, FID = 1e25, 1e21, 1.65
#: Seed noise and misfit of log loss, drawn per seed: planning.md F6 has .35 to .55 % for both together.
NOISE = (0.002, 0.006)
METRIC = "trades(5) @ pgd"
RESAMPLES = 40

#: (covered, width) of an interval; error of an answer: signed, of log loss and of ln N*.
Result: TypeAlias = tuple[float, float, float, float, float, float]


@cache
def paper() -> tuple[Study, tuple[Cell, ...], tuple[Candidate, ...]]:
    """The paper's grid; both laws fitted to all of it; costs: training FLOPs."""
    study, problems = load_study(ROOT / "examples" / "robustness_limits.study")
    assert study is not None, problems
    grid = study.grids[0].name
    fits = tuple(
        replace(f, to=RunSet(grid), base=None, quality=None) for f in study.fits if f.law != "approach1"
    )
    study = replace(
        study,
        fits=fits,
        forecasts=tuple(replace(f, compute_flops=FORECAST, fid=0.0, within=None) for f in study.forecasts),
        allocations=tuple(
            replace(a, compute_flops=ALLOCATE, laws=tuple(f.name for f in fits)) for a in study.allocations
        ),
    )
    cells = tuple(expand(study)[0])
    return study, cells, tuple(Candidate(i, cell.flops) for i, cell in enumerate(cells))


@dataclass(frozen=True)
class World:
    """One draw: what every cell would measure, and the true answers."""

    log_loss: Floats
    best: float
    size: float


def draw(truth: int, seed: int) -> World:
    rng = np.random.default_rng([seed, truth])
    law: Truth = UNIVERSES[truth].draw(rng)
    _, cells, _ = paper()
    N, D, F = columns(cells)
    noise, misfit = rng.uniform(*NOISE, 2)
    at = np.stack([np.log(N) / 1.2, np.log(D) / 1.2, np.log1p(F) / 0.8], axis=1)
    square = np.sum((at[:, None] - at[None, :]) ** 2, axis=2)
    root = np.linalg.cholesky(np.exp(-0.5 * square) + 1e-8 * np.eye(len(at)))
    error = misfit * root @ rng.standard_normal(len(at)) + noise * rng.standard_normal(len(at))
    return World(
        np.log(law(N, D, F)) + error, _frontier(law, FORECAST, 0.0)[1], _frontier(law, ALLOCATE, FID)[0]
    )


def columns(cells: Sequence[Cell]) -> tuple[Floats, Floats, Floats]:
    N = np.array([float(c.params) for c in cells])
    return N, np.array([float(c.drawn) for c in cells]), np.array([float(c.fid or 0.0) for c in cells])


def _frontier(law: Truth, flops: float, fid: float) -> tuple[float, float]:
    """ln N*, ln L* of the truth at 7822 N FLOP per image."""
    lnN = np.linspace(np.log(1e5), np.log(1e14), 400_001)
    N = np.exp(lnN)
    loss = law(N, flops / (7822 * N), np.full_like(N, fid))
    k = int(np.argmin(loss))
    return float(lnN[k]), float(np.log(loss[k]))


# The choices.


def designed(world: World, share: float) -> list[int]:
    """What the compile-run loop buys, slice by slice."""
    study, cells, candidates = paper()
    available = share * sum(c.flops for c in candidates)
    runs = [Run(cell, str(i), (), METRIC) for i, cell in enumerate(cells)]
    owned: list[int] = []
    while True:
        known = Knowledge([_observe(world, cells[i], i) for i in owned])
        made = situation(study, cells, candidates, runs, known, available, None)
        assert made is not None
        new = next_slice(made)[1].order
        if not new:
            return owned
        owned += new


def _observe(world: World, cell: Cell, i: int) -> Observation:
    value = float(np.exp(world.log_loss[i]))
    return Observation(str(i), "train", f"loss {METRIC}", value, run=str(i), images=cell.drawn)


def prefix(order: Sequence[int], share: float) -> list[int]:
    """Cells in this order while they fit; one that doesn't is skipped."""
    _, _, candidates = paper()
    left = share * sum(c.flops for c in candidates)
    taken = []
    for i in order:
        if candidates[i].flops <= left:
            left -= candidates[i].flops
            taken.append(int(i))
    return taken


# The answers.


def answer(world: World, rows: Sequence[int], seed: int) -> Result | None:
    """Errors, coverage and widths of the portfolio's answers; None where it has none."""
    _, cells, _ = paper()
    N, D, F = (c[list(rows)] for c in columns(cells))
    points = Points.build(N, D, np.exp(world.log_loss[list(rows)]), fid=F)
    options = FitOptions(resamples=RESAMPLES, max_starts=6, seed=seed)
    fits = [f for law in ("approach2", "approach3") if (f := fit_law(law, points, options)).usable]
    if not fits:
        return None
    portfolio = Portfolio(fits)
    loss = portfolio.optimum(FORECAST, 0.0).loss
    size = portfolio.optimum(ALLOCATE, FID).params
    if loss is None or size is None:
        return None
    ends = [np.log([r.low, r.mid, r.high]) for r in (loss, size)]
    covered = [float(e[0] <= t <= e[2]) for e, t in zip(ends, (world.best, world.size), strict=True)]
    return (
        float(ends[0][1] - world.best), covered[0], float(ends[0][2] - ends[0][0]),
        float(ends[1][1] - world.size), covered[1], float(ends[1][2] - ends[1][0]),
    )  # fmt: skip


def one(task: tuple[int, int]) -> tuple[int, int, dict[tuple[str, float], Result | None]]:
    """(truth, seed, results by (choice, share))."""
    truth, seed = task
    world = draw(truth, seed)
    _, cells, candidates = paper()
    order = {
        "random": np.random.default_rng([seed, 7]).permutation(len(cells)).tolist(),
        "cheapest": sorted(range(len(cells)), key=lambda i: (candidates[i].flops, i)),
    }
    found: dict[tuple[str, float], Result | None] = {("grid", 1.0): answer(world, range(len(cells)), seed)}
    for share in SHARES:
        for choice in CHOICES:
            rows = designed(world, share) if choice == "design" else prefix(order[choice], share)
            found[choice, share] = answer(world, rows, seed)
    return truth, seed, found


# The table.

QUESTIONS = (("log L*(1e25 FLOP, FID 0)", 0), ("ln N*(1e21 FLOP, FID 1.65)", 3))
Rows: TypeAlias = list[dict[tuple[str, float], Result | None]]


def ratio(rows: Rows, key: tuple[str, float], at: int) -> tuple[float, float, float, int]:
    """RMSE over the grid's on the same seeds, its 95 % bootstrap interval, seeds without an answer."""
    pairs = [(r[key], r["grid", 1.0]) for r in rows]
    both = np.array([(a[at] ** 2, g[at] ** 2) for a, g in pairs if a is not None and g is not None])
    if len(both) < 2:
        return float("nan"), float("nan"), float("nan"), len(rows)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(both), size=(4000, len(both)))
    sums = both[picks].sum(axis=1)
    low, high = np.quantile(np.sqrt(sums[:, 0] / sums[:, 1]), [0.025, 0.975])
    total = both.sum(axis=0)
    return float(np.sqrt(total[0] / total[1])), float(low), float(high), len(rows) - len(both)


def table(found: dict[int, Rows], seconds: float) -> str:
    lines = []
    for truth, rows in found.items():
        lines += [f"### {TRUTHS[truth]}, {len(rows)} seeds", ""]
        for name, at in QUESTIONS:
            grid = np.array([r["grid", 1.0][at : at + 3] for r in rows if r["grid", 1.0] is not None])
            lines += [
                f"**{name}**. Whole grid: RMSE {np.sqrt(np.mean(grid[:, 0] ** 2)):.3f}, 95 % intervals cover "
                f"{grid[:, 1].mean():.0%}, median width {np.median(grid[:, 2]):.3f}.",
                "",
                "| FLOPs / grid's | choice | RMSE / grid's | 95 % Monte-Carlo | covers | median width | no answer |",
                "|---|---|---|---|---|---|---|",
            ]
            for share in SHARES:
                for choice in CHOICES:
                    mid, low, high, none = ratio(rows, (choice, share), at)
                    mine = np.array([v[at : at + 3] for r in rows if (v := r[choice, share]) is not None])
                    shown = f"{mine[:, 1].mean():.0%} | {np.median(mine[:, 2]):.3f}" if len(mine) else "– | –"
                    lines.append(
                        f"| {share:.0%} | {choice} | {mid:.2f} | {low:.2f} to {high:.2f} | {shown} | {none} |"
                    )
            lines.append("")
    lines.append(f"Wall time {seconds / 60:.0f} minutes.")
    return "\n".join(lines)


# Speed.


def speed() -> str:
    """CPU seconds of one design step (all of it: belief, slice, what is foreseen, bound, words)."""
    lines = ["| candidates | CPU seconds | runs in the slice |", "|---|---|---|"]
    for study, cells, candidates in (paper(), _many(paper()[0])):
        from isoloss.compiler.design.told import choice_of

        runs = [Run(cell, str(i), (), METRIC) for i, cell in enumerate(cells)]
        available = 0.1 * sum(c.flops for c in candidates)
        begun = time.process_time()
        made = situation(study, cells, candidates, runs, Knowledge(()), available, 10_000)
        assert made is not None
        design = plan(made)
        choice_of(design, study, candidates)
        lines.append(f"| {len(cells):,} | {time.process_time() - begun:.1f} | {len(design.slice.order)} |")
    return "\n".join(lines)


def _many(study: Study) -> tuple[Study, tuple[Cell, ...], tuple[Candidate, ...]]:
    """The paper's grid with 44 seeds each: 10,208 candidates."""
    grid = study.grids[0]
    seeds = Axis(("seed",), tuple((s,) for s in range(44)))
    axes = tuple(a for a in grid.axes if a.names != ("seed",))
    study = replace(study, grids=(replace(grid, axes=(*axes, seeds)),))
    cells = tuple(expand(study)[0])
    return study, cells, tuple(Candidate(i, cell.flops) for i, cell in enumerate(cells))


PAGE = """# The budget-optimal design, measured

Written by `{command}`.

`choose = design` keeps every finished run, plans the rest of the budget anew after each slice (a pilot of a
tenth from a stated prior, then to two fifths, then all), and buys what leaves the answers least variance.
Simulated on the paper's 232 cells: per seed the law's constants, its noise and its misfit (each {low:.1%} to
{high:.1%} of log loss) are drawn anew and unknown to the planner; the answer is that of the portfolio
`any(approach2, approach3)` in every row, so that the law's form is unknown too.
Ratios below 1 mean better than the whole grid on the same draws. The goal is 400 seeds; where a table has fewer,
its Monte-Carlo intervals say how little a ratio is worth. `--results FILE` goes on from the draws in it.

## Answers

{table}

## Speed of one design step

{speed}
"""


def kept(path: Path | None) -> tuple[dict[int, Rows], set[tuple[int, int]]]:
    """Results of earlier calls by truth, and which (truth, seed) they are of."""
    found: dict[int, Rows] = {0: [], 1: []}
    had: set[tuple[int, int]] = set()
    if path is not None and path.exists():
        for line in path.read_text().splitlines():
            truth, seed, rows = json.loads(line)
            found[truth].append({(choice, share): result and tuple(result) for choice, share, result in rows})
            had.add((truth, seed))
    return found, had


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop asking for more seeds after so long")
    parser.add_argument(
        "--results", type=Path, help="keep every draw here, and go on from those that are there"
    )
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only-speed", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.only_speed:
        print(speed())
        return 0
    begun = time.monotonic()
    found, had = kept(arguments.results)
    tasks = [(t, seed) for seed in range(arguments.seeds) for t in (0, 1) if (t, seed) not in had]
    with get_context("spawn").Pool(arguments.processes) as pool:
        for done, (truth, seed, results) in enumerate(pool.imap(one, tasks)):
            found[truth].append(results)
            if arguments.results:
                rows = [[choice, share, result] for (choice, share), result in results.items()]
                with arguments.results.open("a") as out:
                    out.write(json.dumps([truth, seed, rows]) + "\n")
            if done % 10 == 9:
                print(f"{done + 1} of {len(tasks)}", file=sys.stderr, flush=True)
            if time.monotonic() - begun > 60 * arguments.minutes and truth == 1:
                pool.terminate()
                break
    text = table(found, time.monotonic() - begun)
    print(text)
    if arguments.write:
        command = f"nice -n 10 python benchmarks/design.py --seeds {len(found[1])}"
        low, high = NOISE
        page = PAGE.format(command=command, table=text, speed=speed(), low=low, high=high)
        arguments.write.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
