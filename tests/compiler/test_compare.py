"""`compare`: pairs over everything else that varies, verdicts, further seeds, and the design that buys them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from studies import plan_of, study_of_text

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.observed.comparison import right_images
from isoloss.compiler.plan import Answer, EvaluateSpec, Job, Observation, Plan, TrainSpec, accuracy_metric
from isoloss.dsl.study.study import Study

TEXT = """study small {{ dataset digits
recipe strong {{ loss = pgd_at() attack = pgd(eps = 0.1, steps = 2) batch = 64 lr = 0.1 }}
recipe weak extends strong {{ lr = 0.2 }}
evaluate robust {{ attack = pgd(eps = 0.1, steps = 3) images = 800 }}
grid runs {{ model = cnn(1) images in [4k, 8k] recipe in [strong, weak] seed in 0..{last} }}
budget {{ {budget} }}
compare better {{ by = recipe {more} }} }}"""


def study(tmp_path: Path, last: int = 2, budget: str = "devices = 1 of cpu", more: str = "") -> Study:
    return study_of_text(tmp_path, TEXT.format(last=last, budget=budget, more=more))


def measured(job: Job, accuracy: float, right: np.ndarray | None = None) -> Observation:
    assert isinstance(job.spec, EvaluateSpec)
    packed = None if right is None else np.packbits(right).tobytes().hex()
    return Observation(
        job.id, "evaluate", accuracy_metric(job.spec.attack), accuracy, count=800, run=job.spec.network, right=packed
    )  # fmt: skip


def results(plan: Plan, gap: float, spread: float, noise: int = 0) -> list[Observation]:
    """What runs come to: `strong` better by `gap`, every seed and recipe moved by its own chance."""
    found: list[Observation] = []
    for job in plan.jobs:
        if isinstance(job.spec, TrainSpec):
            found.append(Observation(job.id, "train", "images drawn", 1.0, seed=job.spec.seed))
        elif isinstance(job.spec, EvaluateSpec):
            rng = np.random.default_rng([noise, *job.id.encode()])
            strong = "strong" in job.name
            found.append(measured(job, 0.5 + gap * strong + spread * float(rng.standard_normal())))
    return found


def compiled(asked: Study, observations: Iterable[Observation]) -> Plan:
    plan, problems = compile_study(asked, list(observations), BUILT_IN["cpu"])
    assert plan is not None, problems
    return plan


def answer(plan: Plan) -> Answer:
    [found] = [a for a in plan.answers if a.kind == "compare"]
    return found


def test_it_waits_for_its_runs(tmp_path: Path) -> None:
    asked = answer(plan_of(study(tmp_path)))
    assert (asked.status, asked.pairs, asked.evaluation, asked.metric) == (
        "pending",
        (),
        "robust",
        "accuracy",
    )
    assert "0 of 12 runs" in asked.notes[0]


def test_a_clear_difference_is_told_apart(tmp_path: Path) -> None:
    asked = study(tmp_path)
    found = answer(compiled(asked, results(plan_of(asked), 0.2, 0.005)))
    [pair] = found.pairs
    assert (found.status, pair.a, pair.b, pair.verdict, pair.more_seeds) == (
        "answered",
        "strong",
        "weak",
        "better",
        None,
    )
    assert pair.seeds == 3
    assert pair.interval is not None
    assert pair.interval[0] < 0.2 < pair.interval[1]


def test_a_small_difference_stays_open_and_says_how_many_seeds(tmp_path: Path) -> None:
    asked = study(tmp_path)
    [pair] = answer(compiled(asked, results(plan_of(asked), 0.08, 0.1, noise=1))).pairs
    assert pair.verdict == "open"
    assert pair.more_seeds is not None
    assert pair.more_seeds >= 1


def test_the_same_within(tmp_path: Path) -> None:
    asked = study(tmp_path, last=9, more="within = 8%")
    [pair] = answer(compiled(asked, results(plan_of(asked), 0.0, 0.005))).pairs
    assert pair.verdict == "same"


def test_one_seed_tells_nothing(tmp_path: Path) -> None:
    asked = study(tmp_path, last=0, more="over = (runs where images == 4k)")
    [pair] = answer(compiled(asked, results(plan_of(asked), 0.3, 0.0))).pairs
    assert (pair.verdict, pair.interval, pair.seeds) == ("open", None, 1)


def test_images_that_both_get_wrong_tell_nothing_apart(tmp_path: Path) -> None:
    """Two networks that differ in few images differ by less than two samples of test images would."""
    asked = study(tmp_path)
    plan = plan_of(asked)
    without, paired = [], []
    for job in plan.jobs:
        if isinstance(job.spec, TrainSpec):
            trained = Observation(job.id, "train", "images drawn", 1.0)
            without.append(trained)
            paired.append(trained)
        elif isinstance(job.spec, EvaluateSpec):
            right = np.arange(800) < (420 if "strong" in job.name else 400)
            without.append(measured(job, float(right.mean())))
            paired.append(measured(job, float(right.mean()), right))
    intervals = [answer(compiled(asked, each)).pairs[0].interval for each in (without, paired)]
    wide, narrow = (high - low for low, high in intervals)  # type: ignore[misc]
    assert narrow < 0.5 * wide


def test_packed_images_come_back() -> None:
    right = np.random.default_rng(0).random(803) < 0.4
    assert np.array_equal(right_images(np.packbits(right).tobytes().hex(), 803), right)  # type: ignore[arg-type]
    assert right_images("zz", 8) is None
    assert right_images("ff", 80) is None


@pytest.mark.parametrize(("gap", "most"), [(0.4, 6), (0.1, 24)])
def test_a_design_buys_the_seeds_that_decide(tmp_path: Path, gap: float, most: int) -> None:
    """Three of each first; then no more than the open pair needs, twice as many at once at most."""
    asked = study(
        tmp_path,
        last=11,
        budget="devices = 1 of cpu choose = design",
        more="over = (runs where images == 4k)",
    )
    known: list[Observation] = []
    sizes: list[int] = []
    while not sizes or sizes[-1] > (sizes[-2] if len(sizes) > 1 else 0):
        plan = compiled(asked, known)
        known = results(plan, gap, 0.06)
        sizes.append(sum(job.kind == "train" for job in plan.jobs))
    assert sizes[0] == 6
    assert all(later <= 2 * earlier for earlier, later in pairwise(sizes))
    assert sizes[-1] <= most
    last = compiled(asked, known)
    [pair] = answer(last).pairs
    assert pair.verdict == "better" or sizes[-1] == 24
    assert all("compar" in each.reason for each in last.dropped)
    assert all("comparison `better` needs" in j.reason for j in plan_of(asked).jobs if j.kind == "train")
