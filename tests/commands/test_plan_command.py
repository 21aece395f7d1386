"""`plan`, `explain`, `graph` and `diff` as a user types them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import orjson
import pytest

from isoloss.cli import main

ROOT = Path(__file__).resolve().parents[2]
QUICK = str(ROOT / "examples" / "quickstart.study")
PAPER = str(ROOT / "examples" / "robustness_limits.study")
NOWHERE = ["--store", "no-such-store"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_the_screen_says_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = printed(capsys, "plan", PAPER, *NOWHERE)
    assert status == 0
    for said in (
        "1,003 jobs",
        "not estimated",
        "8 networks, wrn(28, 4) to wrn(82, 16)",
        "kept for `allocate`",
        "h100, assumed",
        "sota: the best run of 1 ZFLOP",
        "chains of up to",
        "USD",
        "TB",
    ):
        assert said in out, said
    assert len(out.splitlines()) <= 45
    assert max(map(len, out.splitlines())) <= 100
    assert "B110" in err


def test_the_screen_says_what_other_number_formats_gain(capsys: pytest.CaptureFixture[str]) -> None:
    """As the profile prices these trainings, where they use the slowest alone."""
    _, out, _ = printed(capsys, "plan", PAPER, *NOWHERE)
    said = " ".join(out.split())
    assert "in fp32; tf32 about 6.7 times as fast, bf16 about 11 times as fast: `precision`" in said
    _, out, _ = printed(capsys, "plan", PAPER, *NOWHERE, "--set", "recipe.trades.precision=bf16")
    assert "times as fast" not in out
    _, out, _ = printed(capsys, "plan", QUICK, *NOWHERE)
    assert "times as fast" not in out


def test_the_long_form_counts_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = printed(capsys, "plan", PAPER, *NOWHERE, "--long")
    assert "316,356,058" in out
    assert "+0.41%" in out


def test_the_long_form_lists_defaults_and_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = printed(capsys, "plan", QUICK, *NOWHERE, "--long")
    for said in ("cycle_momentum", "clip", "bn group", "runs/cnn(5)/fine/16k", "nesterov = true"):
        assert said in out, said


def test_the_long_form_says_how_a_training_computes(capsys: pytest.CaptureFixture[str]) -> None:
    changes = "recipe.trades.batchnorm=batchnorm(group = 8)", "recipe.trades.precision=tf32"
    _, out, _ = printed(capsys, "plan", QUICK, *NOWHERE, "--long", "--set", changes[0], "--set", changes[1])
    assert "bn group  8 images" in out
    assert "precision tf32, deterministic" in out


def test_the_long_form_shows_each_recipe_in_words_that_a_study_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = """study two {
  dataset digits
  recipe base { loss = trades() attack = pgd(eps = 0.1) batch = 64 lr = 0.1 }
  recipe half { loss = half() attack = fgsm(eps = 0.1) batch = 64 lr = 0.1 }
  generator g { sampler = edm(steps = 7) fid = 1 images = 1M }
  evaluate robust { attack = pgd(eps = 0.1, steps = 40) }
  grid runs { model in [cnn(2), cnn(4)] generator = g images = 4k recipe in [base, half] }
}"""
    path = tmp_path / "two.study"
    path.write_text(text)
    _, out, _ = printed(capsys, "plan", str(path), *NOWHERE, "--long")
    told = out[out.index("every default explicit") : out.index("\njobs")].splitlines()
    assert [line for line in told if line.startswith("  of ")] == [
        "  of runs/cnn(2)/g/4k/base and 1 more", "  of runs/cnn(2)/g/4k/half and 1 more",
    ]  # fmt: skip
    # The first, as it is shown, is a recipe, and the same.
    shown = [
        line
        for line in told[2 : told.index("  of runs/cnn(2)/g/4k/half and 1 more")]
        if "bn group" not in line
    ]
    recipe = " ".join(f"{line[2:12].strip()} = {line[12:].partition(', deterministic')[0]}" for line in shown)
    old = "loss = trades() attack = pgd(eps = 0.1) batch = 64 lr = 0.1"
    path.write_text(text.replace(old, recipe))
    assert printed(capsys, "plan", str(path), *NOWHERE, "--long")[1] == out


def test_a_written_plan_shows_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "PLAN.json"
    _, first, _ = printed(capsys, "plan", QUICK, *NOWHERE, "-o", str(target))
    _, second, _ = printed(capsys, "plan", str(target))
    assert first.startswith(second.rstrip("\n"))
    assert orjson.loads(target.read_bytes())["format"] == "isoloss.plan/1"


def test_explain_adds_up_and_lists_every_field(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "PLAN.json"
    printed(capsys, "plan", QUICK, *NOWHERE, "-o", str(target))
    for job in orjson.loads(target.read_bytes())["jobs"][::9]:
        status, out, _ = printed(capsys, "explain", job["id"], str(target), "--json")
        data = orjson.loads(out)
        assert status == 0
        total = job["cost"]["flops"] + job["cost"]["evaluation_flops"]
        assert sum(part["flops"] for part in data["bill"]) == pytest.approx(total)
        for field in job["spec"]:
            assert any(key.split(".")[0] == field for key in data["identity"]), field


def test_explain_without_such_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = printed(capsys, "explain", "runs/cnn(4)/fine/4k", QUICK, *NOWHERE)
    assert status == 1
    assert "P106" in err
    assert "did you mean" in err


@pytest.mark.parametrize(("file", "most"), [(QUICK, 90), (PAPER, 90)])
def test_pictures_are_readable_svg(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str, most: int
) -> None:
    target = tmp_path / "out.svg"
    status, _, _ = printed(capsys, "graph", file, *NOWHERE, "-o", str(target))
    assert status == 0
    root = ElementTree.fromstring(target.read_text(encoding="utf-8"))
    boxes = root.findall("{http://www.w3.org/2000/svg}g")
    assert 3 <= len(boxes) <= most
    corners = set()
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in boxes:
        rect = box.find("{http://www.w3.org/2000/svg}rect")
        assert rect is not None
        corner = float(rect.attrib["x"]), float(rect.attrib["y"])
        assert corner not in corners
        assert 0 <= corner[0] <= width - float(rect.attrib["width"])
        assert 0 <= corner[1] <= height - float(rect.attrib["height"])
        corners.add(corner)


def test_diff_of_a_study_with_itself_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = printed(capsys, "diff", QUICK, QUICK, *NOWHERE)
    assert status == 0
    assert "nothing changes" in out


def test_diff_names_a_setting_that_touches_no_job(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other.study"
    other.write_text(
        Path(QUICK).read_text().replace("law = approach3", "law = approach3 errors = correlated")
    )
    status, out, _ = printed(capsys, "diff", QUICK, str(other), *NOWHERE)
    assert status == 0
    assert out.startswith("setting `fit.bottleneck.errors`: independent -> correlated\n")
    assert "added" not in out
    assert "dropped" not in out


def test_diff_names_what_came_and_went(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other.study"
    text = Path(QUICK).read_text(encoding="utf-8")
    other.write_text(text.replace("[4k, 8k, 16k, 32k]", "[4k, 8k, 12k, 32k]"), encoding="utf-8")
    _, out, _ = printed(capsys, "diff", QUICK, str(other), *NOWHERE, "--json")
    data = orjson.loads(out)
    assert {job["name"].split("/")[3] for job in data["added"] if job["kind"] == "train"} == {"12k"}
    assert {job["name"].split("/")[3] for job in data["removed"] if job["kind"] == "train"} == {"16k"}
    assert data["flops"] < 0
    assert data["replaced"] == []


def test_a_table_of_runs_stands_for_the_studys_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan_file = tmp_path / "PLAN.json"
    printed(capsys, "plan", PAPER, *NOWHERE, "-o", str(plan_file))
    rows = ["run,params,images,fid,fraction,loss,accuracy"]
    for job in orjson.loads(plan_file.read_bytes())["jobs"]:
        if job["kind"] == "train":
            N, D, fid = job["facts"]["params"], job["facts"]["images"], job["facts"]["fid"]
            loss = 6.69 * N**-0.24 + 9.89 * (1 + fid) ** -0.28 * D**-0.23 + 0.48 * (1 + fid) ** 0.16
            rows.append(f"{job['name'].replace(',', ' ')},{N},{D},{fid},1,{loss},{1.2575 - 0.7496 * loss}")
    rows.append("stranger,1e6,2e6,1.65,1,1.5,0.2")
    table = tmp_path / "runs.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    few = [f"--set=fit.{name}.resamples=20" for name in ("envelope", "quality", "bottleneck")]
    status, out, err = printed(capsys, "plan", PAPER, *NOWHERE, *few, "--runs", str(table))
    assert status == 0
    assert "L505" in err
    assert "stranger" in err
    assert "464 done" in out
    assert "sota: the best run of 1 ZFLOP on dg or a smaller one for up to 10% more; by bottleneck" in out
    assert re.search(r"N\* \d", out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profile", "laptop"], "`--profile` would change"),
        (["--set", "lr=3", "--runs", "x.csv"], "`--set` and `--runs` would change"),
    ],
)
def test_what_changes_a_study_is_refused_beside_a_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], said: str
) -> None:
    target = tmp_path / "PLAN.json"
    printed(capsys, "plan", QUICK, *NOWHERE, "-o", str(target))
    status, _, err = printed(capsys, "plan", str(target), *options)
    assert status == 1
    assert "R109" in err
    assert said in err


def test_a_plan_written_into_a_missing_folder_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "none"
    status, _, err = printed(capsys, "plan", QUICK, *NOWHERE, "-o", str(folder / "PLAN.json"))
    assert status == 1
    assert f"there is no folder `{folder}`" in err


def test_small_networks_in_a_table_are_taken_as_counts_when_told_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("params,images,fid,loss\n414,4096,,1.5\n", encoding="utf-8")
    _, _, err = printed(capsys, "plan", QUICK, *NOWHERE, "--runs", str(table))
    assert "L116" in err
    told = ["--runs", str(table), "--columns", "params=params"]
    status, out, err = printed(capsys, "plan", QUICK, *NOWHERE, *told, "--json")
    assert status == 0
    # The run and its evaluation.
    assert [job["state"] for job in orjson.loads(out)["jobs"]].count("done") == 2


def test_a_mistake_of_a_later_stage_shows_the_line_it_stands_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _, err = printed(capsys, "plan", QUICK, *NOWHERE, "--set", "budget.compute=1 TFLOP")
    assert status == 1
    assert "B102" in err
    lines = err.splitlines()
    assert lines[2].endswith("|   budget {")
    assert lines[3].endswith("|   ^^^^^^")


@pytest.mark.parametrize(
    ("gate", "status", "said"),
    [
        (["--max-flops", "10 ZFLOP", "--max-cost", "600000 USD"], 0, ""),
        (["--max-flops", "1 ZFLOP"], 1, "comes to 9.12 ZFLOP"),
        (["--max-cost", "60000"], 1, "`--max-cost` allows"),
        # Its jobs may come to 457,000 USD; what is kept for `allocate` is an eighth as much compute again.
        (["--max-cost", "480000"], 1, "of it for what `allocate` will train"),
        (["--max-cost", "60000 EUR"], 1, "is no amount of USD"),
        (["--max-cost", "cheap"], 1, "is no amount of USD"),
    ],
)
def test_a_plan_beyond_its_gate_is_refused(
    capsys: pytest.CaptureFixture[str], gate: list[str], status: int, said: str
) -> None:
    found, _, err = printed(capsys, "plan", PAPER, *NOWHERE, *gate)
    assert found == status
    assert said in err
    assert ("P110" in err) == bool(status)


def test_a_gate_of_money_needs_a_price(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    status, _, err = printed(capsys, "run", QUICK, "--store", str(store), "--max-cost", "5")
    assert status == 1
    assert "can't be held" in err
    assert not store.exists()


def test_a_number_beyond_64_bits_is_planned(tmp_path: Path) -> None:
    (tmp_path / "s.study").write_text(SMALL_HUGE)
    assert main(["check", str(tmp_path / "s.study")]) == 0
    assert main(["plan", str(tmp_path / "s.study"), "-o", str(tmp_path / "P.json")]) == 0
    assert main(["plan", str(tmp_path / "P.json")]) == 0


SMALL_HUGE = """study huge { dataset digits generator own { from = real }
  recipe r { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 3) lr = 0.1 batch = 32 }
  evaluate e { attack = pgd(eps = 0.15, steps = 5) }
  grid runs { model in [cnn(1), cnn(2)] generator = own images = 2k recipe = r where images <= 1e30 } }
"""


def test_a_picture_is_svg_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.study").write_text(SMALL_HUGE)
    assert main(["graph", str(tmp_path / "s.study"), "-o", str(tmp_path / "a.png")]) == 2
    assert "error[P109]" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
