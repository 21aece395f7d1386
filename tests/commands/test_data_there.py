"""Missing files of a dataset are told before the first job, with which jobs can run all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoloss import cli
from isoloss.runtime.store.store import Store

STUDY = """study small {
  dataset cifar10
  GENERATOR
  recipe r {
    loss = trades(beta = 5)
    attack = pgd(norm = linf, eps = 8/255, step = 2/255, steps = 2)
    batch = 64  lr = 0.1
  }
  grid g { model in [wrn(10, 1)]  recipe = r  DRAWN  images in [64, 128] }
  evaluate e { attack = pgd(norm = linf, eps = 8/255, steps = 5)  images = 100 }
  budget { compute = 100 TFLOP  devices = 1 of cpu  choose = all }
}
"""


def study(folder: Path, generator: str = "", drawn: str = "") -> str:
    place = folder / "small.study"
    place.write_text(STUDY.replace("GENERATOR", generator).replace("DRAWN", drawn))
    return str(place)


def test_a_run_that_needs_files_everywhere_starts_no_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", study(tmp_path), "--store", str(tmp_path / "store"), "--data", str(tmp_path)]
    assert cli.main(command) == 1
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("cifar-10-binary.tar.gz") == 2  # what lacks, where to fetch it
    assert "started" not in (tmp_path / "store" / "journal.jsonl").read_text()
    assert cli.main(["status", str(tmp_path / "store")]) == 0
    assert "(revision 0): waiting" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = str(tmp_path / ("x" * 300))
    assert cli.main(["run", study(tmp_path), "--store", str(tmp_path / "store"), "--data", long]) == 1
    shown = capsys.readouterr()
    assert "error[R401]" in shown.err
    assert "File name too long" in shown.err


def test_jobs_that_need_no_files_run_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", image=images, label=draw.integers(0, 10, 300))
    file = study(tmp_path, 'generator mine { from = "mine.npz"  images = 200  fid = 20 }', "generator = mine")
    store = tmp_path / "store"
    command = ["run", file, "--store", str(store), "--data", str(tmp_path), "--no-tracking"]
    assert cli.main(command) == 3
    shown = capsys.readouterr()
    told = "2 of 5 jobs need its files, the other 3 run all the same"
    assert told in shown.err
    assert sorted(result.kind for result in Store(store).results()) == ["import", "train", "train"]
