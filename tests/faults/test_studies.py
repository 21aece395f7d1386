"""Kill -9 at random instants of a real study (generate, FID, TRADES with an average, evaluations): weights, metrics,
curves and ledgers end with the bits of an undisturbed run.

ISOLOSS_KILLS sets the number of kills of all tests together (20; `make test-faults` takes 100, benchmarks/faults.py
1,000)."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from isoloss.runtime.store.store import Store
from tests.faults.disturbed import PAIR, Run, disturb, kill_a_rank, kill_a_worker, kill_the_tree

KILLS = int(os.environ.get("ISOLOSS_KILLS", "20"))
# A kill costs seconds; where the machine is busy with other things, many.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 60 * KILLS)]


def test_workers_are_killed(tmp_path: Path, undisturbed: Path) -> None:
    assert list(disturb(tmp_path, undisturbed, kill_a_worker, KILLS * 6 // 10, random.Random(1)))


def test_the_whole_tree_is_killed(tmp_path: Path, undisturbed: Path) -> None:
    assert list(disturb(tmp_path, undisturbed, kill_the_tree, KILLS * 2 // 10, random.Random(2), pause=0.3))


def test_a_rank_of_two_is_killed(tmp_path: Path) -> None:
    quiet = Run(tmp_path / "quiet", PAIR)
    assert quiet.wait() == 0, quiet.said
    rounds = disturb(tmp_path, quiet.store, kill_a_rank, KILLS * 2 // 10, random.Random(3), PAIR)
    stores = [Store(path, create=False) for path in rounds]
    results = [result for store in stores for result in store.results() if result.kind == "train"]
    assert {result.run.world_size for result in results} == {2}
    assert any(result.run.attempts > 1 for result in results)
