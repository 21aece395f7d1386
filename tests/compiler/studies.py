"""Studies for the compiler's tests, as text: small changes of one base."""

from __future__ import annotations

from pathlib import Path

from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import Plan
from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Study

ROOT = Path(__file__).resolve().parents[2]

BASE = {
    "dataset": "dataset digits",
    "coarse": "generator coarse { sampler = edm(steps = 3) denoiser = mixture(components = 4) "
    "images = 100k }",
    "fine": "generator fine { sampler = edm(steps = 20) denoiser = mixture(components = 4) images = 100k }",
    "recipe": "recipe trades { loss = trades(beta = 5) attack = pgd(eps = 0.15, steps = 10) "
    "batch = 32 if images <= 8k else 64 lr = 0.1 evaluate = robust at every 50% }",
    "robust": "evaluate robust { attack = pgd(eps = 0.15, steps = 40, loss = cw) }",
    "grid": "grid runs { model in [cnn(1), cnn(2), cnn(4)] generator in [coarse, fine] "
    "images in [4k, 8k, 16k] recipe = trades seed in [0, 1] }",
    "budget": "budget { compute = 5 TFLOP devices = 2 of cpu choose = cheapest }",
}


def text(**parts: str) -> str:
    """The base with parts replaced; an empty one is left out, a new one added."""
    lines = {**BASE, **parts}
    return "study small {\n" + "\n".join(f"  {line}" for line in lines.values() if line) + "\n}\n"


def study(folder: Path, **parts: str) -> Study:
    """The checked study. Raises AssertionError with its mistakes."""
    return study_of_text(folder, text(**parts))


def study_of_text(folder: Path, source: str) -> Study:
    path = folder / "small.study"
    path.write_text(source, encoding="utf-8")
    found, problems = load_study(path)
    assert found is not None, problems
    return found


def example(name: str, profile: str | None = None) -> Study:
    """A study of examples/."""
    found, problems = load_study(ROOT / "examples" / f"{name}.study", profile=profile)
    assert found is not None, problems
    return found


def plan_of(study: Study) -> Plan:
    """Its plan, nothing known yet."""
    plan, problems = compile_study(study, (), BUILT_IN[study.budget.devices.kind])
    assert plan is not None, problems
    return plan
