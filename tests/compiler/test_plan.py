"""Plans: goldens a person can review, and laws that every plan obeys."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studies import BASE, ROOT, example, plan_of, study, study_of_text, text

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import Plan, TrainSpec, job_id
from isoloss.compiler.plans.plan_file import parse_plan
from isoloss.compiler.plans.plan_json import plan_from_json, plan_to_json
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.study.study import Axis, Study

GOLDEN = ROOT / "tests" / "studies" / "golden"


def reviewed(plan: Plan) -> bytes:
    """What a person reviews of a plan: jobs, costs, budget; floats to six digits, file names without folders."""
    data = orjson.loads(plan_to_json(plan))
    keep = {key: data[key] for key in ("answers", "budget", "dropped", "jobs", "totals", "warnings")}
    return orjson.dumps(
        _six(keep), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    )


def _six(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: Path(entry).name if key == "file" else _six(entry) for key, entry in value.items()}
    return [_six(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["grid", "waits", "dropped"])
def test_golden_plans(name: str, request: pytest.FixtureRequest) -> None:
    path = ROOT / "tests" / "studies" / f"{name}.study"
    found = reviewed(plan_of(study_of_text_file(path)))
    golden = GOLDEN / f"{name}.plan.json"
    if request.config.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(found)
    difference = next(differences(orjson.loads(golden.read_bytes()), orjson.loads(found)), None)
    assert difference is None, (
        f"the plan of {path.name} has changed: --update-golden, and say why: {difference}"
    )


#: Relative: what a design computes differs in its fifth digit between kinds of CPU, whose BLAS adds in another
#: order. Bytes are promised equal on one machine only.
ALIKE = 1e-3
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def differences(golden: Any, found: Any, at: str = "plan") -> Iterator[str]:
    """Where two reviewed plans differ by more than rounding, numbers inside sentences included."""
    if isinstance(golden, dict) and isinstance(found, dict) and golden.keys() == found.keys():
        for key in golden:
            yield from differences(golden[key], found[key], f"{at}.{key}")
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        for index, (left, right) in enumerate(zip(golden, found, strict=True)):
            yield from differences(left, right, f"{at}[{index}]")
    elif isinstance(golden, float) and isinstance(found, float | int):
        if not math.isclose(golden, found, rel_tol=ALIKE):
            yield f"{at}: {golden} became {found}"
    elif isinstance(golden, str) and isinstance(found, str):
        numbers = [[float(n) for n in _NUMBER.findall(text)] for text in (golden, found)]
        close = len(numbers[0]) == len(numbers[1]) and all(
            math.isclose(left, right, rel_tol=ALIKE) for left, right in zip(*numbers, strict=True)
        )
        if golden != found and (_NUMBER.sub("#", golden) != _NUMBER.sub("#", found) or not close):
            yield f"{at}: {golden!r} became {found!r}"
    elif golden != found:
        yield f"{at}: {golden!r} became {found!r}"


def study_of_text_file(path: Path) -> Study:
    from isoloss.dsl.load import load_study

    found, problems = load_study(path)
    assert found is not None, problems
    return found


# The paper's design.


@pytest.fixture(scope="module")
def paper() -> Plan:
    return plan_of(example("robustness_limits"))


def test_the_paper_is_priced_cell_by_cell(paper: Plan) -> None:
    trained = [job for job in (*paper.jobs, *paper.dropped) if isinstance(job.spec, TrainSpec)]
    assert len(trained) == 232
    for job in trained:
        spec = job.spec
        assert isinstance(spec, TrainSpec)
        drawn = spec.train_steps * spec.recipe["batch"]
        forward = count(spec.model, spec.dataset).forward_flops
        assert job.cost.flops == pytest.approx(27 * forward * drawn, rel=1e-9)
        assert job.facts.images == drawn


def test_the_paper_names_what_it_could_not_estimate(paper: Plan) -> None:
    generated = [job for job in paper.jobs if job.kind == "generate"]
    assert generated
    assert all(job.cost.flops is None and job.cost.unknown for job in generated)
    assert paper.totals["generate"].unknown
    assert paper.totals["train"].seconds is not None


def test_parts_add_up(paper: Plan) -> None:
    for job in paper.jobs[::7]:
        known = sum(part.flops or 0.0 for part in cost.parts(job.spec))
        assert known == pytest.approx(bill_flops(job.cost), rel=1e-12)
    everything = paper.totals["all"]
    kinds = [total for kind, total in paper.totals.items() if kind != "all"]
    assert sum(t.flops or 0 for t in kinds) == pytest.approx(everything.flops)
    assert sum(t.evaluation_flops for t in kinds) == pytest.approx(everything.evaluation_flops)


def test_planning_loads_no_training_library() -> None:
    code = (
        "import sys; from isoloss.cli import main; status = main(sys.argv[1:]);"
        "loaded = {'torch', 'mlflow', 'deepspeed'} & set(sys.modules);"
        "sys.exit(f'loaded: {loaded}' if loaded else status)"
    )
    paths = ["plan", "examples/robustness_limits.study", "--store", "no-such-store"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


# Laws of every plan.


def studies() -> st.SearchStrategy[Study]:
    """Grids of a few cells under all kinds of budgets."""
    base = example("quickstart")

    def build(widths: list[int], images: list[int], seeds: int, budget: float | None, choose: str) -> Study:
        axes = {axis.names: axis for axis in base.grids[0].axes}
        from isoloss.dsl.study.study import Call

        axes["model",] = Axis(("model",), tuple((Call("cnn", (("width", w),)),) for w in widths))
        axes["images",] = Axis(("images",), tuple((n,) for n in images))
        axes["seed",] = Axis(("seed",), tuple((n,) for n in range(seeds)))
        grid = replace(base.grids[0], axes=tuple(axes.values()))
        limits = replace(base.budget, compute_flops=budget, choose=choose)
        return replace(base, grids=(grid,), budget=limits, fits=(), forecasts=(), allocations=())

    return st.builds(
        build,
        st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
        st.lists(st.integers(200, 60_000), min_size=1, max_size=3, unique=True),
        st.integers(1, 2),
        st.none() | st.floats(1e9, 1e13),
        st.sampled_from(["cheapest", "design"]),
    )


LIGHT = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def planned(some: Study) -> Plan | None:
    return compile_study(some, (), BUILT_IN["cpu"])[0]


@LIGHT
@given(studies())
def test_needs_precede_users_and_nothing_is_twice(some: Study) -> None:
    plan = planned(some)
    if plan is None:
        return
    seen: set[str] = set()
    for job in plan.jobs:
        assert job.id not in seen
        assert seen.issuperset(job.needs)
        assert job.id == job_id(job.spec)
        seen.add(job.id)
    assert not seen & {d.id for d in plan.dropped}


@pytest.mark.parametrize("choose", ["cheapest", "design", "all"])
def test_a_training_of_two_grids_is_chosen_and_paid_once(choose: str) -> None:
    base = example("quickstart")
    both = replace(base.grids[0], name="again")
    alone = planned(base)
    assert alone is not None
    used = alone.budget["used_flops"] + alone.budget["reserved_flops"]
    budget = replace(base.budget, compute_flops=used * 1.001, choose=choose)
    plan = planned(replace(base, grids=(base.grids[0], both), budget=budget))
    assert plan is not None
    assert not {job.id for job in plan.jobs} & {each.id for each in plan.dropped}
    if choose != "design":
        assert not plan.dropped
        assert len(plan.jobs) == len(alone.jobs)


@LIGHT
@given(studies())
def test_cost_stays_within_the_budget(some: Study) -> None:
    plan = planned(some)
    limit = some.budget.compute_flops
    if plan is not None and limit is not None:
        assert sum(bill_flops(job.cost) for job in plan.jobs) <= limit * (1 + 1e-12)


@LIGHT
@given(studies(), st.floats(1.0, 20.0))
def test_a_larger_budget_never_chooses_fewer(some: Study, factor: float) -> None:
    limit = some.budget.compute_flops
    if limit is None:
        return
    larger = replace(some, budget=replace(some.budget, compute_flops=limit * factor))
    small, large = planned(some), planned(larger)
    if small is not None:
        assert large is not None
        assert {j.id for j in small.jobs if j.kind == "train"} <= {j.id for j in large.jobs}


@LIGHT
@given(studies())
def test_plans_round_trip_and_are_pure(some: Study) -> None:
    plan = planned(some)
    if plan is None:
        return
    text = plan_to_json(plan)
    assert plan_to_json(plan_from_json(text)) == text
    again = planned(some)
    assert again is not None
    assert plan_to_json(again) == text


# What makes a job another job.


def ids(plan: Plan) -> set[str]:
    return {job.id for job in plan.jobs}


def test_order_of_declarations_is_irrelevant(tmp_path: Path) -> None:
    lines = {"recipe": BASE["recipe"], "grid": BASE["grid"], "budget": BASE["budget"], "fine": BASE["fine"]}
    shuffled = "study small {\n" + "\n".join(
        f"  {line}" for line in (*lines.values(), BASE["robust"], BASE["coarse"], BASE["dataset"])
    )
    assert ids(plan_of(study_of_text(tmp_path, shuffled + "\n}\n"))) == ids(plan_of(study(tmp_path)))


def test_removing_a_seed_removes_exactly_its_jobs(tmp_path: Path) -> None:
    both = plan_of(study(tmp_path))
    one = plan_of(study(tmp_path, grid=BASE["grid"].replace("[0, 1]", "[0]")))
    gone = ids(both) - ids(one)
    assert ids(one) < ids(both)
    assert gone == {j.id for j in both.jobs if j.kind in ("train", "evaluate") and j.spec.seed == 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("study small", "study other"),
        ("  grid runs", "  # a comment\n\n  grid    another"),
        ("evaluate robust {", "evaluate   robust {"),
        ("0.15", "3/20"),
        ("100k", "100000"),
        ("compute = 5 TFLOP", "compute = 6 TFLOP"),
        ("2 of cpu", "3 of cpu"),
        ("budget {", "budget { price = 2 USD/h walltime = 9 h"),
        ("trades {", "recipe_of_mine {"),
        ("coarse", "rough"),
        ("seed in [0, 1]", "seed in 0..1"),
        ("32 if images <= 8k else 64", "64 if images > 8k else 32"),
        ("lr = 0.1", "lr = 0.1 if images > 1 else 7"),
        ("edm(steps = 3)", "edm(steps = 3) features = pixels"),
        ("edm(steps = 3)", "edm(steps = 3) features = pixels(images = 10k, reference = none)"),
    ],
)
def test_cosmetic_edits_change_no_id(tmp_path: Path, old: str, new: str) -> None:
    before = text()
    assert old in before
    after = before.replace(old, new)
    if new.startswith("recipe_of_mine"):
        after = after.replace("recipe = trades", "recipe = recipe_of_mine")
    assert ids(plan_of(study_of_text(tmp_path, after))) == ids(plan_of(study_of_text(tmp_path, before)))


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ("beta = 5", "beta = 6", {"train", "evaluate"}),
        ("eps = 0.15, steps = 10", "eps = 0.15, steps = 9", {"train", "evaluate"}),
        ("steps = 40", "steps = 39", {"train", "evaluate"}),
        ("every 50%", "every 25%", {"train", "evaluate"}),
        ("lr = 0.1", "lr = 0.2", {"train", "evaluate"}),
        ("lr = 0.1", "lr = 0.1 clip = 1", {"train", "evaluate"}),
        ("lr = 0.1", "lr = 0.1 precision = bf16", {"train", "evaluate"}),
        ("lr = 0.1", "lr = 0.1 average = none", {"train", "evaluate"}),
        ("images = 100k", "images = 100k features = pixels(images = 9k)", {"fid"}),
        ("images = 100k", 'images = 100k features = pixels(reference = "m.npz")', {"fid"}),
        ("images = 100k", 'images = 100k features = inception(reference = "m.npz", images = 10k)', {"fid"}),
        ("steps = 20", "steps = 19", {"generate", "fid", "train", "evaluate"}),
        ("components = 4", "components = 3", {"generate", "fid", "train", "evaluate"}),
    ],
)
def test_semantic_edits_change_what_depends_on_them(
    tmp_path: Path, old: str, new: str, kinds: set[str]
) -> None:
    ample = text(budget=BASE["budget"].replace("5 TFLOP", "5 EFLOP"))
    before, after = (plan_of(study_of_text(tmp_path, t)) for t in (ample, ample.replace(old, new)))
    changed = {job.kind for job in after.jobs if job.id not in ids(before)}
    assert changed == kinds
    same = [job for job in after.jobs if job.id in ids(before)]
    assert {job.kind for job in same}.isdisjoint(kinds) or "steps = 2" in old


SOURCES = {
    "coarse": 'generator coarse { from = "made/*.npz" images = 20k }',
    "fine": "generator fine { from = real images = 500 fid = measured }",
    "mix": "mix mixed { generator = coarse real = 1/8 }",
    "grid": BASE["grid"].replace("[coarse, fine]", "[coarse, fine, mixed]"),
    "budget": "budget { choose = all }",
}


def kinds_by_generator(plan: Plan) -> dict[str, set[tuple[str, str]]]:
    """(generator, kind) -> ids of its jobs."""
    found: dict[str, set[tuple[str, str]]] = {}
    for job in plan.jobs:
        found.setdefault(f"{job.facts.generator} {job.kind}", set()).add((job.id, job.name))
    return found


def depends(*generators: str) -> set[str]:
    return {f"{g} {kind}" for g in generators for kind in ("fid", "train", "evaluate")}


TRAINED = {f"{g} {kind}" for g in ("coarse", "fine", "mixed") for kind in ("train", "evaluate")}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("made/*.npz", "made/a.npz", {"coarse import"} | depends("coarse", "mixed")),
        ('*.npz"', f'*.npz" sha256 = "{"a" * 64}"', {"coarse import"} | depends("coarse", "mixed")),
        ("images = 20k", "images = 21k", {"coarse import"} | depends("coarse", "mixed")),
        ("from = real images = 500", "from = real images = 501", depends("fine")),
        ("from = real images = 500", "from = real", depends("fine")),
        ("real = 1/8", "real = 1/9", depends("mixed")),
        ("real = 1/8", "real = 0.125", set()),
        ("fid = measured", "fid = 0", {"fine fid"}),
        ("real = 1/8", "real = 12.5%", set()),
        ("images = 20k", "images = 20k passes = 3", set()),
        ("images = 20k", 'images = 20k licence = "CC BY"', set()),
        ("images = 500", "images = 500 passes = 200", set()),
        ("loss = cw) }", "loss = cw) split = validation }", TRAINED),
        ("loss = cw) }", "loss = cw) images = 800 }", TRAINED),
        ("loss = cw) }", "loss = cw) split = test }", set()),
    ],
)
def test_sources_change_what_depends_on_them(tmp_path: Path, old: str, new: str, changed: set[str]) -> None:
    """Each edit changes the jobs of exactly these generators and kinds; a FID that is stated is no job."""
    before = text(**SOURCES)
    assert old in before
    one, other = (
        kinds_by_generator(plan_of(study_of_text(tmp_path, t))) for t in (before, before.replace(old, new))
    )
    for key in one.keys() | other.keys():
        ids_before, ids_after = ({id for id, _ in each.get(key, ())} for each in (one, other))
        if key in changed:
            assert ids_before.isdisjoint(ids_after), key
            assert key != "fine fid" or "fid = 0" not in new or not ids_after
        else:
            assert ids_before == ids_after, key


def test_resolution_and_curves_are_the_datasets_identity(tmp_path: Path) -> None:
    """Squiggles in another size, or other curves, share no job; another word for the same thing shares all."""
    parts = SOURCES | {
        "coarse": "generator coarse { from = real }",
        "mix": "",
        "fine": "",
        "budget": BASE["budget"],
    }
    parts |= {"grid": BASE["grid"].replace("[coarse, fine]", "[coarse]"), "robust": BASE["robust"]}

    def ids_on(dataset: str) -> set[str]:
        source = (
            text(**parts, dataset=f"dataset {dataset}")
            .replace("compute = 5 TFLOP", "")
            .replace("cheapest", "all")
        )
        return ids(plan_of(study_of_text(tmp_path, source)))

    whole = ids_on("squiggles(variant = sinenet)")
    assert whole == ids_on("squiggles(sinenet, resolution = 60, units = 300)")
    for other in ("sinenet, resolution = 28", "sinenet, units = 25", "taylor"):
        assert whole.isdisjoint(ids_on(f"squiggles({other})"))


# Plans from disk.


def test_an_edited_plan_is_refused(tmp_path: Path) -> None:
    data = orjson.loads(plan_to_json(plan_of(study(tmp_path))))
    index = next(i for i, job in enumerate(data["jobs"]) if job["kind"] == "train")
    data["jobs"][index]["spec"]["recipe"]["lr"] = 0.2
    plan, problem = parse_plan(orjson.dumps(data), "PLAN.json")
    assert plan is None
    assert problem is not None
    assert problem.code == "P104"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"", "P102"),
        (b"{", "P102"),
        (b"[]", "P103"),
        (b"null", "P103"),
        (b'{"format": "isoloss.plan/2"}', "P103"),
        (b'{"format": "isoloss.plan/1", "jobs": 3}', "P103"),
        (b"\xff\xfe", "P102"),
    ],
)
def test_a_bad_plan_has_one_message(wrong: bytes, code: str) -> None:
    plan, problem = parse_plan(wrong, "PLAN.json")
    assert plan is None
    assert problem is not None
    assert problem.code == code
