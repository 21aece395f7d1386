"""How near its lower bounds is a schedule: the paper's 232 cells on 8, 64 and 256 devices.

    python benchmarks/schedule.py

Makespan of our schedule beside one device per job (longest first), the bounds and the gap. Seconds come from the
assumed profile of the device in examples/robustness_limits.study; jobs on several devices lose 5 % per e-fold."""

from __future__ import annotations

import time
from dataclasses import replace

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.cost.schedule import schedule
from isoloss.dsl.load import load_study


def main() -> None:
    study, problems = load_study("examples/robustness_limits.study")
    assert study is not None, problems
    budget = replace(study.budget, compute_flops=None, choose="all")
    study = replace(study, budget=budget, fits=(), forecasts=(), allocations=())
    plan, found = compile_study(study, (), BUILT_IN[budget.devices.kind])
    assert plan is not None, found
    cells = sum(job.kind == "train" for job in plan.jobs)
    print(f"{cells} cells, {len(plan.jobs)} jobs")
    for devices in (8, 64, 256):
        began = time.process_time()
        found_one = schedule(plan.jobs, devices, widest=1)
        ours = schedule(plan.jobs, devices, walltime_seconds=budget.walltime_seconds, restart_seconds=25.0)
        spent = time.process_time() - began
        print(
            f"{devices:>4} devices: makespan {ours.makespan / 3600:8.1f} h, bound {ours.bound / 3600:8.1f} h, "
            f"gap {ours.gap:.3f}, widest job {ours.widest}; one device per job "
            f"{found_one.makespan / 3600:8.1f} h; {spent:.2f} s CPU"
        )


if __name__ == "__main__":
    main()
