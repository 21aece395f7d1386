"""The study's `fit`s on what is known: fits + runs + knowledge -> LawFits, their answers, and doubts.

Runs after the choice of cells and before the questions. Pure: resampling seeds come from the study's
digest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from isoloss.compiler import plan
from isoloss.compiler.cells.rules import Rule
from isoloss.compiler.facts.feature_spaces import check_fit, check_question
from isoloss.compiler.laws.accuracy import AccuracyFit, fit_accuracy
from isoloss.compiler.laws.fitting.fit import FitOptions, fit_law
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.lint import lint_selection
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge, Run, points
from isoloss.compiler.plan import Answer, Range
from isoloss.compiler.rounding import rounded
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Allocate, Fit, Forecast, RunSet, Study


@dataclass(frozen=True, slots=True)
class Fitted:
    """One law of the study: `fit` None while no point is known. `complete`: every run of it is finished and
    no
    run's membership waits for a fid, so that it will never move again."""

    name: str
    declared: Fit
    generator: str | None
    fit: LawFit | None
    accuracy: AccuracyFit | None
    runs: int
    finished: int
    complete: bool
    metric: str | None
    points: Points | None
    features: str | None = None  # the space of its runs' FIDs, where its law uses them
    waits: tuple[str, ...] = ()  # names of jobs without a result yet
    alarms: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # of its points: alarm -> names of runs
    selection: str = ""  # by how much choosing points on the test set flatters them; empty: not worth a word


def fit_all(
    fits: Sequence[Fit],
    runs: Sequence[Run],
    knowledge: Knowledge,
    digest: str,
    spaces: Mapping[str, str | None],
    fits_so_far: Remembered[LawFit],
) -> tuple[list[Fitted], list[Diagnostic]]:
    """Every declared fit, once per generator where it says so. `spaces`: of each generator's FID;
    `fits_so_far`: of earlier compiles, and of this one."""
    made: list[Fitted] = []
    problems: list[Diagnostic] = []
    by_grid: dict[str, list[Run]] = {}
    for run in runs:
        by_grid.setdefault(run.cell.grid, []).append(run)
    for declared in fits:
        mine, waiting = members(declared, by_grid)
        problems.extend(_check_members(declared, mine))
        groups: list[tuple[str | None, list[Run]]] = [(None, mine)]
        if declared.per == "generator":
            names = dict.fromkeys(run.cell.generator for run in mine)
            groups = [(name, [r for r in mine if r.cell.generator == name]) for name in names]
        parts = _parts(declared, by_grid)
        for generator, group in groups:
            of = dict.fromkeys(run.cell.generator for run in group) if uses_fid(declared.law) else {}
            problems.extend(check_fit(declared, of, spaces))
            space = next((spaces[name] for name in of if spaces.get(name) is not None), None)
            made.append(
                _fit(declared, generator, group, waiting, knowledge, digest, parts, space, fits_so_far)
            )
    return made, problems


def uses_fid(law: str) -> bool:
    """Whether a law's form has quality in it."""
    return law in LAWS and LAWS[law].uses_fid


def check_questions(
    study: Study, fitted: Sequence[Fitted], spaces: Mapping[str, str | None]
) -> list[Diagnostic]:
    """Questions that ask a law for a quality of another feature space than its runs'."""
    problems: list[Diagnostic] = []
    questions: tuple[Forecast | Allocate, ...] = (*study.forecasts, *study.allocations)
    for question in questions:
        laws = [f.features for f in fitted if f.declared.name in question.laws]
        problems.extend(check_question(question, laws, spaces))
    return problems


def members(declared: Fit, by_grid: Mapping[str, Sequence[Run]]) -> tuple[list[Run], bool]:
    """The runs of a fit in declaration order, and whether some run's membership waits for a fid."""
    sets = [s for s in (declared.base, declared.quality) if s is not None] or [declared.to]
    if declared.base is not None and declared.quality is None:
        sets.append(declared.to)
    chosen: dict[str, Run] = {}
    waiting = False
    for each in sets:
        found, waits = select(each, by_grid)
        chosen.update((run.train, run) for run in found)
        waiting = waiting or waits
    order = [run for grid in by_grid.values() for run in grid]
    return [run for run in order if run.train in chosen], waiting


