"""Do nominal 95 % intervals cover? Five universes, 200 seeds each, 100 times beyond the largest run.

    nice -n 10 python benchmarks/coverage.py [--seeds 200] [--processes 2] [--write docs/coverage.md]

Per seed: draw a truth, run the grid once with noise, fit laws 2 and 3, ask single laws and the portfolio for
the loss of a run of 10 x the largest N and 10 x the largest D at the best FID, and for the N* of 100 x the
largest compute; compare both with the truth."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import real_tables
from universes import FIDS, IMAGES, NOISE, PARAMS, UNIVERSES, Truth, sample

from isoloss.compiler.laws.arrays import FLOPS_PER_IMAGE_AND_PARAMETER as RULE
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.fitting.interval_terms import Misfit
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.portfolio import Portfolio
from isoloss.compiler.plan import Range

LAWS = ("approach2", "approach3")
#: What is asked: (name, N, D) relative to the largest run.
BEYOND = 10.0
KINDS = ("law 2, resamples only", "law 3, resamples only", "law 2", "law 3", "portfolio")


#: Of the loss, then of N*.
QUANTITIES = ("loss", "N*")
#: Where the true N* is sought, as factors of the smallest and the largest N.
FARTHEST = 1e3

#: Per quantity and kind (covers, width: of the loss high minus low as a share of the truth, of N* the factor
#: high / low); nan where the truth has no N*. And whether the portfolio warned.
Row: TypeAlias = tuple[list[tuple[float, float]], bool]


def bare(fit: LawFit) -> LawFit:
    """What other tools print: the resamples of one law, no misfit term."""
    return replace(fit, misfit=Misfit())


def one(task: tuple[int, int, int]) -> tuple[int, list[tuple[float, float]], bool]:
    """(universe, as Row)."""
    index, seed, resamples = task
    rng = np.random.default_rng([seed, index])
    truth = UNIVERSES[index].draw(rng)
    points = sample(truth, rng)
    options = FitOptions(resamples=resamples, max_starts=12, seed=seed)
    fits = [fit_law(law, points, options) for law in LAWS]
    portfolio = Portfolio(fits)
    N, D, fid = PARAMS[-1] * BEYOND, IMAGES[-1] * BEYOND, FIDS[0]
    target = float(truth(np.array([N]), np.array([D]), np.array([fid]))[0])
    everyone = [*(bare(f) for f in fits), *fits, portfolio]
    rows = [_compare(each.predict(N, D, fid), target, share=True) for each in everyone]
    compute = RULE * N * D
    best = true_optimum(truth, compute, fid)
    rows += [_compare(each.optimum(compute, fid).params, best, share=False) for each in everyone]
    return index, rows, bool(portfolio.warnings)


def _compare(answer: Range | None, truth: float, *, share: bool) -> tuple[float, float]:
    """Covers, and how wide. No answer doesn't cover; where there is no truth neither is known."""
    if not np.isfinite(truth):
        return np.nan, np.nan
    if answer is None:
        return 0.0, np.inf
    width = (answer.high - answer.low) / truth if share else answer.high / answer.low
    return float(answer.low <= truth <= answer.high), width


def true_optimum(truth: Truth, compute: float, fid: float) -> float:
    """The N of least true loss at `compute` FLOP; nan where the loss only falls towards an end."""
    low, high = np.log(PARAMS[0] / FARTHEST), np.log(PARAMS[-1] * FARTHEST)
    N = np.exp(np.linspace(low, high, 8001))
    with np.errstate(invalid="ignore"):
        loss = truth(N, compute / (RULE * N), np.full_like(N, fid))
    # The closed form of the Gaussian mixture ends somewhere: beyond, there is no loss to be least.
    k = int(np.argmin(np.where(np.isfinite(loss), loss, np.inf)))
    return float(N[k]) if 0 < k < len(N) - 1 else float("nan")


def measure(arguments: argparse.Namespace) -> dict[int, list[Row]]:
    """Seeds in the outer loop: stopped early, every universe has had as many.
    The page is rewritten as it goes."""
    real = on_real_tables(arguments.tables) if arguments.write else ""
    tasks = [(u, s, arguments.resamples) for s in range(arguments.seeds) for u in arguments.universes]
    found: dict[int, list[Row]] = {u: [] for u in arguments.universes}
    with get_context("spawn").Pool(arguments.processes) as pool:
        for done, (index, rows, warned) in enumerate(pool.imap(one, tasks)):
            found[index].append((rows, warned))
            if done % 50 == 49 or done == len(tasks) - 1:
                print(f"{done + 1} of {len(tasks)}", file=sys.stderr, flush=True)
                if arguments.write and all(found.values()):
                    arguments.write.write_text(page(found, real))
    return found


