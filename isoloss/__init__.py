"""isoloss: a declarative experiment language with compiled training plans for adversarial robustness.

The public Python API, loaded on first use so that `import isoloss` costs nothing:

    study, mistakes = isoloss.load_study("limits.study", profile="laptop")
    plan, warnings = isoloss.compile_study(study, observations, isoloss.BUILT_IN["h100"])
    fit = isoloss.fit_law("chinchilla", points)
    store = isoloss.Store("isoloss-store")
    table = isoloss.results("isoloss-store", by=("recipe",))

A `Study` built from the dataclasses of `isoloss.dsl.study.study` is the same `Study` as one read from text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoloss.compiler.compile import compile_study
    from isoloss.compiler.cost.devices import BUILT_IN
    from isoloss.compiler.laws.fitting.fit import fit_law
    from isoloss.compiler.laws.fitting.fitted import LawFit
    from isoloss.compiler.laws.points import Points
    from isoloss.compiler.laws.portfolio import Portfolio
    from isoloss.compiler.plan import Observation, Plan
    from isoloss.compiler.plans.plan_json import plan_from_json, plan_to_json
    from isoloss.dsl.load import load_study
    from isoloss.dsl.study.study import Study
    from isoloss.dsl.study.study_json import study_from_json, study_to_json
    from isoloss.loop import run_study
    from isoloss.measured import results
    from isoloss.report import write_report
    from isoloss.runtime.store.store import Store

__version__: str

_HOMES = {
    "BUILT_IN": "compiler.cost.devices",
    "LawFit": "compiler.laws.fitting.fitted",
    "Observation": "compiler.plan",
    "Plan": "compiler.plan",
    "Points": "compiler.laws.points",
    "Portfolio": "compiler.laws.portfolio",
    "Store": "runtime.store.store",
    "Study": "dsl.study.study",
    "compile_study": "compiler.compile",
    "fit_law": "compiler.laws.fitting.fit",
    "load_study": "dsl.load",
    "plan_from_json": "compiler.plans.plan_json",
    "plan_to_json": "compiler.plans.plan_json",
    "results": "measured",
    "run_study": "loop",
    "study_from_json": "dsl.study.study_json",
    "study_to_json": "dsl.study.study_json",
    "write_report": "report",
}

__all__ = [
    "BUILT_IN",
    "LawFit",
    "Observation",
    "Plan",
    "Points",
    "Portfolio",
    "Store",
    "Study",
    "compile_study",
    "fit_law",
    "load_study",
    "plan_from_json",
    "plan_to_json",
    "results",
    "run_study",
    "study_from_json",
    "study_to_json",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("isoloss.compiler.plan").VERSION
    if name not in _HOMES:
        raise AttributeError(f"isoloss has no `{name}`; it has {', '.join(__all__)}")
    return getattr(import_module(f"isoloss.{_HOMES[name]}"), name)
