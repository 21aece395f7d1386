"""What an `isoloss run` is to the store and the executor, small enough to be killed by the dozen.

python -m tests.faults.driver STORE JOBS STEPS: runs JOBS fake trainings of STEPS steps and one job that needs
them all; exit status as `isoloss run`."""

from __future__ import annotations

import sys

from isoloss.compiler.plan import Job
from isoloss.runtime.executors.base import Resources
from isoloss.runtime.executors.local.executor import LocalExecutor
from isoloss.runtime.store.recovery import recover
from isoloss.runtime.store.store import Store
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job


def jobs(count: int, steps: int) -> list[Job]:
    trainings = [generate_job(n, behaviour=f"steps:{steps}") for n in range(count)]
    return [*trainings, follow_job(*trainings)]


def main(store_path: str, count: int, steps: int) -> int:
    store = Store(store_path)
    recover(store)
    preload = ("tests.runtime.fakes",)
    executor = LocalExecutor(Resources("cpu", 2), FUNCTIONS, preload=preload, grace_seconds=5)
    try:
        outcome = executor.run(jobs(count, steps), store, "study", lambda event: None)
    finally:
        executor.close()
    if outcome.interrupted:
        return 130
    return 3 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