def table(results: dict[int, list[Row]], quantity: int) -> str:
    """Markdown, one row per universe and kind; `quantity` as in QUANTITIES."""
    lines = ["| universe | seeds | interval | coverage ± MC error | median width |", "|---|---|---|---|---|"]
    for u, found in results.items():
        rows = np.array([r for r, _ in found])
        for k, kind in enumerate(KINDS):
            covers, widths = rows[:, k + quantity * len(KINDS)].T
            covers, widths = covers[np.isfinite(covers)], widths[np.isfinite(covers)]
            if not len(covers):
                lines.append(f"| {UNIVERSES[u].name} | 0 | {kind} | no true {QUANTITIES[quantity]} | |")
                continue
            # Of a share near 1 the binomial formula gives 0: half a miss is what was not seen (Agresti &
            # Coull).
            guess = (covers.sum() + 0.5) / (len(covers) + 1)
            error = np.sqrt(guess * (1 - guess) / len(covers))
            mark = "**" if kind == "portfolio" else ""
            width = np.median(widths)
            cells = (
                UNIVERSES[u].name,
                len(covers),
                kind,
                f"{mark}{covers.mean():.1%}{mark} ± {error:.1%}",
                f"{width:.1%}" if quantity == 0 else f"factor {width:.3g}",
            )
            lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    return "\n".join(lines)


def on_real_tables(folder: Path) -> str:
    """The part of the page that no world of ours decides."""
    if not any(folder.glob("*.csv")):
        return f"The tables were not at hand (`{folder}`) when this page was made.\n"
    return f"""Nine public tables of language models (seven families; Besiroglu et al. 2024, Llama 3, Marin, Gadre et
al. 2024, Li et al. 2025, Bhagia et al. 2024, Porian et al. 2024). Each is cut at a quarter, a 16th and a 64th of its
largest compute; `isoloss fit` without `--law` fits the runs below, and every dearer run is predicted, as a new run. The
constants of how far laws drift come from these tables (`benchmarks/real_tables.py --prior`): without any one family the
drift of the power sum comes to .20 to .45 % of the loss per e-fold, and .4 % is taken. The interval score is width plus
40 times the distance outside, in percent of the loss.

{real_tables.judged(folder, real_tables.ours)}

{real_tables.sizes(folder)}

By {real_tables.PEER}:

{real_tables.judged(folder, real_tables.scipy_bootstrap)}
"""


def page(results: dict[int, list[Row]], real: str) -> str:
    """docs/coverage.md."""
    runs = len(PARAMS) * len(IMAGES) * len(FIDS)
    text = f"""# What the intervals cover

Generated by `python benchmarks/coverage.py --write docs/coverage.md`; nothing here is typed by hand.

## Runs that others trained

{real}
## Worlds of ours

Each seed draws a true law, trains {len(PARAMS)} N x {len(IMAGES)} D x {len(FIDS)} FID = {runs} runs with
{NOISE:.1%} scatter, fits laws 2 and 3 to them, and asks for the loss of a run with {BEYOND:g} times the
largest N and D, 100 times the compute of the largest run. Nominal coverage is 95 %. Width is high minus
low, as a share of the truth. "Resamples only" is what a single law's bootstrap says; the other rows add
the misfit term, and the portfolio the disagreement between laws.

{table(results, 0)}

## N*

The same fits asked for the compute-optimal number of parameters at 100 times the compute of the largest run.
Width is high over low. Seeds whose true loss has no minimum along the isoFLOP line are left out.

{table(results, 1)}

## Universes

"""
    return text + "".join(_verdict(u, found) for u, found in results.items())


def _verdict(u: int, found: list[Row]) -> str:
    last = len(KINDS) - 1
    covered = np.mean([rows[last][0] for rows, _ in found])
    sizes = np.array([rows[-1][0] for rows, _ in found])
    sizes = sizes[np.isfinite(sizes)]
    warned = np.mean([w for _, w in found])
    note = f" ({UNIVERSES[u].note})" if UNIVERSES[u].note else ""
    beaten = [
        what for what, share in (("loss", covered), ("N*", sizes.mean() if len(sizes) else 1)) if share < 0.9
    ]
    verdict = (
        f" **This universe defeats the portfolio's intervals of {' and '.join(beaten)}.**" if beaten else ""
    )
    optimal = f", N* {sizes.mean():.1%}" if len(sizes) else ""
    said = f"loss {covered:.1%} covered{optimal}; {warned:.0%} of the answers carried a warning"
    return f"- {UNIVERSES[u].name}{note}: {said}.{verdict}\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--universes", type=int, nargs="*", default=list(range(len(UNIVERSES))))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--tables", type=Path, default=Path("../shared/tables"))
    arguments = parser.parse_args()
    begin = time.perf_counter()
    found = measure(arguments)
    print("\n\n".join(table(found, quantity) for quantity in range(len(QUANTITIES))))
    print(f"{time.perf_counter() - begin:.0f} s of wall time", file=sys.stderr)


if __name__ == "__main__":
    main()
