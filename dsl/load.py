"""The door of the language: a file, a profile, overrides -> Study + diagnostics.

Never raises for a user's mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from isoloss.dsl.check.check import check_study
from isoloss.dsl.check.inheritance import inherit
from isoloss.dsl.check.layers import Layer, Merged, merge
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span
from isoloss.dsl.files import Loader
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.study.study import Study
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.parse import parse_value

#: The pseudo-file that overrides of the command line stand in, one line each.
SET = "--set"
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def load_study(
    path: str | Path, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> tuple[Study | None, list[Diagnostic]]:
    """Read, resolve and check a study with one of its profiles and overrides (`PATH=VALUE`).

    Every profile is checked, chosen or not. Returns None for the study if any diagnostic is an error."""
    study, found, _ = load_with_places(path, profile=profile, overrides=overrides)
    return study, found


def load_with_places(
    path: str | Path, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> tuple[Study | None, list[Diagnostic], Mapping[str, Span]]:
    """`load_study`, and where each declaration (`grid.runs`) and each given setting of it (`grid.runs.images`)
    stands; nowhere where the study can't be read."""
    report = Report()
    chain = Loader(Path(path), report).load(Path(path))
    edits = _overrides(overrides, report)
    if chain is None:
        return None, report.diagnostics(), {}
    study, merged = _resolve(chain[0], profile, edits, report)
    if study is not None:
        study = replace(study, overrides=tuple(overrides))
    found = None if report.failed else study
    return found, report.diagnostics(), _places(chain[0][-1], merged) if merged else {}


def _places(block: ast.StudyBlock, merged: Merged) -> dict[str, Span]:
    places = {"study": block.name.span}
    if merged.dataset is not None:
        places["dataset"] = merged.dataset.span
    for each in merged.blocks.values():
        path = f"{each.kind}.{each.name}" if each.name else each.kind
        places[path] = each.span
        for setting in (*each.settings.values(), *each.zips):
            places.update((f"{path}.{named.text}", setting.span) for named in setting.paths)
        places.update((f"{path}.where", where.span) for where in each.wheres)
    return places


def _resolve(
    chain: tuple[ast.StudyBlock, ...], profile: str | None, edits: tuple[ast.Setting, ...], report: Report
) -> tuple[Study | None, Merged | None]:
    block = chain[-1]
    base = [Layer("base", study.body) for study in chain]
    profiles = merge(base, report).profiles
    chosen: tuple[Study | None, Merged | None] = None, None
    if profile is not None and profile not in profiles:
        _unknown_profile(profile, profiles, report)
    for name in (None, *profiles):
        layers = list(base)
        if name is not None:
            layers.append(Layer(name, profiles[name].body))
        if name == profile and edits:
            layers.append(Layer(SET, edits))
        merged: Merged = inherit(merge(layers, report), report)
        study = check_study(merged, block.name.text, block.name.span, name, report)
        if name == profile:
            chosen = study, merged
    return chosen


def _unknown_profile(profile: str, profiles: dict[str, ast.Block], report: Report) -> None:
    report.add(
        "N111",
        f"the study has no profile `{profile}`",
        None,
        "",
        did_you_mean(profile, profiles, f"declare it: `profile {profile} {{ … }}`"),
    )


def _overrides(overrides: Sequence[str], report: Report) -> tuple[ast.Setting, ...]:
    """`--set` items as settings, with places in a pseudo-file whose lines are the items."""
    lines = [item.replace("\n", " ").replace("\r", " ") for item in overrides]
    settings = [_override(line, number, report) for number, line in enumerate(lines, start=1)]
    report.add_source(SET, "\n".join(lines))
    return tuple(s for s in settings if s is not None)


def _override(line: str, number: int, report: Report) -> ast.Setting | None:
    key, equals, value = line.partition("=")
    whole = Span(SET, number, 1, number, len(line) + 1)
    if not equals or not _PATH.fullmatch(key.strip()) or not value.strip():
        report.add_source(SET, "\n" * (number - 1) + line)
        report.add(
            "S123", f"`--set {line}` is not `PATH=VALUE`", whole, "not a path and a value",
            "for example `--set grid.runs.images='[5M, 10M]'`",
        )  # fmt: skip
        return None
    # The value keeps its column: what is wrong in it is pointed at.
    padded = "\n" * (number - 1) + " " * (len(key) + 1) + value
    shown = "\n" * (number - 1) + line
    inner = Report()
    node = parse_value(padded, SET, inner)
    report.add_source(SET, shown)
    for d in inner.diagnostics():
        report.add(d.code, d.headline, d.span, d.label, *d.help)
    if node is None:
        return None
    start = len(key) - len(key.lstrip()) + 1
    parts, column = [], start
    for text in key.strip().split("."):
        parts.append(ast.Name(text, Span(SET, number, column, number, column + len(text))))
        column += len(text) + 1
    path = ast.Path(tuple(parts), Span(SET, number, start, number, column - 1))
    return ast.Setting((path,), "=", node, whole)
