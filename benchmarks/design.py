"""Does the design answer as well as the whole grid for a tenth of its FLOPs? And how long does it take?

    nice python benchmarks/design.py --seeds 400 --misspecified 150 --results FILE --write docs/design.md

Per seed and universe: constants of the law drawn anew, noise and misfit drawn too; none of it known to the planner.
At 10, 5 and 2 % of the FLOPs of the paper's 232 cells, `choose = design` buys slice by slice as the compiler does,
from more candidates than the grid (paper_grid.py); others buy at random or cheapest-first, from the same candidates
and from the grid's cells alone. Each is fitted by the same portfolio of laws 2 and 3, with correlated errors, on the
same drawn results, and asked for L*(1e25 FLOP, FID 0) and N*(1e21 FLOP, FID 1.65). Errors are paired with the whole
grid's on the same draw; intervals of the ratios are bootstrapped over seeds. A tenth comes first for all seeds, then
the smaller budgets. A stopped run goes on from what `--results` holds, as long as the code that made it is the same;
`--minutes 0` writes the page of what is there."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from design_bound import table as bound_table
from design_draws import CHOICES, FIRST, GRID, PUBLISHED, RESAMPLES, SHARES, TRUE, Row, measure
from paper_grid import MISFIT, REPLICATES, RESIDUAL, SMALLER, paper, run_of, with_seeds
from universes import UNIVERSES

from isoloss.compiler.design.explain_choice import choice_of
from isoloss.compiler.design.planner import plan, situation
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge

#: RMSE over the whole grid's at a tenth of its FLOPs: what is wanted.
GOAL = 1.15

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
        f"{grid[:, 1].mean():.1%}, median width {np.median(grid[:, 2]):.3g}.{few} Its fit with independent errors, as "
        f"published: {_text(ratio(rows, PUBLISHED, GRID, at))} of that RMSE."
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
    """The page's result as a table: a row per true law and question, at a tenth of the grid."""
    others = CHOICES[1:]
    heads = ("true law", "answer", "design / whole grid", f"at most {GOAL:g} wanted")
    heads += (*(f"design / {other}" for other in others), "design / whole grid, fitted as published")
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for universe in (0, 1):
        for name, at in QUESTIONS:
            rows = found.get(universe, [])
            if not rows:
                continue
            mid, low, high = ratio(rows, "design 0.1", GRID, at)
            met = "met" if high <= GOAL else "met, not beyond doubt" if mid <= GOAL else "NOT met"
            against = [
                _text(ratio(rows, "design 0.1", key, at))
                for key in (*(f"{o} 0.1" for o in others), PUBLISHED)
            ]
            law = UNIVERSES[universe].name.removesuffix(" true")
            yield f"| {law} | {name} | {_text((mid, low, high))} | {met} | {' | '.join(against)} |"


# Speed.


def speed() -> str:
    """CPU seconds of one design step (all of it: posterior, slice, what is foreseen, bound, words)."""
    lines = ["| candidates | CPU seconds | runs in the slice |", "|---|---|---|"]
    for study, cells, candidates in (with_seeds(paper()[0], seeds) for seeds in (1, 44)):
        runs = [run_of(cell, i) for i, cell in enumerate(cells)]
        available = 0.1 * sum(c.flops for c in candidates)
        begun = time.process_time()
        made = situation(study, cells, candidates, runs, Knowledge(()), available, 10_000, Remembered())
        assert made is not None
        design = plan(made)
        choice_of(design, study, candidates)
        lines.append(f"| {len(cells):,} | {time.process_time() - begun:.1f} | {len(design.slice.order)} |")
    return "\n".join(lines)


