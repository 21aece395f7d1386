"""The benchmarks of a training's step still run, on few images: loops beside ours have the same losses, whatever time
they take."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SMALL = ["--steps", "2", "--batch", "8", "--depth", "10"]


def said(name: str) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *SMALL]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_plain_loops_have_our_losses() -> None:
    """Its exit status says whether they do (TOLERANCE); each loop is told."""
    rows = re.findall(r"^(ours|published|careful) .*loss \|delta\| mean", said("train_step.py"), re.MULTILINE)
    assert rows == ["ours", "published", "careful"]


@pytest.mark.slow
def test_a_bare_loop_has_our_losses() -> None:
    (apart,) = re.findall(r"loss \|delta\| max ([0-9.e+-]+)$", said("step_overhead.py"), re.MULTILINE)
    assert float(apart) <= 1e-3
