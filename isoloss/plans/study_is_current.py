"""A plan on disk and its study's file as it is now -> the settings that differ, with their lines.

In: a Plan and the file it was read from. Out: nothing, or the one diagnostic P111. Runs whenever a command is given a
PLAN.json, so that no answer is about another study than the file now holds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from isoloss.compiler.plan import Plan
from isoloss.dsl.diagnostics.collector import is_study_file, with_source
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Severity, Span
from isoloss.dsl.study.changes import Change
from isoloss.dsl.study.study import Study

#: Changed settings that are listed; the others are counted.
_SHOWN = 6


def study_in(plan: Plan) -> Study:
    """The study that a plan carries: reading the plan has checked it."""
    from isoloss.dsl.study.study_json import study_from_json

    return study_from_json(dict(plan.study))


def study_file(study: Study, path: str) -> str | None:
    """The file that a plan's study was read from, found from here or from the folder of the plan `path`. None: the file
    is in neither place, or the study was built in Python."""
    named = study.origin.file
    places = (named, os.path.join(os.path.dirname(path), named)) if named else ()
    return next((place for place in places if is_study_file(place)), None)


def study_changed(plan: Plan, path: str, *, severity: Severity = "error") -> Diagnostic | None:
    """P111 where the study's file, read with the plan's profile and `--set`, now means another study. A file that
    isn't there changes nothing: the plan carries its study whole."""
    from isoloss.dsl.load import load_with_places
    from isoloss.dsl.study.changes import changes

    before = study_in(plan)
    file = study_file(before, path)
    if file is None:
        return None
    after, mistakes, places = load_with_places(file, profile=before.profile, overrides=before.overrides)
    if after is None:
        first = next(d for d in mistakes if d.severity == "error")
        headline = f"`{path}` is stale: `{file}` has mistakes now: {first.headline}"
        helps = (
            f"all of them: `isoloss check {shlex.quote(file)}`",
            *replanning_commands(before, file, path),
        )
        return with_source([Diagnostic("P111", headline, first.span, first.label, helps, severity)])[0]
    differing = changes(before, after)
    if not differing:
        return None
    return with_source([_stale(differing, places, before, file, path, severity)])[0]


def _stale(
    differing: Sequence[Change],
    places: Mapping[str, Span],
    before: Study,
    file: str,
    path: str,
    severity: Severity,
) -> Diagnostic:
    first, *others = differing
    label = "new" if first.before is None else "" if first.after is None else f"was {first.before}"
    helps = [f"also {_told(change, places)}" for change in others]
    if len(helps) >= _SHOWN:
        helps[_SHOWN - 2 :] = [f"and {len(helps) - _SHOWN + 2} more settings"]
    helps += replanning_commands(before, file, path)[: 1 if severity == "warning" else None]
    headline = f"`{path}` is stale: {first}"
    return Diagnostic("P111", headline, _place(first, places), label, tuple(helps), severity)


def _told(change: Change, places: Mapping[str, Span]) -> str:
    place = _place(change, places)
    return f"{change}" + (f" ({place.file}:{place.line})" if place else "")


def _place(change: Change, places: Mapping[str, Span]) -> Span | None:
    """Where the setting stands, else its declaration, else the study."""
    parts = change.path.split(".")
    heads = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((places[head] for head in (*heads, "study") if head in places), None)


def replanning_commands(study: Study, file: str, path: str, store: str | None = None) -> tuple[str, ...]:
    """The commands that make the plan anew, and that show what comes of it."""
    profile = ["--profile", study.profile] if study.profile else []
    sets = [word for item in study.overrides for word in ("--set", item)]
    kept = ["--store", store] if store else []
    plan = shlex.join(["isoloss", "plan", file, *profile, *sets, *kept, "-o", path])
    if sets:
        return (f"plan again: `{plan}`",)
    seen = shlex.join(["isoloss", "diff", path, file, *profile, *kept])
    return f"plan again: `{plan}`", f"see first what that changes: `{seen}`"
