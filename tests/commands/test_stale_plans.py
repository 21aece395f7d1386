"""A PLAN.json given to a command after what it was made from has changed: refused, or told, with the field."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from isoloss import calibrating
from isoloss.cli import main
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import DeviceProfile, Range, Speed
from isoloss.plans import plan_is_current
from isoloss.runtime.executors.calibration import this_machine
from isoloss.runtime.store.store import Store

STUDY = """study small {
  dataset digits
  let eps = 0.15
  generator g    { sampler = edm(steps = 3)   images = 100k   fid = 0.1   features = pixels }
  generator made { sampler = edm(steps = 4)   images = 100k }
  recipe r { loss = trades()   attack = pgd(eps = eps, steps = 2)   batch = 64   lr = 0.1 }
  evaluate robust { attack = pgd(eps = eps, steps = 5) }
  grid runs { model in [cnn(1), cnn(2)]   generator in [g]   images in [1k, 2k]   recipe = r }
  budget { compute = 1 PFLOP   devices = 1 of cpu   price = 2 USD/h }
  profile more { grid.runs.images in [4k]   budget.price = 3 USD/h }
  profile less { grid.runs.images in [1k] }
}
"""
#: Whether `made` belongs in the grid is known once its fid is measured.
WAITS = STUDY.replace(
    "generator in [g]   images in [1k, 2k]", "generator in [g, made]   images = 1k"
).replace("recipe = r }", "recipe = r   where fid < 0.5 }")
MEASURES = WAITS.replace("study small", "study other").replace("where fid < 0.5 }", "}")
SIMULATE = ["--executor", "simulate", "--truth", "bartoldson2024.approach3", "--no-tracking"]


class Desk:
    """A folder that commands are typed in."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def write(self, text: str = STUDY, name: str = "small.study") -> None:
        Path(name).write_text(text, encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        text = Path("small.study").read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new))

    def type(self, *arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    def plan(self, *options: str) -> None:
        status, _, err = self.type("plan", "small.study", "-o", "PLAN.json", *options)
        assert status == 0, err

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return self.type("run", *arguments, *SIMULATE)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.chdir(tmp_path)
    made = Desk(capsys)
    made.write()
    return made


def edited_plan(change: Callable[[dict[str, object]], object]) -> None:
    data = orjson.loads(Path("PLAN.json").read_bytes())
    change(data)
    Path("PLAN.json").write_bytes(orjson.dumps(data))


COMMANDS = {
    "plan": ("plan", "PLAN.json"),
    "explain": ("explain", "runs/cnn(1)/g/1k", "PLAN.json"),
    "graph": ("graph", "PLAN.json", "-o", "PLAN.svg"),
    "run": ("run", "PLAN.json", *SIMULATE),
}


# Its study.


def test_a_changed_setting_is_shown_with_its_line(desk: Desk) -> None:
    desk.plan()
    desk.edit("compute = 1 PFLOP", "compute = 2 PFLOP")
    desk.edit("images in [1k, 2k]", "images in [1k, 2k, 4k]")
    status, out, err = desk.type("run", "PLAN.json")
    assert (status, out) == (1, "")
    assert (
        err
        == """error[P111]: `PLAN.json` is stale: `grid.runs.images`: [1k, 2k] -> [1k, 2k, 4k]
  --> small.study:8:62
 8 |   grid runs { model in [cnn(1), cnn(2)]   generator in [g]   images in [1k, 2k, 4k]   recipe = r }
   |                                                              ^^^^^^^^^^^^^^^^^^^^^^ was [1k, 2k]
   = help: also `budget.compute`: 1 PFLOP -> 2 PFLOP (small.study:9)
   = help: plan again: `isoloss plan small.study -o PLAN.json`
   = help: see first what that changes: `isoloss diff PLAN.json small.study`
"""
    )
    assert not Path("isoloss-store").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it(desk: Desk, command: str) -> None:
    desk.plan()
    assert desk.type(*COMMANDS[command])[0] == 0
    desk.edit("steps = 5", "steps = 6")
    status, out, err = desk.type(*COMMANDS[command])
    assert (status, out) == (1, "")
    assert (
        "error[P111]: `PLAN.json` is stale: `evaluate.robust.attack.steps`: 5 -> 6\n  --> small.study:7:"
        in err
    )


def test_a_diff_compares_it_and_says_so(desk: Desk) -> None:
    desk.plan()
    desk.edit("steps = 5", "steps = 6")
    status, out, err = desk.type("diff", "PLAN.json", "small.study")
    assert status == 0
    assert "because attack.steps 5 -> 6 (4 jobs)" in out
    assert err.startswith("warning[P111]: `PLAN.json` is stale: `evaluate.robust.attack.steps`: 5 -> 6")
    assert err.count("isoloss diff") == 0


def test_the_helped_command_makes_it_fresh(desk: Desk) -> None:
    desk.plan("--profile", "more", "--set", "recipe.r.lr=0.3")
    desk.edit("[4k]", "[8k]")
    _, _, err = desk.run("PLAN.json")
    assert "`grid.runs.images`: 4k -> 8k" in err
    (said,) = re.findall(r"`isoloss (plan .*)`", err)
    assert said == "plan small.study --profile more --set recipe.r.lr=0.3 -o PLAN.json"
    assert desk.type(*said.split())[0] == 0
    assert desk.run("PLAN.json")[0] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[4k]   budget", "[4000]  # as many\n budget"),
        ("profile less { grid.runs.images in [1k] }", ""),
        ("let eps = 0.15", "let size = 0.15\n  let eps = size"),
        ("price = 2 USD/h", "price = 5 USD/h"),  # the profile's own stands
        ("lr = 0.1", "lr = 0.2"),  # and `--set`'s
    ],
    ids=["layout", "another profile", "constants", "under the profile", "under --set"],
)
def test_what_the_plan_does_not_rest_on_may_change(desk: Desk, old: str, new: str) -> None:
    desk.plan("--profile", "more", "--set", "recipe.r.lr=0.3")
    desk.edit(old, new)
    for command in COMMANDS.values():
        status, _, err = desk.type(*(word.replace("1k", "4k") for word in command))
        assert (status, "P11" in err) == (0, False), err