def _parts(
    declared: Fit, by_grid: Mapping[str, Sequence[Run]]
) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """The runs of the fit's two stages, as the study declares them; None: not declared."""
    base, quality = (
        None if each is None else frozenset(run.train for run in select(each, by_grid)[0])
        for each in (declared.base, declared.quality)
    )
    return base, quality


def select(wanted: RunSet, by_grid: Mapping[str, Sequence[Run]]) -> tuple[list[Run], bool]:
    runs = by_grid.get(wanted.grid, ())
    if wanted.where is None:
        return list(runs), any(run.cell.provisional for run in runs)
    rule = Rule(wanted.where)
    found, waiting = [], False
    for run in runs:
        known = rule(run.cell.quantities())
        waiting = waiting or known.unknown or run.cell.provisional
        if known.value is True:
            found.append(run)
    return found, waiting


def _check_members(declared: Fit, members: Sequence[Run]) -> list[Diagnostic]:
    span = declared.origin.span
    tests = [(run, run.test(declared.evaluate)) for run in members]
    metrics = sorted({_measure(declared, test.metric) for _, test in tests if test is not None})
    if len(metrics) > 1:
        listed = ", ".join(f"`{m}`" for m in metrics)
        helps = ("a law is about one measure: keep the runs of one recipe, `(runs where recipe == NAME)`",)
        headline = f"fit `{declared.name}` mixes losses of different types: {listed}"
        return [Diagnostic("L501", headline, span, help=helps)]
    if members and declared.evaluate is None:
        helps = ("declare `evaluate NAME { attack = ... }`, or `evaluate = NAME at every 5%` in the recipe",)
        return [Diagnostic("L502", f"no run of fit `{declared.name}` is ever evaluated", span, help=helps)]
    untested = [run for run, test in tests if test is None]
    if untested:
        names = sorted({name.evaluation for run in untested for name in run.tests})
        listed = ", ".join(f"`{name}`" for name in names)
        recipe = untested[0].cell.recipe
        help = (
            f"runs of recipe `{recipe}` are tested by {listed}: fit one of these" if names else "declare it"
        )
        count = f"{len(untested)} of {len(members)} runs" if len(untested) < len(members) else "no run"
        verb = "are not tested" if len(untested) < len(members) else "is tested"
        headline = f"{count} of fit `{declared.name}` {verb} by `{declared.evaluate}`"
        return [Diagnostic("L502", headline, span, help=(help,))]
    if not members:
        helps = ("loosen its `where`, or raise the budget",)
        headline = f"fit `{declared.name}` has no runs"
        return [Diagnostic("L503", headline, span, help=helps, severity="warning")]
    return []


def _measure(declared: Fit, metric: str) -> str:
    """What of "LOSS @ ATTACK" the fit is about: of accuracies the scoring loss is no part."""
    return metric.partition(" @ ")[2] if declared.metric == "accuracy" else metric


def _fit(
    declared: Fit,
    generator: str | None,
    group: Sequence[Run],
    waiting: bool,
    knowledge: Knowledge,
    digest: str,
    parts: tuple[frozenset[str] | None, frozenset[str] | None],
    space: str | None,
    fits_so_far: Remembered[LawFit],
) -> Fitted:
    finished = [run for run in group if knowledge.measured(run, declared.evaluate)]
    known = points(knowledge, finished, declared.evaluate, declared.metric)
    name = declared.name if generator is None else f"{declared.name}/{generator}"
    fit, line = None, None
    tests = [test for run in group if (test := run.test(declared.evaluate)) is not None]
    tested = min((test.tested for test in tests), default=None)
    if known is not None:
        seed = int(digest[:8], 16)
        options = FitOptions(
            errors=declared.errors,
            delta=declared.delta,
            resamples=declared.resamples,
            seed=seed,
            points=declared.points,
            floor=declared.floor,
            x=declared.x,
            test_images=tested,
            joint=declared.base is None,
            base_runs=parts[0],
            quality_runs=parts[1],
            features=space,
        )
        fit = _fit_once(declared.law, known, options, fits_so_far)
        if declared.metric == "loss":
            # The line goes through finished runs: half-trained networks lie on another one.
            last = known.final_per_run(declared.floor)
            line = fit_accuracy(last.loss, last.accuracy, last.run, tested, seed=seed)
    metric = tests[0].metric if tests else None
    return Fitted(
        name=name,
        declared=declared,
        generator=generator,
        fit=fit,
        accuracy=line,
        runs=len(group),
        finished=len(finished),
        complete=bool(group) and not waiting and len(finished) == len(group),
        metric=metric,
        points=known,
        features=space,
        selection=_selection(declared, metric, known),
        waits=_waits(declared, group, knowledge),
        alarms=_alarms(declared, finished, knowledge),
    )


