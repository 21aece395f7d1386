"""How fast is planning: N cells expanded, priced, chosen, ordered, with ids and JSON, beside the peers.

    python benchmarks/plan.py [N ...] [--repeats 3] [--peers PYTHON]

Every size runs in a process of its own, the repeats of all sizes in turn; the least counts. CPU seconds beyond
start-up (imports and a first small plan), peak memory of the whole process. N cells are N trainings and N evaluations,
with the shards and FIDs of five generators:

  seeds     five seeds of every setting of model, generator and images
  distinct  no two cells alike but in what they share by nature
  budget    as `seeds`, under a budget of half of their FLOPs, cheapest first: the rest is dropped

Goals: 10,000 cells in 1 s, 100,000 in 10 s and 1 GB, linear in cells. The collector looks as seldom as under the
command line.

Peers: Snakemake's dry run of the same jobs (files that do not exist, nothing is executed) and Hydra's multirun of an
empty task, from `pip install 'snakemake>=9' 'hydra-core>=1.3'` in the environment of this interpreter or of PYTHON;
what is not installed is skipped and said so. Neither prices nor chooses; Hydra also runs its empty tasks, Snakemake
looks for every file."""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from isoloss.cli import COLLECT_EVERY
from isoloss.compiler.cells.expand import expand
from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plans.plan_json import plan_to_json
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Axis, Call, Study

ROOT = Path(__file__).resolve().parents[1]
GENERATORS = 5
SHAPES = {"seeds": 5, "distinct": 1, "budget": 5}
GOALS = {10_000: (1.0, None), 100_000: (10.0, 1000.0)}
#: Jobs of Hydra's multirun: its time is linear in them, a tenth of a second each.
HYDRA_JOBS = 100


