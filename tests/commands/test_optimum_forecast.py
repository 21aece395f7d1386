"""`isoloss optimum` and `forecast`: the contract, golden text, intervals, and files that are no law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from doc_commands import Ran, run_commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables_of_runs import qualities

from isoloss.cli import main
from isoloss.compiler.laws.fitting.fit_json import fit_from_json

GOLDEN = """\
bartoldson2024.approach2 at 214 EFLOP, FID 1.65
  7822 FLOP per parameter and image (the paper)

                       estimate   95% interval
  params N*               77.3M   not estimated
  images D*                354M   not estimated
  loss L*                0.7241   not estimated
  accuracy                71.5%   not estimated
  loss, no limit         0.5604   not estimated
  its accuracy            83.7%   not estimated
  a                      0.4829   not estimated   N* ~ C^a
  b                      0.5171   not estimated   D* ~ C^b

  the same loss with another size
    size     params     images   training FLOPs
    0.25x      19.3M      2.81B   +98.2%
     0.5x      38.6M       811M   +14.5%
    0.75x        58M       482M   +2.1%
       1x      77.3M       354M   +0.0%
     1.5x       116M       245M   +3.6%
       2x       155M       195M   +10.3%
       4x       309M       125M   +41.1%
"""


def isoloss(folder: Path, command: str) -> Ran:
    [ran] = run_commands([f"isoloss {command}"], folder)
    assert "Traceback" not in ran.out + ran.err
    return ran


def as_json(folder: Path, command: str) -> dict[str, Any]:
    ran = isoloss(folder, command + " --json")
    assert ran.code == 0, ran.out
    data: dict[str, Any] = orjson.loads(ran.out)
    return data


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fit2.json and fit3.json of one table."""
    folder = tmp_path_factory.mktemp("fits")
    (folder / "runs.csv").write_text(qualities())
    for n in (2, 3):
        command = f"fit runs.csv --law approach{n} --resamples 100 --test-images 10000 -o fit{n}.json"
        assert isoloss(folder, command).code == 0
    return folder


def test_golden_text_of_a_published_law(tmp_path: Path) -> None:
    ran = isoloss(tmp_path, "optimum bartoldson2024.approach2 --compute 2.14e20 --fid 1.65")
    assert ran.code == 0
    assert ran.out.startswith(GOLDEN)
    assert "L313" in ran.out


def test_the_contract_of_the_json(fits: Path) -> None:
    data = as_json(fits, "optimum fit2.json --compute 1e21 --fid 1.65")
    assert {"params", "images", "flops", "loss", "accuracy", "intervals"} <= set(data)
    assert data["params"] * data["images"] * 7822 == pytest.approx(1e21, rel=1e-6)
    for name in ("params", "images", "loss", "accuracy"):
        low, high = data["intervals"][name]
        assert low < data[name] < high
    assert [row["size"] for row in data["tradeoff"]] == [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0]


@pytest.mark.parametrize("text", ["1e21", "'1e21 FLOP'", "'1 ZFLOP'", "'1000 EFLOP'"])
def test_compute_takes_units(tmp_path: Path, text: str) -> None:
    assert as_json(tmp_path, f"optimum bartoldson2024.approach2 --compute {text}")["flops"] == 1e21


def test_more_compute_never_predicts_worse(fits: Path) -> None:
    losses = [
        as_json(fits, f"forecast fit2.json fit3.json --compute {c} --fid 1.65")["loss"]
        for c in ("1e19", "1e20", "1e21", "1e23")
    ]
    assert losses == sorted(losses, reverse=True)


def test_a_portfolio_holds_what_its_laws_say(fits: Path) -> None:
    data = as_json(fits, "forecast fit2.json fit3.json --compute 1e22 --fid 1.65")
    each = [one["loss"] for one in data["each"]]
    assert len(each) == 2
    assert min(each) <= data["loss"] <= max(each)
    low, high = data["intervals"]["loss"]
    assert low < min(each)
    assert high > max(each)


def test_far_questions_carry_a_warning(fits: Path) -> None:
    near = as_json(fits, "optimum fit2.json --compute 1e21 --fid 1.65")
    far = as_json(fits, "optimum fit2.json --compute 1e26 --fid 1.65")
    assert "L308" not in {w["code"] for w in near["warnings"]}
    assert "L308" in {w["code"] for w in far["warnings"]}


