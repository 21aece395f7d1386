"""Do nominal 95 % intervals cover? Five universes, 200 seeds each, 100 times beyond the largest run.

    nice -n 10 python benchmarks/coverage.py [--seeds 200] [--processes 2] [--write docs/coverage.md]

Per seed: draw a truth, run the grid once with noise, fit laws 2 and 3, ask single laws and the portfolio for the
loss of a run of 10 x the largest N and 10 x the largest D at the best FID, and for L*, and compare with the truth."""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from universes import FIDS, IMAGES, PARAMS, UNIVERSES, sample

from isoloss.compiler.fit import fit_law
from isoloss.compiler.laws.fitted import LawFit
from isoloss.compiler.laws.options import FitOptions
from isoloss.compiler.plan import Range
from isoloss.compiler.portfolio import Portfolio

LAWS = ("approach2", "approach3")
#: What is asked: (name, N, D) relative to the largest run.
BEYOND = 10.0
KINDS = ("law 2, resamples only", "law 3, resamples only", "law 2", "law 3", "portfolio")


def bare(fit: LawFit) -> LawFit:
    """What other tools print: the resamples of one law, no misfit term."""
    from dataclasses import replace

    from isoloss.compiler.laws.spread import Misfit

    return replace(fit, misfit=Misfit())


def one(task: tuple[int, int, int]) -> tuple[int, list[tuple[float, float]], bool]:
    """(universe, per kind (covers, width as a share of the truth), warned)."""
    index, seed, resamples = task
    rng = np.random.default_rng([seed, index])
    truth = UNIVERSES[index].draw(rng)
    points = sample(truth, rng)
    options = FitOptions(resamples=resamples, max_starts=12, seed=seed)
    fits = [fit_law(law, points, options) for law in LAWS]
    portfolio = Portfolio(fits)
    N, D, fid = PARAMS[-1] * BEYOND, IMAGES[-1] * BEYOND, FIDS[0]
    target = float(truth(np.array([N]), np.array([D]), np.array([fid]))[0])
    answers: list[Range | None] = [bare(f).predict(N, D, fid) for f in fits]
    answers += [f.predict(N, D, fid) for f in fits]
    answers.append(portfolio.predict(N, D, fid))
    rows = []
    for r in answers:
        assert r is not None
        rows.append((float(r.low <= target <= r.high), (r.high - r.low) / target))
    return index, rows, bool(portfolio.warnings)


def measure(seeds: int, processes: int, resamples: int, universes: list[int]) -> dict[int, np.ndarray]:
    tasks = [(u, s, resamples) for s in range(seeds) for u in universes]
    found: dict[int, list[list[tuple[float, float]]]] = {u: [] for u in universes}
    with get_context("spawn").Pool(processes) as pool:
        for done, (index, rows, _) in enumerate(pool.imap_unordered(one, tasks, chunksize=4)):
            found[index].append(rows)
            if done % 50 == 49:
                print(f"{done + 1} of {len(tasks)}", file=sys.stderr, flush=True)
    return {u: np.array(rows) for u, rows in found.items()}


def table(results: dict[int, np.ndarray]) -> str:
    lines = ["| universe | interval | coverage ± MC error | median width |", "|---|---|---|---|"]
    for u, rows in results.items():
        for k, kind in enumerate(KINDS):
            share = rows[:, k, 0].mean()
            error = np.sqrt(max(share * (1 - share), 0.25 / len(rows)) / len(rows))
            width = np.median(rows[:, k, 1])
            mark = "**" if kind == "portfolio" else ""
            lines.append(f"| {UNIVERSES[u].name} | {kind} | {mark}{share:.1%}{mark} ± {error:.1%} | {width:.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--universes", type=int, nargs="*", default=list(range(len(UNIVERSES))))
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    begin = time.perf_counter()
    results = measure(arguments.seeds, arguments.processes, arguments.resamples, arguments.universes)
    text = table(results)
    print(text)
    print(f"{time.perf_counter() - begin:.0f} s of wall time, {arguments.seeds} seeds", file=sys.stderr)
    if arguments.write:
        arguments.write.write_text(text)


if __name__ == "__main__":
    main()
