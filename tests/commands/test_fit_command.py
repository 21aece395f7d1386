"""`isoloss fit` and `import`: out of the box, right where the truth is known, JSON as promised."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from doc_commands import Ran, run_commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables_of_runs import LAW2, curves, plain, qualities

from isoloss.cli import main
from isoloss.compiler.laws.fitting.fit_json import fit_from_json


def isoloss(folder: Path, command: str) -> Ran:
    [ran] = run_commands([f"isoloss {command}"], folder)
    assert "Traceback" not in ran.out + ran.err
    return ran


def as_json(folder: Path, command: str) -> dict[str, Any]:
    ran = isoloss(folder, command + " --json")
    assert ran.code == 0, ran.out
    data: dict[str, Any] = orjson.loads(ran.out)
    return data


def test_three_columns_out_of_the_box(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(plain())
    data = as_json(tmp_path, "fit runs.csv --law chinchilla --resamples 50")
    for name in ("A", "alpha", "B", "beta", "E"):
        assert data["parameters"][name] == pytest.approx(LAW2[name], rel=1e-6), name
    assert data["exponents"]["a"] == pytest.approx(0.2281 / (0.2281 + 0.2443), rel=1e-6)


def test_the_contract_of_the_json(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(qualities())
    data = as_json(tmp_path, "fit runs.csv --law approach2 --resamples 50 -o fit.json")
    keys = "law parameters intervals objective status starts points exponents r2 held_out warnings"
    assert set(keys.split()) <= set(data)
    assert set(data["parameters"]) == {"A", "B", "E", "alpha", "beta", "epsilon", "zeta"}
    for name, (low, high) in data["intervals"].items():
        assert low <= data["parameters"][name] <= high
    assert set(data["exponents"]) == {"a", "b"}
    assert data["accuracy"]["slope"] == pytest.approx(-0.7496, abs=0.02)
    assert data["flops_rule"]["constant"] == pytest.approx(7822)
    assert orjson.loads((tmp_path / "fit.json").read_bytes()) == data
    assert fit_from_json(data).parameters == data["parameters"]


def test_the_screen_names_what_matters(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(qualities())
    ran = isoloss(tmp_path, "fit runs.csv --law approach3 --resamples 50 --where 'fid < 5' -o fit.json")
    assert ran.code == 0
    for words in ("approach3 fitted to 50 points of 50 runs", "95% interval", "kappa", "N* ~ C^a", "status",
                  "of 24 starts", "residuals", "where fid < 5", "accuracy", "written: fit.json"):  # fmt: skip
        assert words in ran.out


def test_curves_out_of_the_box(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(curves())
    envelope = as_json(tmp_path, "fit runs.csv --law approach1 --resamples 20")
    assert 0.3 < envelope["parameters"]["a"] < 0.7
    best = as_json(tmp_path, "fit runs.csv --law chinchilla --resamples 20")
    assert best["points"] == 25
    assert best["protocol"]["points"] == "best"
    everything = as_json(tmp_path, "fit runs.csv --law chinchilla --points curve --floor 0.9 --resamples 0")
    assert everything["points"] == 25


def test_the_chinchilla_replications_table(tmp_path: Path) -> None:
    rows = [line.split(",") for line in plain().splitlines()[1:]]
    text = "x,y,color,Model Size,Training FLOP,hex_color,loss\n"
    text += "".join(f"0,0,k,{n},{6 * float(n) * float(d)!r},#0,{loss}\n" for n, d, loss in rows)
    (tmp_path / "runs.csv").write_text(text)
    data = as_json(tmp_path, "fit runs.csv --law chinchilla --resamples 0 -o fit.json")
    assert data["parameters"]["E"] == pytest.approx(LAW2["E"], rel=1e-6)
    # A budget is then in the table's own currency, 6 N D, and not in the paper's.
    best = as_json(tmp_path, "optimum fit.json --compute 6e15")
    assert best["params"] * best["images"] == pytest.approx(1e15, rel=1e-6)


def test_accuracies_stand_in_for_losses(tmp_path: Path) -> None:
    lines = [line.split(",") for line in plain().splitlines()[1:]]
    (tmp_path / "runs.csv").write_text(
        "params,images,accuracy\n" + "".join(f"{n},{d},{1 - 0.5 * float(loss)!r}\n" for n, d, loss in lines)
    )
    data = as_json(tmp_path, "fit runs.csv --law chinchilla --resamples 0")
    assert data["parameters"]["E"] == pytest.approx(0.5 * LAW2["E"], rel=1e-6)
    assert "L207" in {w["code"] for w in data["warnings"]}
    # An error turns back into the accuracy it was.
    line = data["accuracy"]
    assert (line["intercept"], line["slope"]) == pytest.approx((1.0, -1.0))


@pytest.mark.parametrize(
    ("command", "code", "exit_code"),
    [
        ("fit runs.csv --law nonsense", "L201", 2),
        ("fit runs.csv --law chinchilla --floor 2", "L211", 2),
        ("fit runs.csv --law chinchilla --delta 0", "L211", 2),
        ("fit runs.csv --law chinchilla --resamples -1", "L211", 2),
        ("fit runs.csv --law chinchilla --where 'params >'", "S", 1),
        ("fit runs.csv --law chinchilla --where 'parms > 1'", "N101", 1),
        ("fit runs.csv --law chinchilla --where 'params > 1T'", "S", 1),
        ("fit runs.csv --law chinchilla --where 'params > 999B'", "L208", 1),
        ("fit runs.csv --law chinchilla --where 'epochs > 1'", "L208", 1),
        ("fit runs.csv --law approach2 --where 'fid > 99'", "L208", 1),
        ("fit runs.csv --law chinchilla -o nowhere/fit.json", "L214", 1),
        ("import runs.csv -o runs.csv", "L214", 1),
        ("import runs.csv -o nowhere/out.csv", "L214", 1),
    ],
)
def test_wrong_commands(tmp_path: Path, command: str, code: str, exit_code: int) -> None:
    (tmp_path / "runs.csv").write_text(qualities())
    ran = isoloss(tmp_path, command + " --json")
    assert ran.code == exit_code
    said = orjson.loads(ran.out)["diagnostics"]
    assert said
    assert all(d["code"].startswith(code) for d in said)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs.parquet").write_bytes(b"PAR1 and so on")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    ran = isoloss(tmp_path, "fit runs.parquet --law chinchilla --json")
    assert ran.code == 1
    assert [d["code"] for d in orjson.loads(ran.out)["diagnostics"]] == ["L109"]


def test_import_writes_what_fit_reads(tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text(plain().replace("params,images,loss", "N,D,L"))
    said = as_json(tmp_path, "import theirs.csv -o ours.csv --where 'images > 10.1M'")
    assert (said["rows"], said["runs"]) == (15, 15)
    first = (tmp_path / "ours.csv").read_text().splitlines()[0]
    assert first == "run,params,images,fid,flops,fraction,loss,accuracy"
    fit = as_json(tmp_path, "fit ours.csv --law chinchilla --resamples 0")
    assert fit["points"] == 15
    assert fit["parameters"]["alpha"] == pytest.approx(LAW2["alpha"], rel=1e-5)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["6e6", "6e6", "2e7", "1e9", "3", "1e300", "1e-300"]),
            st.sampled_from(["5e6", "1e7", "1e12", "1e308"]),
            st.sampled_from(["1", "0.9", "1e-320", "1e300", "0.5000001"]),
        ),
        max_size=8,
    ),
    st.sampled_from(["chinchilla", "powerlaw", "approach1"]),
)
def test_no_table_gives_a_traceback(tmp_path: Path, rows: list[tuple[str, ...]], law: str) -> None:
    (tmp_path / "runs.csv").write_text("params,images,loss\n" + "\n".join(map(",".join, rows)) + "\n")
    ran = isoloss(tmp_path, f"fit runs.csv --law {law} --resamples 5 --json")
    assert ran.code in (0, 1)
    orjson.loads(ran.out)


def test_two_stages_by_conditions(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(qualities(noise=0.0))
    command = "fit runs.csv --law approach2 --resamples 20"
    staged = as_json(tmp_path, f"{command} --base 'fid == 2.48' --quality 'fid > 5' -o fit.json")
    assert staged["protocol"]["base"] == "fid == 2.48"
    assert staged["points"] == 50  # of 75: the runs at fid 1.65 are in neither stage
    for name, value in LAW2.items():
        assert staged["parameters"][name] == pytest.approx(value, rel=1e-5), name
    screen = isoloss(tmp_path, f"{command} --base 'fid == 2.48'").out
    assert "base, where fid == 2.48; then zeta and epsilon, all others" in screen


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ("--law approach3 --base 'fid == 2.48'", "L211", "stages of approach2"),
        ("--law approach2 --quality 'fid > 2'", "L211", "needs `--base`"),
        ("--law approach2 --base 'fid == 3'", "L208", "--base fid == 3"),
        ("--law approach2 --base 'fid > 2'", "L202", "of one quality"),
        ("--law approach2 --base 'fid == 2.48' --quality 'fid == 2.48'", "L202", "second stage"),
    ],
)
def test_stages_that_can_not_be(tmp_path: Path, options: str, code: str, says: str) -> None:
    (tmp_path / "runs.csv").write_text(qualities())
    ran = isoloss(tmp_path, f"fit runs.csv --resamples 10 {options}")
    assert ran.code in {1, 2}
    assert code in ran.out + ran.err
    assert says in ran.out + ran.err


COLLAPSED = """run,params,images,loss,accuracy
r0,5850000,5000000,0.90633,0.5781
r1,5850000,30000000,0.81889,0.6437
r2,5850000,100000000,0.77287,0.6782
r3,19800000,5000000,0.86286,0.6107
r4,19800000,30000000,0.77460,0.6769
r5,19800000,100000000,0.73658,0.7054
r6,52500000,5000000,0.83986,0.6279
r7,52500000,30000000,0.75145,0.6942
r8,52500000,100000000,0.71486,0.7216
r9,178000000,5000000,0.82236,0.6411
r10,178000000,30000000,{}
r11,178000000,100000000,0.69037,0.7400
"""


def test_a_collapsed_run_is_named_and_moves_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run of twelve at chance: named, the status withheld, the loss-to-accuracy line as without it."""
    lines = {}
    for name, row in (("sound", "0.73000,0.7103"), ("collapsed", "2.30259,0.1000")):
        (tmp_path / "runs.csv").write_text(COLLAPSED.format(row))
        assert main(["fit", str(tmp_path / "runs.csv"), "--law", "chinchilla", "--json"]) == 0
        data = orjson.loads(capsys.readouterr().out)
        lines[name] = data["accuracy"]
        assert (data["status"] == "LACK_OF_FIT") == (name == "collapsed")
        assert any("`r10` by a factor of 3" in warning["message"] for warning in data["warnings"]) == (
            name == "collapsed"
        )
    for key in ("intercept", "slope"):
        assert lines["collapsed"][key] == pytest.approx(lines["sound"][key], abs=1e-3)


