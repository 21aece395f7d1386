"""A study's own device: priced like the shipped ones, by what its maker states of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.cli import main
from isoloss.compiler.cost.device_table import DEVICES
from isoloss.compiler.cost.devices import BUILT_IN, declared_profile
from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import DeclaredDevice, Study
from isoloss.plans.planning import device_profile

TEXT = """study own {{
  dataset cifar10
  device mine {{ {device} }}
  generator edm {{ sampler = edm(steps = 5) fid = 35.54 images = 30M }}
  recipe r {{ loss = trades() attack = pgd(eps = 8/255) batch = 512 lr = 0.1 precision = {precision} }}
  evaluate e {{ attack = pgd(eps = 8/255, steps = 40) }}
  grid runs {{ model = wrn(28, 4) generator = edm images = 5M recipe = r }}
  budget {{ devices = 4 of mine {budget} }}
}}
"""
FULL = (
    "memory = 24 GB fp32 = 82 TFLOP/s tf32 = 82 TFLOP/s bf16 = 165 TFLOP/s bandwidth = 1008 GB/s watts = 450"
)


def loaded(tmp_path: Path, device: str = FULL, precision: str = "bf16", budget: str = "") -> Study:
    path = tmp_path / "own.study"
    path.write_text(TEXT.format(device=device, precision=precision, budget=budget))
    study, problems = load_study(path)
    assert study is not None, problems
    return study


def test_it_is_what_the_same_row_of_the_table_would_be(tmp_path: Path) -> None:
    row = DEVICES["rtx4090"]
    device = DeclaredDevice(
        "mine", row.memory_bytes, row.peak_flops["fp32"], row.peak_flops["tf32"], row.peak_flops["bf16"], row.bandwidth,
        row.board_watts, None, "USD",
    )  # fmt: skip
    ours, shipped = declared_profile(device), BUILT_IN["rtx4090"]
    assert (ours.speeds, ours.memory_bytes, ours.watts) == (
        shipped.speeds,
        shipped.memory_bytes,
        shipped.watts,
    )
    assert ours.device == "mine"


def test_units_are_those_of_the_language(tmp_path: Path) -> None:
    [device] = loaded(tmp_path, f"{FULL} price = 0.40 USD/h").devices
    assert (device.memory_bytes, device.fp32, device.bf16, device.bandwidth, device.watts) == (
        24e9, 82e12, 165e12, 1.008e12, 450.0,
    )  # fmt: skip


def test_what_it_doesnt_state_is_the_nearest_shipped_ones(tmp_path: Path) -> None:
    study = loaded(tmp_path, "memory = 24 GB fp32 = 82 TFLOP/s bf16 = 165 TFLOP/s")
    profile = device_profile(study, tmp_path / "no store")
    assert profile.watts == BUILT_IN["rtx4090"].watts


def test_its_price_stands_where_the_budget_has_none(tmp_path: Path) -> None:
    priced = f"{FULL} price = 0.40 USD/h"
    assert loaded(tmp_path, priced).budget.price_per_device_hour == pytest.approx(0.4)
    assert loaded(tmp_path, priced, budget="price = 2 USD/h").budget.price_per_device_hour == pytest.approx(
        2.0
    )


def test_a_plan_of_it_is_kept_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded(tmp_path, f"{FULL} price = 0.40 USD/h")
    plan = tmp_path / "P.json"
    assert main(["plan", str(tmp_path / "own.study"), "--store", str(tmp_path / "s"), "-o", str(plan)]) == 0
    assert "4 of mine" in capsys.readouterr().out
    assert main(["plan", str(plan), "--store", str(tmp_path / "s")]) == 0
    assert "4 of mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("device", "precision", "code"),
    [
        ("memory = 24 GB", "fp32", "V103"),
        ("memory = 24 GB fp32 = 82 TFLOP", "fp32", "U102"),
        ("memory = 24 GB fp32 = 82 TB/s", "fp32", "U102"),
        ("memory = 24 GB fp32 = 82 TFLOP/s", "bf16", "B115"),
    ],
)
def test_what_cant_be_is_told(
    tmp_path: Path, device: str, precision: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.study"
    path.write_text(TEXT.format(device=device, precision=precision, budget=""))
    assert main(["plan", str(path), "--store", str(tmp_path / "s")]) == 1
    assert f"error[{code}]" in capsys.readouterr().err


def test_a_shipped_name_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.study"
    text = TEXT.format(device=FULL, precision="fp32", budget="")
    path.write_text(text.replace("device mine", "device h100").replace("of mine", "of h100"))
    assert main(["check", str(path)]) == 1
    assert "error[N105]" in capsys.readouterr().err
