"""File -> Plan for every command that needs one: load, look into the store, compile; or read a PLAN.json.

What goes wrong is raised as UserError. Imports neither torch nor mlflow nor deepspeed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from isoloss.compiler.plan import DeviceProfile, Observation, Plan
from isoloss.dsl.diagnostics.collector import with_source
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Severity
from isoloss.dsl.study.study import Study
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
    from isoloss.compiler.cost.devices import BUILT_IN, declared_profile
    from isoloss.plans.stored_profile import stored_profile

    kind = study.budget.devices.kind
    measured = stored_profile(store, kind)
    if measured is not None:
        return measured
    declared = next((device for device in study.devices if device.name == kind), None)
    if declared is not None:
        return declared_profile(declared)
    if kind not in BUILT_IN:
        listed = ", ".join(f"`{name}`" for name in BUILT_IN)
        raise fault("B109", f"no profile of device `{kind}`", f"devices with a profile: {listed}")
    return BUILT_IN[kind]


def stored_observations(store: str | Path) -> tuple[Observation, ...]:
    """What a store has measured; nothing where there is no store yet."""
    path = Path(store)
    if not path.exists():
        return ()
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store.store import Store

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
    columns: str | None = None,
    stale: Severity = "error",
) -> tuple[Plan, list[Diagnostic]]:
    """The plan of a study file, or the plan in a PLAN.json, checked. `store` adds what it has measured,
    `runs` a table of runs made elsewhere, `columns` the text of its `--columns`. A PLAN.json comes with what has
    changed since; raises UserError P111 where it is of another study than is now in its file, unless `stale` says
    that a warning will do."""
    if is_plan(path):
        _refuse_changes({"--profile": profile, "--set": overrides, "--runs": runs})
        return _plan_on_disk(path, store, stale)
    study, warnings = load(path, profile, overrides)
    observations = stored_observations(store) if store is not None else ()
    speed = device_profile(study, store)
    plan, lint = compile_loaded(study, observations, speed)
    if runs is not None:
        more, notes = _table_observations(runs, columns, plan)
        plan, lint = compile_loaded(study, (*observations, *more), speed)
        warnings += notes
    return plan, [*warnings, *lint]


def is_plan(path: str) -> bool:
    """Whether an argument FILE-or-PLAN names a plan."""
    return path.endswith(".json")


def _plan_on_disk(path: str, store: str | Path | None, stale: Severity) -> tuple[Plan, list[Diagnostic]]:
    from isoloss.compiler.plans.plan_file import read_plan
    from isoloss.plans.plan_is_current import as_notes, changes_since
    from isoloss.plans.study_is_current import study_changed, study_in

    plan, problem = read_plan(path)
    if plan is None:
        assert problem is not None
        raise UserError([problem])
    changed = study_changed(plan, path, severity=stale)
    if changed is not None:
        if stale == "error":
            raise UserError([changed])
        return plan, [changed]
    if store is None:
        return plan, []
    changes = changes_since(
        plan, stored_observations(store), device_profile(study_in(plan), store), str(store)
    )
    return plan, as_notes(changes, path)


def _refuse_changes(options: Mapping[str, object]) -> None:
    """A plan on disk is shown as it was made: what changes a study can't change it in silence."""
    given = [f"`{option}`" for option, value in options.items() if value]
    if given:
        raise fault(
            "R109",
            f"{' and '.join(given)} would change a study; a plan has its study resolved already",
            "give the .study file with them, or the plan without",
        )


def _table_observations(
    runs: str, columns: str | None, plan: Plan
) -> tuple[tuple[Observation, ...], list[Diagnostic]]:
    """What a table of runs says of a plan's runs. Raises UserError with the table's mistakes."""
    from isoloss.compiler.tables import read_table
    from isoloss.compiler.tables.match import match

    table, mistakes = read_table(runs, columns)
    if table is None:
        raise UserError(mistakes)
    matched = match(table, plan)
    notes = list(mistakes)
    if matched.unmatched:
        names = ", ".join(f"`{name}`" for name in matched.unmatched[:5])
        headline = f"{len(matched.unmatched)} runs of `{runs}` are no cell of the study: {names}"
        helps = ("a run is found by its params, its images and its fid, in the generator's `features`",)
        notes.append(Diagnostic("L505", headline, None, help=helps, severity="warning"))
    return matched.observations, notes


def write_text(path: str, data: bytes) -> None:
    """Write a file a user named. Raises UserError P105 where it can't be written."""
    if path == "-":
        sys.stdout.write(data.decode())
        return
    from isoloss.runtime.disk import write_whole

    try:
        write_whole(Path(path), data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        folder = Path(path).parent
        # The file's own absence is no reason: it is the folder that isn't there.
        missing = isinstance(error, FileNotFoundError) and not folder.is_dir()
        problem = f"there is no folder `{folder}`" if missing else reason.lower()
        help = f"make the folder first: `mkdir -p {folder}`" if missing else "choose another place"
        raise fault("P105", f"can't write `{path}`: {problem}", help) from None