def test_every_law_of_a_table_is_a_portfolio(tmp_path: Path) -> None:
    """Without `--law`: each once, with its weight; the file answers like several laws."""
    (tmp_path / "runs.csv").write_text(plain())
    data = as_json(tmp_path, "fit runs.csv --resamples 50 -o laws.json")
    assert data["law"] == "any"
    assert {member["law"] for member in data["members"]} <= {"powersum", "chinchilla"}
    assert sum(member["weight"] for member in data["members"]) == pytest.approx(1.0)
    assert "weight" in isoloss(tmp_path, "fit runs.csv --resamples 50").out
    best = as_json(tmp_path, "optimum laws.json --compute 1e18")
    assert best["status"] == "answered"
    assert best["intervals"]["loss"][0] < best["loss"] < best["intervals"]["loss"][1]
    assert sum(best["width"].values()) == pytest.approx(1.0)
    given_run = as_json(tmp_path, "forecast laws.json --params 1e7 --images 1e8")
    assert given_run["interval"][0] < given_run["loss"] < given_run["interval"][1]
    # With qualities the table holds other laws.
    (tmp_path / "runs.csv").write_text(qualities())
    assert {m["law"] for m in as_json(tmp_path, "fit runs.csv --resamples 20")["members"]} <= {
        "approach2",
        "approach3",
    }


def test_a_portfolio_is_no_law_to_simulate(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(plain())
    (tmp_path / "s.study").write_text("study tiny { dataset digits }")
    isoloss(tmp_path, "fit runs.csv --resamples 10 -o laws.json")
    data = orjson.loads((tmp_path / "laws.json").read_bytes())
    if len(data["members"]) > 1:
        ran = isoloss(tmp_path, "run s.study --executor simulate --truth laws.json")
        assert "L210" in ran.out + ran.err