def measure(cells: int, shape: str) -> dict[str, float]:
    """CPU seconds of the parts and MB of this process."""
    gc.set_threshold(COLLECT_EVERY)
    profile = BUILT_IN["cpu"]
    first, _ = compile_study(study_of(50, "seeds"), (), profile)
    assert first is not None
    plan_to_json(first)
    study = study_of(cells, shape)
    begin = time.process_time()
    expanded, _ = expand(study)
    after_expand = time.process_time()
    del expanded
    before_plan = time.process_time()
    plan, problems = compile_study(study, (), profile)
    after_plan = time.process_time()
    assert plan is not None, problems
    text = plan_to_json(plan)
    end = time.process_time()
    trained = sum(job.kind == "train" for job in plan.jobs)
    assert trained + len(plan.dropped) == cells
    return {
        "jobs": len(plan.jobs),
        "dropped": len(plan.dropped),
        "expand": after_expand - begin,
        "plan": after_plan - before_plan,
        "json": end - after_plan,
        "text_mb": len(text) / 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def study_of(cells: int, shape: str) -> Study:
    """The quickstart's study with a grid of exactly so many cells, and no questions."""
    study, problems = load_study(ROOT / "examples" / "quickstart.study")
    assert study is not None, problems
    seeds = SHAPES[shape]
    settings, rest = divmod(cells, GENERATORS * seeds)
    if rest:
        raise SystemExit(f"{cells} is not a multiple of {GENERATORS * seeds}")
    models = max(d for d in range(1, int(settings**0.5) + 1) if settings % d == 0)
    first = study.generators[0]
    # Generators of one sampler would be one generator.
    arguments = [
        tuple((n, 4 + k if n == "steps" else v) for n, v in first.sampler.arguments)
        for k in range(GENERATORS)
    ]
    generators = tuple(
        replace(first, name=f"mix{k}", images=None, sampler=replace(first.sampler, arguments=mine))
        for k, mine in enumerate(arguments)
    )
    axes = (
        Axis(("model",), tuple((Call("cnn", (("width", w + 1),)),) for w in range(models))),
        Axis(("generator",), tuple((g.name,) for g in generators)),
        Axis(("images",), tuple((1_000 * (k + 1),) for k in range(settings // models))),
        Axis(("recipe",), ((study.recipes[0].name,),)),
        Axis(("seed",), tuple((seed,) for seed in range(seeds))),
    )
    made = replace(
        study,
        generators=generators,
        grids=(replace(study.grids[0], axes=axes, where=()),),
        budget=replace(study.budget, compute_flops=None),
        fits=(),
        forecasts=(),
        allocations=(),
    )
    if shape != "budget":
        return made
    whole, _ = compile_study(made, (), BUILT_IN["cpu"])
    assert whole is not None
    half = bill_flops(whole.totals["all"]) / 2
    return replace(made, budget=replace(made.budget, compute_flops=half, choose="cheapest"))


# Peers.

SNAKEFILE = """
rule fit:
    input: expand("{i}.evaluation", i=range(CELLS))
    output: "fit"
    shell: "true"
rule evaluate:
    input: "{i}.weights"
    output: "{i}.evaluation"
    shell: "true"
rule train:
    output: "{i}.weights"
    shell: "true"
"""
HYDRA_APP = """
import hydra
@hydra.main(version_base=None, config_path=None)
def train(configuration): pass
train()
"""


def snakemake(python: str, cells: int) -> tuple[int, float]:
    """(jobs, CPU seconds) of a dry run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Snakefile").write_text(SNAKEFILE.replace("CELLS", str(cells)))
        return 2 * cells + 1, cpu_seconds([python, "-m", "snakemake", "-n", "-q", "--cores", "1"], folder)


def hydra(python: str, cells: int) -> tuple[int, float]:
    """(jobs, CPU seconds) of a multirun of empty tasks."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(HYDRA_APP)
        return cells, cpu_seconds([python, "app.py", "-m", f"+cell=range({cells})"], folder)


def cpu_seconds(command: Sequence[str], folder: str | Path) -> float:
    """User and system seconds of a command. Raises SystemExit with what it said where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show_peers(python: str, cells: int, ours: float) -> None:
    """`ours`: CPU seconds of our whole process, start-up and its first small plan included, as in theirs."""
    rows = (
        ("snakemake", "snakemake", snakemake, cells),
        ("hydra -m", "hydra", hydra, min(cells, HYDRA_JOBS)),
    )
    print(
        f"\npeers, whole processes; ours for {cells:,} cells: {ours:.2f} s CPU, {ours / cells * 1e6:.0f} us a cell"
    )
    for name, module, run, number in rows:
        found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
        if found.returncode:
            print(f"  {name:<10} not installed for {python}: skipped")
            continue
        jobs, seconds = run(python, number)
        ratio = seconds / number / (ours / cells)
        print(
            f"  {name:<10} {number:>7,} cells, {jobs:>7,} jobs: {seconds:.2f} s CPU, "
            f"{seconds / number * 1e6:,.0f} us a cell: {ratio:,.0f} times ours"
        )


# The tables.


@dataclass(frozen=True)
class Measured:
    """What one process said of itself, and its CPU seconds from start to end."""

    parts: dict[str, float]
    whole: float

    @property
    def together(self) -> float:
        return self.parts["plan"] + self.parts["json"]


def process(cells: int, shape: str) -> Measured:
    """One size and shape in a fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--one", shape, str(cells)]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(json.loads(ran.stdout), whole)


def show(cells: int, shape: str, best: Measured) -> None:
    """One line of the table."""
    found, together = best.parts, best.together
    seconds, mb = GOALS.get(cells, (None, None))
    goal = "" if seconds is None else f"; goal {seconds:g} s" + ("" if mb is None else f", {mb:,.0f} MB")
    print(
        f"{shape:<9}{cells:>8,} cells {int(found['jobs']):>8,} jobs {int(found['dropped']):>7,} dropped: "
        f"plan {found['plan']:.3f} s (expand alone {found['expand']:.3f}), JSON {found['json']:.3f} s "
        f"({found['text_mb']:.0f} MB); together {together:.3f} s = {together / cells * 1e6:.1f} us a cell; "
        f"peak {found['peak_mb']:.0f} MB{goal}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", nargs="*", type=int, metavar="N", help="multiples of 25 (1000 10000 100000)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peers", default=sys.executable, metavar="PYTHON", help="the interpreter that has them"
    )
    parser.add_argument("--one", choices=SHAPES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.cells[0], options.one)))
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, best of {options.repeats}")
    sizes = options.cells or [1_000, 10_000, 100_000]
    keys = [(cells, shape) for shape in SHAPES for cells in sizes]
    rounds = [{key: process(*key) for key in keys} for _ in range(options.repeats)]
    for key in keys:
        show(*key, min((one[key] for one in rounds), key=lambda found: found.together))
    cells = min(sizes, key=lambda size: abs(size - 10_000))
    show_peers(options.peers, cells, min(one[cells, "seeds"].whole for one in rounds))
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
