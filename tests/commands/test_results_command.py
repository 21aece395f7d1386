"""What was measured, as `isoloss results`, the end of a run, `status`, the report and Python tell it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pytest

import isoloss
from isoloss.cli import main
from isoloss.report.page import write_report

STUDY = """study recipes {
  dataset digits
  generator own { from = real }
  recipe strong { loss = trades(beta = 5)  attack = pgd(eps = 0.15, steps = 2)  batch = 32  lr = 0.1 }
  recipe weak   { loss = trades(beta = 1)  attack = pgd(eps = 0.15, steps = 2)  batch = 32  lr = 0.1 }
  evaluate robust { attack = pgd(eps = 0.15, steps = 5) }
  grid runs { model in [cnn(1), cnn(2)]  generator = own  images = 2k  recipe in [strong, weak]  seed in 0..2 }
}
"""
TRUTH = ["--executor", "simulate", "--truth", "bartoldson2024.approach2", "--no-tracking"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    (folder / "recipes.study").write_text(STUDY)
    assert main(["run", str(folder / "recipes.study"), "--store", str(folder / "store"), *TRUTH]) == 0
    return folder / "store"


def rows(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert main(["results", *map(str, arguments), "--json"]) == 0
    return orjson.loads(capsys.readouterr().out)


def test_a_row_per_network_evaluation_and_metric(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, store)
    assert {(r["evaluation"], r["metric"]) for r in found} == {
        ("robust", "accuracy"), ("robust", "loss"), ("clean", "accuracy"),
    }  # fmt: skip
    assert len(found) == 3 * 2 * 2 * 3
    first = found[0]
    assert set(first) == {
        "network", "model", "params", "recipe", "generator", "images", "seed", "settings", "source", "evaluation",
        "metric", "value", "interval", "tested", "alarms", "job", "study",
    }  # fmt: skip
    assert (first["model"], first["recipe"], first["generator"], first["study"]) == (
        "cnn(1)", "strong", "own", "recipes",
    )  # fmt: skip
    assert {r["seed"] for r in found} == {0, 1, 2}
    assert all(0 <= r["value"] <= 1 for r in found if r["metric"] == "accuracy")


def test_groups_are_means_over_seeds(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = rows(capsys, store, "--metric", "loss")
    found = rows(capsys, store, "--metric", "loss", "--by", "recipe,model")
    assert len(found) == 4
    for group in found:
        mine = [r["value"] for r in single if (r["recipe"], r["model"]) == (group["recipe"], group["model"])]
        assert group["value"] == pytest.approx(sum(mine) / 3)
        assert (group["seeds"], group["over"]) == (3, [])
        assert group["sd"] is not None
        assert group["interval"][0] < group["value"] < group["interval"][1]


def test_what_else_varies_is_said_and_then_there_is_no_interval(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in rows(capsys, store, "--by", "recipe"):
        assert group["over"] == ["model"]
        assert group["sd"] is None
        assert group["interval"] is None
        assert group["seeds"] == 3


def test_rows_are_chosen_by_the_languages_conditions(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, store, "--where", "recipe == weak and seed > 0")
    assert {(r["recipe"], r["seed"]) for r in found} == {("weak", 1), ("weak", 2)}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--study", "other"], "N104", "it has `recipes`"),
        (["--by", "recip"], "N102", "`recipe` is close"),
        (["--where", "recipe =="], "S1", ""),
        (["--where", "epochs > 1"], "L208", "a condition here is about"),
    ],
)
def test_what_cant_be_had_is_told(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str, told: str
) -> None:
    assert main(["results", str(store), *arguments]) == 2
    said = capsys.readouterr().err
    assert f"error[{code}" in said
    assert told in said


def test_csv_wide_and_a_frame_say_the_same(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = {(r["network"], r["evaluation"], r["metric"]): r["value"] for r in rows(capsys, store)}
    assert main(["results", str(store), "--csv", "--wide"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == 12
    for line in lines:
        for evaluation, metric in (("robust", "accuracy"), ("robust", "loss"), ("clean", "accuracy")):
            assert float(line[f"{evaluation} {metric}"]) == single[line["network"], evaluation, metric]
    frame = isoloss.results(store, metric="accuracy", by=("recipe", "model"))
    assert list(frame["seeds"]) == [3] * len(frame)


def test_screens_name_the_best_and_how_sure(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["results", str(store)], ["status", str(store)]):
        assert main(command) == 0
        said = capsys.readouterr().out
        assert "accuracy of study recipes, means of 3 seeds" in said
        assert "best under `robust` first" in said
        assert "points [" in said
        assert "over 3 seeds" in said


def test_the_report_of_a_study_without_laws_begins_with_results(store: Path, tmp_path: Path) -> None:
    page = write_report(store, tmp_path / "r.html").read_text()
    anchors = [part.split('"', 1)[0] for part in page.split('<section id="')[1:]]
    assert anchors[0] == "results"
    assert not {"laws", "frontier", "forecasts", "quality", "answers"} & set(anchors)
    assert "strong / " in page or "strong" in page
    assert "Paired over seeds and test images" in page


def test_an_edited_evaluation_brings_no_old_row(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a study that was edited and run again in the same store the latest plan's own jobs count."""
    import shutil

    other = tmp_path / "store"
    shutil.copytree(store, other)
    edited = tmp_path / "recipes.study"
    edited.write_text(STUDY.replace("steps = 5", "steps = 6"))
    assert main(["run", str(edited), "--store", str(other), *TRUTH]) == 0
    found, before = rows(capsys, other), rows(capsys, store)
    assert len(found) == len(before)
    assert not {r["job"] for r in found} & {r["job"] for r in before}