PAGE = """# The budget-optimal design, measured

The error of `choose = design` at a tenth of the grid's FLOPs, against the whole grid of Bartoldson et al. (2024) and
against other choices of the same cost, where a law of the portfolio is true:

{verdicts}

Each number is a ratio of root mean squared errors on the same draws: below 1 the design answers better. Brackets hold
95 % Monte-Carlo intervals, paired by seed. Where [no law of the portfolio is true](#no-law-of-the-portfolio-is-true),
the design can be several times worse than the whole grid: the tables there say where.

Written by `{command}`; nothing here is typed by hand. `--results FILE` keeps every draw and goes on from there,
`--minutes 0` writes the page of what is there.

## How it was measured

**The design.** `choose = design` spends the budget in slices: a pilot of a tenth from a stated prior, then up to two
fifths, then all. After each slice it keeps the finished runs and plans the rest anew. It buys the runs that leave the
answers least variance, and leaves no question much worse served than another.

**The choices.** The whole grid is the paper's 232 cells, each once; `random of the grid` and `cheapest of the grid` buy
from these. `design`, `random` and `cheapest` choose from {candidates} candidates: the grid's networks and generators,
also at {smaller} images (the grid begins at 5M), with {replicates} seeds of everything. Candidates cost nothing
until they are bought.

**The worlds.** Each seed of this page draws the constants of the true law anew, and the residuals: together
{low:.2%} to {high:.2%} of log loss, as in the published fits. Of their variance, {least:.0%} to
{most:.0%} is a smooth misfit that replicates can't average
away. The law also holds at the smaller numbers of images. The planner knows none of this.
Seeds begin at {first}: the planner was written looking at lower ones.

**The answers.** Every row's answer, the whole grid's too, is the portfolio's, `any(approach2, approach3)`, so that the
law's form is unknown. It is fitted with `errors = correlated` ([laws.md](laws.md)); intervals come from {resamples}
resamples.

## The bound

No choice of these candidates answers better than this, even one that knows the law's form and constants and the size
of its noise and misfit: a relaxation that may buy fractions of candidates, dual bounds, linearised at the truth, best
linear estimates of the grid's answers and of its own ({bound_seeds}, `python benchmarks/design_bound.py`). "The
worse of both": no plan has both ratios below it; where it is above {goal:g}, no choice of candidates reaches the goal
by such estimates. "From the grid alone": the same where only the 232 cells may be bought, each once. The last two
columns judge the choices of `design` by the same measure; they know nothing at first, and pay for a pilot. The
answers measured above are of fits that must estimate how large the misfit is, mixed over two laws.

{bound}

## What a chosen job buys

`isoloss plan --long` says it for every job before anything runs: "number 6 of 30 in the pilot: without it the
interval of `limit` would be 0.65% wider" compares the plan with the same plan short of this one run. What is left
out says what it would narrow, and that it is over budget, or foreseen for a later slice, or that others tell more
for their cost. Each question has its 95 % half-width before and after the plan's runs and with the whole budget, and
the width that no plan of these cells at this budget comes below by seed noise alone (Elfving's theorem with costs;
misfit comes on top: a floor, no promise).
Widths of the design are by one law and its prior, linearised; the answers' intervals, from resamples and with
the laws' disagreement, are wider.

## A law of the portfolio is true

{true}
## No law of the portfolio is true

The laws themselves err here, those that the design plans by among them: it may do no better than chance, and
smaller runs, which tell most where the law holds, mislead most where it doesn't. See the Gaussian mixture: there the
whole grid, and cells of it at random or cheapest-first, answer far better than any choice that goes below it. Offer a
design what you trust the law for.
A tenth was drawn first for all seeds; smaller budgets have the seeds that their rows say. Intervals cover less here
than they promise: see "covers".

{false}
## Speed of one design step

{speed}
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=400, help="draws of each true law")
    parser.add_argument("--misspecified", type=int, default=150, help="draws of each universe without one")
    parser.add_argument("--bound-seeds", type=int, default=8, help="draws of each true law for the bound")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop asking for more seeds after so long")
    parser.add_argument("--results", type=Path, help="keep every draw here, and go on from what is there")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only-speed", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.only_speed:
        print(speed())
        return 0
    counts = {u: arguments.seeds if u < TRUE else arguments.misspecified for u in range(len(UNIVERSES))}
    found = measure(counts, arguments.results, arguments.processes, arguments.minutes)
    true, false = ({u: rows for u, rows in found.items() if (u < TRUE) == which} for which in (True, False))
    command = f"python benchmarks/design.py --seeds {arguments.seeds} --misspecified {arguments.misspecified}"
    drawn = arguments.bound_seeds
    page = PAGE.format(
        command=command, low=RESIDUAL[0], high=RESIDUAL[1], least=MISFIT[0], most=MISFIT[1], first=FIRST,
        replicates=REPLICATES, smaller=" and ".join(f"{n / 1e6:g}M" for n in SMALLER), candidates=len(paper()[1]),
        resamples=RESAMPLES, verdicts="\n".join(verdicts(found)),
        bound=bound_table(drawn, FIRST), bound_seeds=f"{drawn} seed" + "s" * (drawn != 1), goal=GOAL, speed=speed(),
        true="\n".join(tables(true)), false="\n".join(tables(false)),
    )  # fmt: skip
    print(page)
    if arguments.write:
        arguments.write.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
