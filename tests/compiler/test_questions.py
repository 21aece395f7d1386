"""From N* to a network that exists, and a follow-up that the budget no longer holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from simulated import observe
from studies import study

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plans.totals import bill_flops
from isoloss.compiler.questions.buildable_networks import Network, buildable, nearest, per_image_rule
from isoloss.drawings.dag_picture import boxes

CIFAR = {"kind": "cifar10"}
TRADES, PGD = {"kind": "trades", "beta": 5.0}, {"kind": "pgd", "steps": 10, "restarts": 1}
GRID = [{"kind": "wrn", "depth": d, "width": w} for d, w in ((28, 4), (58, 12), (82, 16))]


def test_the_rule_of_sizes_follows_real_networks() -> None:
    networks = buildable(GRID, CIFAR, TRADES, PGD)
    rule = per_image_rule(networks)
    sizes = np.array([float(n.params) for n in networks])
    exact = np.array([n.flops_per_image for n in networks])
    assert np.abs(rule(sizes) / exact - 1).max() < 0.02
    assert rule(np.array([1e12]))[0] == pytest.approx(7822e12, rel=0.02)
    assert nearest(networks, 36_479_194).params == pytest.approx(36_479_194, rel=0.02)


FIT = "fit law { law = chinchilla resamples = 20 }"


def test_a_follow_up_that_no_longer_fits_is_said(tmp_path: Path) -> None:
    """What an accuracy needs is known once its law is: here more than the cells leave."""
    ask = "allocate check { law = law accuracy = 88% generator = fine evaluate = [robust] }"
    base = study(tmp_path, fits=FIT, ask=ask, budget="budget { compute = 5 TFLOP choose = all }")
    first, _ = compile_study(base, (), BUILT_IN["cpu"])
    assert first is not None
    needed = sum(bill_flops(job.cost) for job in first.jobs)
    text = f"budget {{ compute = {needed * 1.001:.0f} FLOP choose = all }}"
    tight = study(tmp_path, fits=FIT, ask=ask, budget=text)
    plan, problems = compile_study(tight, observe(first), BUILT_IN["cpu"])
    assert plan is not None
    assert "B108" in {p.code for p in problems}
    assert not [job for job in plan.jobs if job.facts.allocation]
    assert sum(bill_flops(job.cost) for job in plan.jobs) <= needed * 1.001


def test_three_thousand_jobs_make_a_readable_picture(tmp_path: Path) -> None:
    grid = (
        "grid runs { model in [cnn(1), cnn(2), cnn(4)] generator in [coarse, fine] images in [4k, 8k] "
        "recipe = trades seed in 0..124 }"
    )
    plan, _ = compile_study(
        study(tmp_path, grid=grid, budget="budget { devices = 2 of cpu }"), (), BUILT_IN["cpu"]
    )
    assert plan is not None
    assert len(plan.jobs) > 3000
    made = boxes(plan)
    assert len(made) <= 60
    known = {box.key: box.layer for box in made}
    assert all(known[need] < box.layer for box in made for need, _ in box.needs)
    assert sum(sum(box.states.values()) for box in made) == len(plan.jobs)


def test_classes_of_size_are_narrow() -> None:
    """Networks a tenth apart in size keep their own cost per parameter: no class of the rule holds two of them."""
    sizes = (1_000_000, 1_100_000, 1_210_000, 1_331_000)
    counted = count({"kind": "cnn", "width": 1}, {"kind": "digits"})
    networks = [Network({"kind": "a", "n": n}, n, n * (1.0 + 0.1 * k), counted) for k, n in enumerate(sizes)]
    rule = per_image_rule(networks)
    for network in networks:
        assert float(rule(np.array([network.params]))[0]) == pytest.approx(network.flops_per_image, rel=1e-9)
