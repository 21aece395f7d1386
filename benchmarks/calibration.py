"""How well a plan told what its jobs took: planned against measured seconds of a store's results.

    isoloss calibrate --store DIR && isoloss run examples/quickstart.study --store DIR
    python benchmarks/calibration.py DIR

Per kind the median of |planned / measured - 1|, the median ratio and the share inside the interval. On a machine
that others use at the same time this tells of them: say its load beside the figures."""

from __future__ import annotations

import os
import sys
from statistics import median

from isoloss.runtime.store.result import Result
from isoloss.runtime.store.store import Store


def said(name: str, results: list[Result]) -> str:
    pairs = [(r.run.planned_seconds, r.run.seconds) for r in results if r.run.planned_seconds is not None]
    error = median(abs(planned[1] / seconds - 1) for planned, seconds in pairs)
    ratio = median(planned[1] / seconds for planned, seconds in pairs)
    inside = sum(planned[0] <= seconds <= planned[2] for planned, seconds in pairs)
    return (
        f"{name:<10}{len(pairs):>5} jobs, median |planned / measured - 1| {error:.3f}, "
        f"median ratio {ratio:.3f}, {inside / len(pairs):.0%} inside their interval"
    )


def main(folder: str) -> None:
    results = [
        r for r in Store(folder, create=False).results() if r.run.planned_seconds and not r.run.simulated
    ]
    for kind in dict.fromkeys(r.kind for r in results):
        print(said(kind, [r for r in results if r.kind == kind]))
    print(said("all", results))
    print(f"load now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main(sys.argv[1])
