"""Study + observations + device profile -> Plan: the driver of the compiler.

Pure: same inputs, same bytes; no clock, no device, no environment. Mistakes of the study come back as
diagnostics beside the plan, or in its place where there can't be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from isoloss.compiler.cells.expand import Cell, expand
from isoloss.compiler.cost.price import Pricer, Terms
from isoloss.compiler.design import Choice, budgets
from isoloss.compiler.design.choose_runs import RunPrices, choose_runs, dropped_runs, with_design_notes
from isoloss.compiler.design.reservation import Reserved, reservation, with_leftover
from isoloss.compiler.facts.feature_spaces import spaces_of
from isoloss.compiler.jobs.factory import JobFactory, RunJobs
from isoloss.compiler.jobs.run_costs import RunCosts
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.fitting.fit_json import fit_to_json
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.autoattack_survivors import Survivors
from isoloss.compiler.observed.learned_profile import learned_profile
from isoloss.compiler.observed.runs import Knowledge, measured_fids, run_of
from isoloss.compiler.observed.study_fits import Fitted, check_questions, fit_all, fit_answer, settle
from isoloss.compiler.plan import FORMAT, Answer, DeviceProfile, Observation, Origin, Plan, Warn
from isoloss.compiler.plans.job_list import JobList
from isoloss.compiler.plans.totals import account, totals
from isoloss.compiler.questions.allocations import Allocations, drawn_by_grids
from isoloss.compiler.questions.answering import Answering
from isoloss.compiler.questions.forecasts import Forecasts
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Study
from isoloss.dsl.study.study_json import study_digest, study_to_json


@dataclass(frozen=True, slots=True)
class CompileCache:
    """What several compiles of one study share, to save time: fits of laws, and where the priors of a design start."""

    fits: Remembered[LawFit] = field(default_factory=Remembered)
    starts: Remembered[Floats] = field(default_factory=Remembered)


def compile_study(
    study: Study,
    observations: Sequence[Observation],
    profile: DeviceProfile,
    cache: CompileCache | None = None,
) -> tuple[Plan | None, list[Diagnostic]]:
    """The plan of a study, given what is known. No plan where the study has errors (codes G, B, L). `cache`, of
    earlier compiles, changes no byte."""
    if study.dataset.kind not in budgets.known_datasets():
        return None, expand(study)[1]
    return _Compilation(study, Knowledge(observations), profile, cache).run()


class _Compilation:
    """One compile: `problems` grow from step to step, and a step that finds an error is the last."""

    def __init__(
        self, study: Study, knowledge: Knowledge, profile: DeviceProfile, cache: CompileCache | None
    ) -> None:
        self.cache = cache or CompileCache()
        self.study, self.knowledge, self.profile = study, knowledge, profile
        self.digest = study_digest(study)
        self.factory = JobFactory(study)
        self.problems: list[Diagnostic] = []

    def run(self) -> tuple[Plan | None, list[Diagnostic]]:
        study, knowledge, factory = self.study, self.knowledge, self.factory
        # Cells of the grids, and the jobs of each.
        cells = self._cells()
        if self._failed():
            return None, self.problems
        candidates = factory.runs(cells)
        # Prices, on the device as the finished jobs have taught it.
        prices = self._prices(candidates)
        # What the questions will train is set aside; the rest of the budget buys runs.
        reserved = reservation(study, factory, prices.pricer, cells, self.profile)
        choice = self._choice(cells, candidates, prices, sum(each.flops for each in reserved.values()))
        if self._failed():
            return None, self.problems
        chosen = [candidates[index] for index in choice.chosen]
        # Laws of the chosen runs that have finished.
        fitted = self._laws(chosen)
        if self._failed():
            return None, self.problems
        # Jobs: the chosen runs, those that the answers ask for, and the inputs of both.
        jobs = JobList(factory, prices.pricer, prices.costs, knowledge)
        for index in choice.chosen:
            jobs.add_run(candidates[index], choice.reasons[index])
        background = Answering(study, fitted, cells, knowledge, factory)
        left = with_leftover(reserved, study, choice.flops)
        answers = self._answers(background, left, chosen, jobs)
        jobs.add_inputs()
        # Totals, schedule, and all of it as a plan.
        answers = [*map(fit_answer, fitted), *answers]
        return self._plan(candidates, choice, prices, reserved, fitted, answers, jobs), self.problems

    def _cells(self) -> list[Cell]:
        """The cells, with the qualities measured so far."""
        study = self.study
        fid_jobs = {
            g.name: source.id for g in study.generators if (source := self.factory.fid(g.name)) is not None
        }
        cells, problems = expand(study, measured_fids(self.knowledge, fid_jobs))
        self.problems.extend(problems)
        recipes = {cell.recipe for cell in cells} | {question.recipe for question in study.allocations}
        self.problems.extend(budgets.check_formats(study, recipes))
        return cells

    def _prices(self, candidates: Sequence[RunJobs]) -> RunPrices:
        of_runs = (source for run in candidates for source in run.sources)
        sources = chain(self.factory.sources.values(), of_runs)
        taught = learned_profile(self.profile, sources, self.knowledge)
        pricer = Pricer(taught, Terms.of(self.study.budget), Survivors(self.knowledge))
        return RunPrices(self.factory, pricer, RunCosts(pricer, tested=bool(self.knowledge.finished)))

    def _choice(
        self, cells: Sequence[Cell], candidates: Sequence[RunJobs], prices: RunPrices, reserved_flops: float
    ) -> Choice:
        study = self.study
        choice, pinned_flops = choose_runs(
            study, cells, candidates, prices, self.knowledge, reserved_flops, self.cache.starts
        )
        self.problems.extend(budgets.check(study, choice, reserved_flops, len(candidates), pinned_flops))
        self.problems.extend(choice.problems)
        span = study.budget.origin.span
        self.problems.extend(Diagnostic("B105", note, span, severity="note") for note in choice.notes)
        return choice

    def _laws(self, chosen: Sequence[RunJobs]) -> list[Fitted]:
        spaces = spaces_of(self.study)
        runs = list(map(run_of, chosen))
        fitted, problems = fit_all(
            self.study.fits, runs, self.knowledge, self.digest, spaces, self.cache.fits
        )
        self.problems.extend(problems)
        self.problems.extend(check_questions(self.study, fitted, spaces))
        return fitted

    def _answers(
        self,
        background: Answering,
        reserved: Mapping[str, Reserved],
        chosen: Sequence[RunJobs],
        jobs: JobList,
    ) -> list[Answer]:
        """Answers of all forecasts and allocations; what allocations train joins the jobs."""
        forecasts = Forecasts(background)
        answers = forecasts.answers()
        self.problems.extend(forecasts.problems)
        if self.study.allocations:
            drawn = drawn_by_grids(chosen, self.factory, self.profile, self.knowledge)
            allocations = Allocations(background, reserved, drawn)
            answers.extend(allocations.answers())
            self.problems.extend(jobs.add_requests(allocations.jobs, self.study.budget.compute_flops))
            self.problems.extend(allocations.problems)
        return answers

    def _plan(
        self,
        candidates: Sequence[RunJobs],
        choice: Choice,
        prices: RunPrices,
        reserved: Mapping[str, Reserved],
        fitted: Sequence[Fitted],
        answers: Sequence[Answer],
        job_list: JobList,
    ) -> Plan:
        jobs, profile = job_list.ordered(), prices.pricer.profile
        sums = totals(jobs)
        waiting = sum(
            reserved[a.name].flops
            for a in answers
            if a.kind == "allocate" and a.status == "pending" and a.job is None
        )
        reserved_flops = sum(each.flops for each in reserved.values())
        budget = account(self.study.budget, jobs, sums, reserved_flops, waiting, profile)
        if choice.facts:
            budget["design"] = choice.facts
        budget["profile"] = {"device": profile.device, "provenance": profile.provenance}
        self.problems.extend(budgets.after(self.study, jobs, sums["all"], self.profile))
        return Plan(
            format=FORMAT,
            study=study_to_json(self.study),
            digest=self.digest,
            revision=job_list.finished,
            laws={f.name: settle(fit_to_json(f.fit)) for f in fitted if f.fit is not None},
            answers=with_design_notes(answers, choice),
            jobs=jobs,
            dropped=dropped_runs(choice, candidates, prices),
            totals=sums,
            budget=budget,
            warnings=tuple(map(_warn, self.problems)),
            basis=job_list.basis(candidates, self.profile),
        )

    def _failed(self) -> bool:
        return any(d.severity == "error" for d in self.problems)


def _warn(d: Diagnostic) -> Warn:
    origin = Origin() if d.span is None else Origin(d.span.file, d.span.line, d.span.column)
    return Warn(d.code, d.headline, "; ".join(d.help), origin)
