"""Intervals on runs that others trained: coverage, width and score on dearer runs than the fitted ones, N* against
parabolas; with `--prior` the constants of `compiler/laws/fitting/pooled.py`, and what leaving each family out makes of
them.

    python benchmarks/real_tables.py FOLDER [--prior]

FOLDER holds tables with the columns params, images, loss, flops; the part of a name before `_` is the family. Each
table is cut at a quarter, a 16th and a 64th of its largest compute; runs below (at least 12) are fitted by what
`isoloss fit` does without `--law`, runs above are predicted as new runs. Peer: SciPy's least squares of Chinchilla's
form with a bootstrap of runs and the scatter of its residuals."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from isoloss.compiler.laws.arrays import Inputs
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.fitted import Band
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.fitting.pooled import FREEDOM
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.portfolio import Portfolio, candidates, distinct

Floats = NDArray[np.float64]
Predict = Callable[[Points], Band]
CUTS, FEWEST = (4, 16, 64), 12
PEER = "SciPy: Chinchilla's form, bootstrap of runs, scatter of residuals"


class Cut(NamedTuple):
    table: str
    family: str
    factor: int
    kept: Points
    held: Points


def cuts(folder: Path) -> Iterator[Cut]:
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        c = {
            name: np.array([float(row[name]) for row in rows])
            for name in ("params", "images", "loss", "flops")
        }
        every = Points.build(c["params"], c["images"], c["loss"], flops=c["flops"])
        for factor in CUTS:
            keep = every.flops <= every.flops.max() / factor * (1 + 1e-9)
            if keep.sum() >= FEWEST and not keep.all():
                yield Cut(path.stem, path.stem.split("_")[0], factor, every.select(keep), every.select(~keep))


def portfolio(points: Points) -> Portfolio:
    fits = [fit_law(name, points, FitOptions()) for name in candidates(points)]
    return Portfolio(distinct(fits, points))


def ours(points: Points) -> Predict:
    made = portfolio(points)
    return lambda new: made.predict_many(new.params, new.images, np.zeros(len(new)), new_run=True)


def scipy_bootstrap(points: Points) -> Predict:
    """What one writes in an afternoon: log-space least squares, 200 resamples, residual scatter."""
    lnN, lnD, y = np.log(points.params), np.log(points.images), np.log(points.loss)

    def value(theta: Floats, n: Floats, d: Floats) -> Floats:
        a, alpha, b, beta, e = theta
        return np.logaddexp(np.logaddexp(a - alpha * n, b - beta * d), e)

    def solve(rows: NDArray[np.int64], start: Floats) -> Floats:
        found = optimize.least_squares(
            lambda t: value(t, lnN[rows], lnD[rows]) - y[rows], start, loss="huber", f_scale=1e-3
        )
        return np.asarray(found.x)

    everything = np.arange(len(y))
    starts = [
        np.array([a, alpha, a, alpha, np.log(points.loss.min() * 0.7)])
        for a in (3.0, 6.0)
        for alpha in (0.2, 0.4)
    ]
    best = min(
        (solve(everything, s) for s in starts), key=lambda t: float(((value(t, lnN, lnD) - y) ** 2).sum())
    )
    sigma = float(np.std(value(best, lnN, lnD) - y))
    rng = np.random.default_rng(0)
    draws = [solve(rng.integers(len(y), size=len(y)), best) for _ in range(200)]

    def predict(new: Points) -> Band:
        n, d = np.log(new.params), np.log(new.images)
        made = np.array([value(t, n, d) for t in draws]) + sigma * rng.standard_normal((len(draws), len(n)))
        low, high = np.quantile(made, [0.025, 0.975], axis=0)
        return Band(np.exp(low), np.exp(value(best, n, d)), np.exp(high))

    return predict


def judged(folder: Path, make: Callable[[Points], Predict]) -> str:
    """Markdown: per family and for all, coverage of new runs, median width, RMS error, interval score (log loss)."""
    families: dict[str, list[Floats]] = {}
    for cut in cuts(folder):
        band, y = make(cut.kept)(cut.held), np.log(cut.held.loss)
        low, high = np.log(band.low), np.log(band.high)
        outside = np.maximum(np.maximum(low - y, y - high), 0.0)
        rows = np.array(
            [outside == 0, high - low, np.log(band.mid) - y, high - low + 40 * outside], dtype=float
        )
        families.setdefault(cut.family, []).append(rows)
    found = {name: np.concatenate(parts, axis=1) for name, parts in families.items()}
    text = [
        "| family | held-out runs | covered | median width | RMS error | interval score |",
        "|---|---|---|---|---|---|",
    ]
    lines = []
    for name, (inside, width, error, score) in found.items():
        lines.append((inside.mean(), np.median(width), np.sqrt((error**2).mean()), score.mean()))
        text.append(_line(name, len(inside), *lines[-1]))
    means = np.array(lines)
    total = sum(len(rows[0]) for rows in found.values())
    typical = means[:, 0].mean(), np.median(means[:, 1]), *means[:, 2:].mean(axis=0)
    text.append(_line("mean of families (width: median)", total, *typical))
    many = [inside.mean() for inside, *_ in found.values() if len(inside) >= 20]
    return "\n".join(text) + f"\n\nWorst family with at least 20 held-out runs: {100 * min(many):.0f} %."


def _line(name: str, runs: int, covered: float, width: float, rms: float, score: float) -> str:
    shares = f"{100 * covered:.0f} % | {100 * width:.1f} % | {100 * rms:.1f} %"
    return f"| {name} | {runs:,} | {shares} | {100 * score:.1f} |"


def sizes(folder: Path) -> str:
    """N* at held-out budgets against the minimum of a parabola of log loss in ln N through the budget's runs."""
    factors, inside, errors = [], [], []
    for cut in cuts(folder):
        made = None
        constant = float(np.median(cut.kept.flops / (cut.kept.params * cut.kept.images)))
        for budget, minimum in parabolas(cut.held):
            made = made or portfolio(cut.kept)
            size = made.optimum(budget, 0.0, lambda n, k=constant: np.full_like(n, k) * n).params
            if size is None:
                continue
            factors.append(size.high / size.low)
            inside.append(np.log(size.low) <= minimum <= np.log(size.high))
            errors.append(abs(np.log(size.mid) - minimum))
    return (
        f"N* at {len(factors)} held-out budgets: {100 * np.mean(inside):.0f} % covered, intervals a factor of "
        f"{np.median(factors):.1f} wide in the median, {max(factors):.0f} at most; median error a factor of "
        f"{np.exp(np.median(errors)):.2f}."
    )