def _alarms(declared: Fit, runs: Sequence[Run], knowledge: Knowledge) -> dict[str, tuple[str, ...]]:
    """Flags of the evaluations behind a fit's points: what an alarmed attack measured may be too good."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for observation, _ in knowledge.curve(run, declared.evaluate, declared.metric):
            for flag in observation.flags:
                if flag.startswith("alarm: "):
                    found.setdefault(flag.removeprefix("alarm: "), {})[run.name] = None
    return {flag: tuple(names) for flag, names in found.items()}


def _waits(declared: Fit, group: Sequence[Run], knowledge: Knowledge) -> tuple[str, ...]:
    """Names of the jobs that the fit still waits for."""
    names: list[str] = []
    for run in group:
        test = run.test(declared.evaluate)
        if run.train not in knowledge.finished:
            names.append(run.name)
        if test is not None and test.job not in knowledge.finished:
            names.append(f"{run.name}/{test.evaluation}")
    return tuple(names)


def _selection(declared: Fit, metric: str | None, known: Points | None) -> str:
    """`points = best` takes the lowest of a run's test losses: chosen on the test set, as the papers' laws are.

    A note of the answer and no warning of the plan: it says by how much, which is known only when runs have
    finished, and it stands beside the numbers that it qualifies."""
    if known is None or metric is None or metric.endswith(" on validation"):
        return ""
    found = lint_selection(known, declared.points, declared.floor)
    return f"{found[0].headline}; `split = validation` chooses elsewhere" if found else ""


#: Jobs that an unfinished fit names.
_NAMED = 3


def _fit_once(law: str, known: Points, options: FitOptions, fits_so_far: Remembered[LawFit]) -> LawFit:
    columns = (known.params, known.images, known.fid, known.flops, known.fraction, known.loss, known.accuracy)
    key = (law, options, known.run_names, known.run.tobytes(), *(column.tobytes() for column in columns))
    return fits_so_far.get(key, lambda: _settled(fit_law(law, known, options)))


def _settled(fit: LawFit) -> LawFit:
    """Parameters rounded to ten digits, so that what follows doesn't hang on the last bits of a solver."""
    import numpy as np

    theta = np.array([rounded(float(v)) for v in fit.theta])
    return replace(fit, theta=theta)


def settle(value: Any) -> Any:
    """JSON data with every float rounded to ten digits."""
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, Mapping):
        return {key: settle(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [settle(entry) for entry in value]
    return value


def fit_answer(fitted: Fitted) -> Answer:
    """A fit as an answer: its parameters with intervals, its status in words."""
    origin = fitted.declared.origin
    values: dict[str, Range | None] = {}
    notes = [f"{fitted.finished} of {fitted.runs} runs finished"]
    if fitted.waits:
        notes.append(f"waits for {_listed(fitted.waits)}")
    notes += [f"alarm of points: {alarm}: {_listed(names)}" for alarm, names in fitted.alarms.items()]
    status = "pending"
    if fitted.fit is not None:
        for name, value in fitted.fit.parameters.items():
            low, high = fitted.fit.intervals.get(name, (math.nan, math.nan))
            values[name] = known_range(low, value, high)
        notes.append(f"status {fitted.fit.status.value}, {fitted.fit.points} points")
        if fitted.fit.errors is not None:
            notes.append(f"errors {fitted.fit.errors}")
        notes.extend(fitted.fit.warnings)
        notes.extend(filter(None, [fitted.selection]))
        if fitted.complete:
            status = "answered" if fitted.fit.usable else "not determined"
    return Answer(
        name=fitted.name,
        kind="fit",
        status=status,  # type: ignore[arg-type]
        laws=(fitted.declared.law,),
        values=values,
        notes=tuple(notes),
        origin=plan.Origin(origin.file, origin.line, origin.column),
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def known_range(low: float, mid: float, high: float) -> Range | None:
    """A Range of ten digits; None where a part isn't a number: a plan's JSON has none for it."""
    if not (math.isfinite(low) and math.isfinite(mid) and math.isfinite(high)):
        return None
    return Range(rounded(min(low, mid)), rounded(mid), rounded(max(high, mid)))