@pytest.mark.parametrize(
    ("command", "code", "exit_code"),
    [
        ("optimum nowhere.json --compute 1e21", "L210", 1),
        ("optimum bartoldson2024.aproach2 --compute 1e21", "L210", 1),
        ("optimum . --compute 1e21", "L210", 1),
        ("optimum bad.json --compute 1e21", "L210", 1),
        ("optimum list.json --compute 1e21", "L210", 1),
        ("optimum bartoldson2024.approach2 --compute 0", "L211", 2),
        ("optimum bartoldson2024.approach2 --compute '3 h'", "L211", 2),
        ("optimum bartoldson2024.approach2 --compute 1e21 --fid -1", "L211", 2),
        ("optimum bartoldson2024.approach2 --compute 1e21 --fid cat", "L211", 2),
    ],
)
def test_wrong_questions(tmp_path: Path, command: str, code: str, exit_code: int) -> None:
    (tmp_path / "bad.json").write_text("{not json")
    (tmp_path / "list.json").write_text("[1, 2]")
    ran = isoloss(tmp_path, command + " --json")
    assert ran.code == exit_code
    assert [d["code"] for d in orjson.loads(ran.out)["diagnostics"]] == [code]


def test_failed_fit_is_refused(fits: Path) -> None:
    data = orjson.loads((fits / "fit2.json").read_bytes())
    data["status"] = "TOO_FEW_POINTS"
    data["state"]["theta"] = [None] * len(data["state"]["theta"])
    data["state"]["samples"] = ""
    (fits / "failed.json").write_bytes(orjson.dumps(data))
    ran = isoloss(fits, "optimum failed.json --compute 1e21 --json")
    assert ran.code == 1
    assert [d["code"] for d in orjson.loads(ran.out)["diagnostics"]] == ["L213"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_law_file_gives_a_traceback(fits: Path, data: st.DataObject) -> None:
    """One key of a good fit replaced by anything."""
    good = orjson.loads((fits / "fit2.json").read_bytes())
    place = data.draw(st.sampled_from([good, good["state"], good["accuracy"], good["flops_rule"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    (fits / "odd.json").write_bytes(orjson.dumps(good))
    ran = isoloss(fits, "optimum odd.json --compute 1e21 --fid 1.65 --json")
    assert ran.code in (0, 1)
    orjson.loads(ran.out)


def test_a_given_run_has_a_loss_and_an_interval_for_a_new_run(
    fits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", str(fits / "fit2.json"), "--params", "36M", "--images", "300M", "--json"]) == 0
    one = orjson.loads(capsys.readouterr().out)
    assert (one["params"], one["images"], one["status"]) == (36e6, 300e6, "answered")
    assert one["interval"][0] < one["loss"] < one["interval"][1]
    fit = fit_from_json(orjson.loads((fits / "fit2.json").read_bytes()))
    expected = fit.predict(36e6, 300e6, one["fid"], new_run=True)
    assert expected is not None
    assert (one["loss"], one["interval"]) == (expected.mid, [expected.low, expected.high])


def test_a_table_of_runs_needs_no_losses_and_keeps_its_order(
    fits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs.csv").write_text(
        "run,params,images,fid\nb,36000000,300000000,2\na,9000000,100000000,1.65\n"
    )
    assert main(["forecast", str(fits / "fit2.json"), "--runs", str(tmp_path / "runs.csv"), "--json"]) == 0
    found = orjson.loads(capsys.readouterr().out)
    assert [(one["params"], one["images"], one["fid"]) for one in found] == [
        (36e6, 3e8, 2.0),
        (9e6, 1e8, 1.65),
    ]
    assert all(one["interval"][0] < one["loss"] < one["interval"][1] for one in found)


@pytest.mark.parametrize(
    "arguments",
    [["--params", "36M"], ["--images", "3M", "--compute", "1e21"], ["--params", "x", "--images", "3M"]],
)
def test_half_a_run_is_refused(fits: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(fits / "fit2.json"), *arguments]) == 2
    assert "error[L211]" in capsys.readouterr().err


def test_what_the_data_dont_hold_is_not_determined_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimum", "bartoldson2024.approach2", "--compute", "1", "--json"]) == 0
    data = orjson.loads(capsys.readouterr().out)
    assert data["status"] == "not determined"
    assert data["reason"]
    assert (data["params"], data["images"], data["loss"], data["accuracy"]) == (None, None, None, None)
    assert data["warnings"][0]["code"] == "L212"