def parabolas(held: Points) -> Iterator[tuple[float, float]]:
    """(FLOPs, ln N of the minimum) of groups of at least five runs within 5 % of one budget, whose minimum lies inside
    their sizes."""
    order = np.argsort(held.flops)
    groups: list[list[int]] = []
    for i in order:
        if groups and held.flops[i] < 1.05 * held.flops[groups[-1][0]]:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    for group in (g for g in groups if len(g) >= 5):
        x, y = np.log(held.params[group]), np.log(held.loss[group])
        middle = x[np.argmin(y)]
        near = np.argsort(np.abs(x - middle))[: max(5, 2 * len(x) // 3)]
        bend, tilt, _ = np.polyfit(x[near] - middle, y[near], 2)
        minimum = middle - tilt / (2 * bend) if bend > 0 else np.inf
        if x.min() - 0.3 <= minimum <= x.max() + 0.3:
            yield float(np.median(held.flops[group])), float(minimum)


def prior(folder: Path) -> None:
    """Likelihood of held-out errors of log loss under base and drift, all families and without each."""
    for law in ("powersum", "chinchilla"):
        seen: dict[str, list[tuple[Floats, Floats, Floats]]] = {}
        for cut in cuts(folder):
            fit = fit_law(law, cut.kept, FitOptions(rolling=False))
            x = Inputs.of(cut.held.params, cut.held.images, np.zeros(len(cut.held)))
            error = fit.log_mid(x) - np.log(cut.held.loss)
            known = fit.law.log_prediction(fit.samples, x).std(axis=0) ** 2 + fit.residual_sigma**2
            seen.setdefault(cut.family, []).append((error, known, fit.domain.beyond(x)[0]))
        best = {left: _likeliest(seen, left) for left in (None, *seen)}
        print(f"\n{law}: drift {best[None][1]:.4f}, base {best[None][0]:.4f}; without one family: drift "
              + ", ".join(f"{best[left][1]:.4f} ({left})" for left in seen))  # fmt: skip


def _likeliest(seen: dict[str, list[tuple[Floats, Floats, Floats]]], left: str | None) -> tuple[float, float]:
    grid = [(base, drift) for base in (0.0, 0.002, 0.003, 0.004, 0.006) for drift in np.arange(1, 17) * 5e-4]

    def likelihood(pair: tuple[float, float]) -> float:
        of_families = []
        for family, parts in seen.items():
            if family == left:
                continue
            error, known, far = (np.concatenate([part[i] for part in parts]) for i in range(3))
            scale = np.sqrt(known + pair[0] ** 2 + (pair[1] * far) ** 2)
            of_families.append(float(np.mean(stats.t.logpdf(error / scale, FREEDOM) - np.log(scale))))
        return float(np.mean(of_families))

    base, drift = max(grid, key=likelihood)
    return base, float(drift)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/tables"))
    parser.add_argument("--prior", action="store_true", help="estimate the pooled constants")
    arguments = parser.parse_args()
    if not any(arguments.folder.glob("*.csv")):
        print(f"no tables in {arguments.folder}: nothing to judge by")
        return
    if arguments.prior:
        prior(arguments.folder)
        return
    for label, make in (("isoloss, every law that the table holds", ours), (PEER, scipy_bootstrap)):
        began = time.process_time()
        print(f"{label}\n\n{judged(arguments.folder, make)}\n{time.process_time() - began:.0f} s of CPU\n")
    print(sizes(arguments.folder))


if __name__ == "__main__":
    main()
