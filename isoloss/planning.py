"""File -> Plan for every command that needs one: load, look into the store, compile; or read a PLAN.json.

What goes wrong is raised as UserError. Imports neither torch nor mlflow nor deepspeed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from isoloss.compiler.plan import DeviceProfile, Observation, Plan
from isoloss.dsl.diagnostics import Diagnostic
from isoloss.dsl.study import Study
from isoloss.errors import UserError, fault


def load(path: str, profile: str | None, overrides: Sequence[str]) -> tuple[Study, list[Diagnostic]]:
    """The checked study of a file, and its warnings. Raises UserError with all its mistakes."""
    from isoloss.dsl.load import load_study

    study, found = load_study(path, profile=profile, overrides=overrides)
    if study is None or any(d.severity == "error" for d in found):
        raise UserError(found)
    return study, list(found)


def device_profile(study: Study, store: str | Path | None = None) -> DeviceProfile:
    """The profile of the budget's device kind: the store's calibration, else the built-in one.

    Raises UserError B109 where there is none, P107 or P108 for a calibration that can't be used here."""
    from isoloss.calibrating import stored_profile
    from isoloss.compiler.devices import BUILT_IN

    kind = study.budget.devices.kind
    measured = stored_profile(store, kind)
    if measured is not None:
        return measured
    if kind not in BUILT_IN:
        known = ", ".join(f"`{name}`" for name in BUILT_IN)
        raise fault("B109", f"no profile of device `{kind}`", f"devices with a profile: {known}")
    return BUILT_IN[kind]


def stored_observations(store: str | Path) -> tuple[Observation, ...]:
    """What a store has measured; nothing where there is no store yet."""
    path = Path(store)
    if not path.exists():
        return ()
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store import Store

    try:
        return Store(path, create=False).observations()
    except JobError as error:
        raise fault(error.code, error.message, *error.help) from None


def compile_loaded(
    study: Study, observations: Sequence[Observation], profile: DeviceProfile | None = None
) -> tuple[Plan, list[Diagnostic]]:
    """The plan and its warnings. Raises UserError where the study has errors that only a compile finds."""
    from isoloss.compiler.compile import compile_study

    plan, found = compile_study(study, observations, profile or device_profile(study))
    if plan is None:
        raise UserError(with_source(found))
    return plan, found


def plan_of(
    path: str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    store: str | Path | None = None,
    runs: str | None = None,
) -> tuple[Plan, list[Diagnostic]]:
    """The plan of a study file, or the plan in a PLAN.json, checked. `store` adds what it has measured,
    `runs` a
    table of runs made elsewhere."""
    if path.endswith(".json"):
        from isoloss.compiler.plan_file import read_plan

        plan, problem = read_plan(path)
        if plan is None:
            assert problem is not None
            raise UserError([problem])
        return plan, []
    study, warnings = load(path, profile, overrides)
    observations = stored_observations(store) if store is not None else ()
    speed = device_profile(study, store)
    plan, found = compile_loaded(study, observations, speed)
    if runs is not None:
        more, notes = _table_observations(runs, plan)
        plan, found = compile_loaded(study, (*observations, *more), speed)
        warnings += notes
    return plan, [*warnings, *found]


def _table_observations(runs: str, plan: Plan) -> tuple[tuple[Observation, ...], list[Diagnostic]]:
    """What a table of runs says of a plan's runs. Raises UserError with the table's mistakes."""
    from isoloss.compiler.tables import read_table
    from isoloss.compiler.tables.match import match

    table, found = read_table(runs)
    if table is None:
        raise UserError(found)
    matched = match(table, plan)
    notes = list(found)
    if matched.unmatched:
        names = ", ".join(f"`{name}`" for name in matched.unmatched[:5])
        headline = f"{len(matched.unmatched)} runs of `{runs}` are no cell of the study: {names}"
        helps = ("a run is found by its params, its images and its fid",)
        notes.append(Diagnostic("L505", headline, None, help=helps, severity="warning"))
    return matched.observations, notes


def with_source(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Diagnostics of the compiler know a place but not its text: add the line, where the file can be read."""
    from dataclasses import replace

    lines: dict[str, list[str]] = {}
    result = []
    for d in found:
        if d.span is not None and d.source_line is None:
            if d.span.file not in lines:
                try:
                    lines[d.span.file] = Path(d.span.file).read_text(encoding="utf-8").splitlines()
                except (OSError, UnicodeDecodeError):
                    lines[d.span.file] = []
            text = lines[d.span.file]
            if 0 < d.span.line <= len(text):
                d = replace(d, source_line=text[d.span.line - 1])
        result.append(d)
    return result


def write_text(path: str, data: bytes) -> None:
    """Write a file a user named. Raises UserError P105 where it can't be written."""
    if path == "-":
        sys.stdout.write(data.decode())
        return
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise fault(
            "P105", f"can't write `{path}`: {error.strerror or error}", "choose another place"
        ) from None
