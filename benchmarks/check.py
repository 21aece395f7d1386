"""How long `isoloss check` takes on the large example, beside a bare interpreter and `import lark`.

    python benchmarks/check.py [--repeats 10]

Prints the best of the repeats: wall seconds, which a busy machine lengthens, and CPU seconds (user + system),
which it hardly does. The goal is a wall time under 0.3 s on a quiet machine; `import lark` alone is the floor
of any program on this parser."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "examples" / "robustness_limits.study"
GOAL_SECONDS = 0.3

CASES: dict[str, list[str]] = {
    "bare interpreter": ["-c", "pass"],
    "import lark": ["-c", "import lark"],
    "import the language": ["-c", "import isoloss.dsl.load"],
    "isoloss check": ["-m", "isoloss", "check", str(STUDY)],
}


def measure(arguments: list[str], repeats: int) -> tuple[float, float]:
    """Least (wall, CPU) seconds of a fresh interpreter. Raises SystemExit where it fails."""
    walls, cpus = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        )
        _, status, usage = os.wait4(child, 0)
        walls.append(time.perf_counter() - began)
        cpus.append(usage.ru_utime + usage.ru_stime)
        if status:
            raise SystemExit(f"{arguments} failed")
    return min(walls), min(cpus)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, best of {repeats}")
    print(f"{'':<22}{'wall':>9}{'CPU':>9}")
    for name, arguments in CASES.items():
        wall, cpu = measure(arguments, repeats)
        print(f"{name:<22}{wall:>7.3f} s{cpu:>7.3f} s")
    print(f"goal: wall under {GOAL_SECONDS} s, of a quiet machine")


if __name__ == "__main__":
    main()
