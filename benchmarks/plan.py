"""How fast is planning: expand, price, ids, DAG and JSON of N cells, in CPU seconds beyond start-up.

    python benchmarks/plan.py [N ...]

Prints the parts and the peak memory. Peers, cited from their documentation or our own notes, not run here
unless
installed: networkx's topological sort of the same graph is run beside it."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace

from isoloss.compiler.cells import expand
from isoloss.compiler.compile import compile_study
from isoloss.compiler.dag import graph
from isoloss.compiler.devices import BUILT_IN
from isoloss.compiler.plan import plan_to_json
from isoloss.dsl.load import load_study
from isoloss.dsl.study import Axis, Study


def study_of(cells: int) -> Study:
    """The quickstart's study with so many seeds that its grid has `cells` cells."""
    study, problems = load_study("examples/quickstart.study")
    assert study is not None, problems
    grid = study.grids[0]
    rest = 1
    for axis in grid.axes:
        rest *= 1 if axis.names == ("seed",) else len(axis.values)
    seeds = Axis(("seed",), tuple((seed,) for seed in range(cells // rest)))
    axes = tuple(seeds if axis.names == ("seed",) else axis for axis in grid.axes)
    budget = replace(study.budget, compute_flops=None)
    return replace(
        study, grids=(replace(grid, axes=axes),), budget=budget, fits=(), forecasts=(), allocations=()
    )


def measure(cells: int) -> None:
    """One line per part."""
    study = study_of(cells)
    profile = BUILT_IN["cpu"]
    compile_study(study_of(36), (), profile)  # imports and caches are start-up, not planning
    begin = time.process_time()
    expanded, _ = expand(study)
    after_cells = time.process_time()
    plan, _ = compile_study(study, (), profile)
    after_plan = time.process_time()
    assert plan is not None
    text = plan_to_json(plan)
    end = time.process_time()
    import networkx

    drawn = graph(plan.jobs)
    peer = time.process_time()
    list(networkx.topological_sort(drawn))
    peer = time.process_time() - peer
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(expanded):>7} cells, {len(plan.jobs):>7} jobs: expand alone {after_cells - begin:.3f} s, "
        f"whole plan {after_plan - after_cells:.3f} s, JSON {end - after_plan:.3f} s ({len(text) / 1e6:.1f} MB), "
        f"together {end - after_cells:.3f} s CPU; peak {memory:.0f} MB; "
        f"networkx topological sort alone {peer:.3f} s"
    )


if __name__ == "__main__":
    for number in [int(a) for a in sys.argv[1:]] or [1_000, 10_000, 100_000]:
        measure(number)
