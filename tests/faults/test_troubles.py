"""What befalls a store and a run of real trainings, from the command line: each ends with a code that says what to do,
and the same command goes on once it is done."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from isoloss.runtime.store.store import Store
from tests.faults.disturbed import Run, check_equal, job_events

pytestmark = pytest.mark.slow
#: One training of a second or two.
SMALL = ("--set", "grid.runs.model=[cnn(1)]", "--set", "grid.runs.images=[2k]")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, too small for the study's images, with a folder `store`."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    (place / "store").mkdir()
    yield place
    subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def test_a_full_disk_is_told_and_then_the_same_command_goes_on(disk: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.symlink_to(disk / "store")  # what the runs say goes beside it, where there is room
    run = Run(store, SMALL)
    assert run.wait() == 3, run.said
    assert "error[R103]: `good/0-10k`: no space left while" in run.said
    assert "killed" not in run.said, "a page that the disk has no room for is no reason to die"
    assert "free some space" in run.said
    assert "Traceback" not in run.said
    assert not list(Store(store, create=False).jobs())
    remount(disk, "size=64m")
    again = Run(store, SMALL)
    assert again.wait() == 0, again.said
    # Nothing to do needs no disk to write to; anything else does.
    remount(disk, "ro")
    nothing = Run(store, SMALL)
    assert nothing.wait() == 0, nothing.said
    assert "nothing to run" in nothing.said
    other = Run(store, (*SMALL, "--set", "recipe.robustly.lr=0.2"))
    assert other.wait() == 1, other.said
    assert "error[R104]: not allowed while" in other.said
    assert "Read-only" in other.said
    assert "--store DIR" in other.said


def _mapped_at_start() -> int:
    """Bytes of address space that a worker has before it does anything: builds of torch differ by gigabytes."""
    said = subprocess.run(
        [sys.executable, "-c", "import isoloss.runtime.worker.preload; print(open('/proc/self/status').read())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"VmPeak:\s+(\d+) kB", said.stdout)
    assert found is not None, said
    return int(found.group(1)) * 1024


def test_a_loss_that_is_no_number_and_a_batch_that_does_not_fit(tmp_path: Path) -> None:
    recipe = "recipe.robustly"
    diverging = Run(
        tmp_path / "store",
        (*SMALL, "--set", f"{recipe}.lr=1000", "--set", f"{recipe}.optimizer=sgd(weight_decay = 1)"),
    )
    assert diverging.wait() == 3, diverging.said
    assert re.search(
        r"error\[R320\]: `runs/cnn\(1\)/good/2k`: the training loss became (nan|inf) at step \d+ of 64\n"
        r"  --> \S*tiny.study:14:8\n"
        r"   = help: lower `lr`, lengthen the warm-up or set `clip`\n"
        r"   = help: (nothing was saved yet|the state after step \d+ is kept: \S+\.ckpt)\n",
        diverging.said,
    ), diverging.said
    large = Run(
        tmp_path / "store",
        ("--set", "grid.runs.model=[cnn(100)]", "--set", "grid.runs.images=[8k]", "--set", f"{recipe}.batch=8192"),
        memory_bytes=_mapped_at_start() + 1400 * 10**6,
    )  # fmt: skip
    assert large.wait() == 3, large.said
    assert "error[R322]: `runs/cnn(100)/good/8k`: out of memory at a batch of 8192" in large.said
    fits = re.search(r"a batch of (\d+) would fit", large.said)
    assert fits is not None, large.said
    assert 0 < int(fits.group(1)) < 8192
    for run, skipped in ((diverging, "good/2k/strong"), (large, "good/8k/strong")):
        assert "Traceback" not in run.said
        assert skipped in run.said, "what needs it is skipped, and told"
    last = {e["name"]: e["state"] for e in job_events(Store(tmp_path / "store", create=False))}
    assert last["runs/cnn(1)/good/2k"] == last["runs/cnn(100)/good/8k"] == "failed"
    assert last["good/fid"] == "finished"


def test_two_runs_share_the_work_of_a_study(tmp_path: Path, undisturbed: Path) -> None:
    runs = [Run(tmp_path / "store"), Run(tmp_path / "store")]
    for run in runs:
        assert run.wait() == 0, run.said
    check_equal(tmp_path / "store", undisturbed)
    events = job_events(Store(tmp_path / "store", create=False))
    assert set(Counter(e["job"] for e in events if e["state"] == "started").values()) == {1}
    assert all("by another process" in run.said for run in runs), "one did all the work"
    told = [re.search(r"done: (\d+) jobs run and \d+ by another process, (\d+) of", run.said) for run in runs]
    shares = [(int(found[1]), int(found[2])) for found in told if found]
    assert len(shares) == 2
    assert sum(own for own, _ in shares) == shares[0][1]
