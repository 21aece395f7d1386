"""How long the commands take that should answer at once, beside a bare interpreter and what peers import.

    python benchmarks/check.py [--repeats 10]

The least of the repeats, of fresh interpreters: wall seconds, which a busy machine lengthens, and CPU seconds (user +
system), which it lengthens less. Bytecode is warm, as after an installation; `no bytecode` compiles every module of
ours anew, as a first start of a checkout does, or every start where PYTHONDONTWRITEBYTECODE is set. Goals are for the
wall on a quiet machine. Peers are what is installed here anyway: a program on MLflow, torch or Hydra starts no
sooner than these imports are done."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAPER = "examples/robustness_limits.study"
#: name -> arguments of the interpreter, goal in wall seconds.
CASES: dict[str, tuple[list[str], float | None]] = {
    "bare interpreter": (["-c", "pass"], None),
    "isoloss --help": (["-m", "isoloss", "--help"], 0.1),
    "isoloss help WORD": (["-m", "isoloss", "help", "trades"], 0.15),
    "isoloss fmt": (["-m", "isoloss", "fmt", "--check", PAPER], 0.2),
    "isoloss check": (["-m", "isoloss", "check", PAPER], 0.2),
    "isoloss plan": (["-m", "isoloss", "plan", PAPER, "--set", "budget.choose=cheapest"], None),
    "import numpy": (["-c", "import numpy"], None),
    "import pydantic": (["-c", "from pydantic import BaseModel"], None),
    "import mlflow": (["-c", "import mlflow"], None),
    "import torch": (["-c", "import torch"], None),
}


def measure(arguments: list[str], environment: Mapping[str, str], repeats: int) -> tuple[float, float]:
    """Least (wall, CPU) seconds of a fresh interpreter. Raises SystemExit where it fails."""
    walls, cpus = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            environment,
            file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)],
        )
        _, status, usage = os.wait4(child, 0)
        walls.append(time.perf_counter() - began)
        cpus.append(usage.ru_utime + usage.ru_stime)
        if status:
            raise SystemExit(f"{arguments} failed")
    return min(walls), min(cpus)


def installed(arguments: list[str]) -> bool:
    """Whether an import can be done here at all."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    os.chdir(ROOT)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, best of {repeats}")
    print(f"{'':<30}{'wall':>9}{'CPU':>9}")
    with tempfile.TemporaryDirectory() as store:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        warm = {**kept, "PYTHONPYCACHEPREFIX": f"{store}/warm"}
        # Python's own modules keep their bytecode, ours lose it.
        bare = {**kept, "PYTHONPYCACHEPREFIX": f"{store}/bare"}
        measure(CASES["isoloss check"][0], bare, 1)
        shutil.rmtree(f"{store}/bare{ROOT}")
        bare["PYTHONDONTWRITEBYTECODE"] = "1"
        rows = [(name, arguments, goal, warm) for name, (arguments, goal) in CASES.items()]
        rows.insert(5, ("isoloss check, no bytecode", CASES["isoloss check"][0], None, bare))
        for name, arguments, goal, environment in rows:
            peer = name.startswith("import ")
            if peer and not installed(arguments):
                print(f"{name:<30}not installed")
                continue
            measure(arguments, environment, 1)
            wall, cpu = measure(arguments, environment, min(repeats, 3) if peer else repeats)
            print(f"{name:<30}{wall:>7.3f} s{cpu:>7.3f} s" + (f"   goal {goal:g} s" if goal else ""))


if __name__ == "__main__":
    main()