def test_a_study_with_mistakes_now(desk: Desk) -> None:
    desk.plan("--profile", "more")
    desk.edit("profile more", "profile most")
    status, _, err = desk.type("plan", "PLAN.json")
    assert status == 1
    assert "`small.study` has mistakes now: the study has no profile `more`" in err
    desk.write(STUDY.replace("steps = 5", "stesp = 5"))
    _, _, err = desk.type("plan", "PLAN.json")
    assert "  --> small.study:7:" in err
    assert "isoloss check small.study" in err


def test_a_plan_without_its_study_stands_for_itself(desk: Desk) -> None:
    desk.plan()
    Path("small.study").unlink()
    status, _, err = desk.run("PLAN.json")
    assert (status, "P11" in err) == (0, False)


def test_the_study_is_found_beside_its_plan(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.plan()
    desk.edit("lr = 0.1", "lr = 0.2")
    Path("away").mkdir()
    monkeypatch.chdir("away")
    status, _, err = desk.type("plan", "../PLAN.json")
    assert status == 1
    assert "`recipe.r.lr`: 0.1 -> 0.2" in err
    assert "isoloss plan ../small.study -o ../PLAN.json" in err


# What is known.


def test_results_it_counts_on_are_gone(desk: Desk) -> None:
    assert desk.run("small.study", "--store", "full")[0] == 0
    desk.plan("--store", "full")
    assert desk.run("PLAN.json", "--store", "full")[0] == 0
    status, out, err = desk.run("PLAN.json", "--store", "empty")
    assert (status, out) == (1, "")
    assert "error[P111]: `PLAN.json` is stale: results: 9 jobs (" in err
    assert "are not in `empty`" in err
    assert "would run that the plan does not run" in err
    assert not Path("empty").exists()
    status, _, err = desk.type("explain", "runs/cnn(1)/g/1k", "PLAN.json", "--store", "empty")
    assert status == 0
    assert "warning[P112]: since `PLAN.json`: results: 9 jobs (" in err


def test_a_result_measured_anew_is_told(desk: Desk) -> None:
    """The same jobs run, as none does: told, and not refused."""
    assert desk.run("small.study", "--store", "full")[0] == 0
    desk.plan("--store", "full")
    (first, *_) = Store("full", create=False).jobs()
    edited_plan(lambda plan: plan["basis"]["results"].update({first: "0" * 16}))  # type: ignore[index]
    _, _, err = desk.type("plan", "PLAN.json", "--store", "full")
    assert "results: 1 job (" in err
    assert "is measured anew, with other values" in err


def test_an_interrupted_run_of_a_plan_goes_on(desk: Desk) -> None:
    desk.write(WAITS)
    desk.plan("--store", "own")
    assert desk.run("PLAN.json", "--store", "own")[0] == 0
    status, out, err = desk.run("PLAN.json", "--store", "own")
    assert status == 0
    assert "nothing to run" in out
    assert "note[P112]: since `PLAN.json`: results: " in err
    assert "the study goes on from there" in err


def test_results_of_another_study_that_change_its_jobs(desk: Desk) -> None:
    desk.write(WAITS)
    desk.plan("--store", "shared")
    desk.write(MEASURES, "other.study")
    assert desk.run("other.study", "--store", "shared")[0] == 0
    status, _, err = desk.run("PLAN.json", "--store", "shared")
    assert status == 1
    assert re.search(
        r"error\[P111\]: `PLAN.json` is stale: results: \d+ jobs? \(.*\) are measured since", err
    )
    assert "would not run that the plan runs" in err


def test_results_of_another_study_that_leave_its_jobs(desk: Desk) -> None:
    desk.plan("--store", "shared")
    desk.write(
        STUDY.replace("study small", "study other").replace("[cnn(1), cnn(2)]", "[cnn(1)]"), "other.study"
    )
    assert desk.run("other.study", "--store", "shared")[0] == 0
    status, _, err = desk.run("PLAN.json", "--store", "shared")
    assert status == 0
    assert "note[P112]" in err
    assert "it runs the same jobs" in err


# The machine and isoloss.


def calibrated(change: Callable[[DeviceProfile], DeviceProfile]) -> None:
    profile = replace(change(BUILT_IN["cpu"]), provenance="measured")
    found = calibrating.Calibration(profile, this_machine(), 1, (), {})
    Store("own")
    Path("own", "profile.json").write_bytes(found.to_json())


def slower(factor: float) -> Callable[[DeviceProfile], DeviceProfile]:
    def times(interval: Range, by: float) -> Range:
        return Range(interval.low * by, interval.mid * by, interval.high * by)

    def slow(profile: DeviceProfile) -> DeviceProfile:
        speeds = {
            key: Speed(
                times(speed.flops_per_second, 1 / factor),
                times(speed.values_per_second, 1 / factor),
                times(speed.launch_seconds, factor),
                "measured",
            )
            for key, speed in profile.speeds.items()
        }
        return replace(profile, speeds=speeds, startup_seconds=times(profile.startup_seconds, factor))

    return slow


def test_a_calibration_within_its_interval_is_told(desk: Desk) -> None:
    desk.plan("--store", "own")
    calibrated(slower(1.1))
    status, _, err = desk.run("PLAN.json", "--store", "own")
    assert status == 0
    assert "warning[P112]: since `PLAN.json`: profile." in err
    assert ": 60 GFLOP/s -> 54.5 GFLOP/s" in err
    assert "it runs the same jobs" in err


def test_a_calibration_beyond_its_interval_is_refused(desk: Desk) -> None:
    desk.plan("--store", "own")
    calibrated(slower(100))
    status, _, err = desk.run("PLAN.json", "--store", "own")
    assert status == 1
    assert "error[P111]: `PLAN.json` is stale: profile." in err
    assert "device-time would be" in err
    assert "money in USD would be" in err
    assert "isoloss plan small.study --store own -o PLAN.json" in err
    status, _, err = desk.type("graph", "PLAN.json", "--store", "own", "-o", "PLAN.svg")
    assert status == 0
    assert "warning[P112]" in err


def test_another_version_of_isoloss(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.plan()
    monkeypatch.setattr(plan_is_current, "VERSION", "9.9.9")
    status, _, err = desk.run("PLAN.json")
    assert status == 0
    assert re.search(r"warning\[P112\]: since `PLAN.json`: isoloss: [0-9.]+ -> 9.9.9", err)


def test_kinds_of_jobs_that_mean_something_else(desk: Desk) -> None:
    desk.plan()
    edited_plan(lambda plan: plan["basis"]["kinds"].update(train=1))  # type: ignore[index]
    for command in (*COMMANDS.values(), ("diff", "PLAN.json", "small.study")):
        status, _, err = desk.type(*command)
        assert status == 1
        assert "error[P111]: `PLAN.json` is stale: jobs of kind `train`: version 1 -> version" in err


def test_other_code_of_the_same_version(desk: Desk) -> None:
    """As by a plan that was made where a cell was left out."""
    desk.plan("--set", "grid.runs.images=[1k]")
    data = orjson.loads(Path("PLAN.json").read_bytes())
    desk.plan()
    whole = orjson.loads(Path("PLAN.json").read_bytes())
    edited_plan(lambda plan: plan.update(jobs=data["jobs"], totals=data["totals"], budget=data["budget"]))
    assert len(whole["jobs"]) > len(data["jobs"])
    status, _, err = desk.run("PLAN.json")
    assert status == 1
    assert "is stale: isoloss: of the same version, with other code or libraries" in err
    assert "4 jobs (runs/cnn(1)/g/2k, runs/cnn(2)/g/2k, runs/cnn(1)/g/2k/robust and 1 more) would run" in err


def test_a_plan_of_an_earlier_format_says_by_whom(desk: Desk) -> None:
    desk.plan()
    edited_plan(lambda plan: (plan["basis"].update(version="0.0.1"), plan.pop("totals")))  # type: ignore[attr-defined]
    _, _, err = desk.type("plan", "PLAN.json")
    assert "error[P103]" in err
    assert "it was written by isoloss 0.0.1, this is" in err
