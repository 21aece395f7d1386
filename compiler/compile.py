"""Study + observations + device profile -> Plan: the driver of the compiler.

Pure: same inputs, same bytes; no clock, no device, no environment. Mistakes of the study come back as
diagnostics beside the plan, or in its place where there can't be one."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

from isoloss.compiler.cells.expand import Cell, expand
from isoloss.compiler.cost.flops import ASSUMED_SURVIVORS, parts
from isoloss.compiler.cost.learning import Timed, learn
from isoloss.compiler.cost.price import Pricer, Terms, amounts, moves_bytes
from isoloss.compiler.design import Candidate, Choice, ComputeBudget, budgets, choose
from isoloss.compiler.design.choice import total_flops
from isoloss.compiler.design.reservation import reservation, with_leftover
from isoloss.compiler.facts.feature_spaces import spaces_of
from isoloss.compiler.facts.sources import mixed
from isoloss.compiler.jobs.factory import JobFactory, RecipeJobs, RunJobs, Setup, Source
from isoloss.compiler.laws.fitting.fit_json import fit_to_json
from isoloss.compiler.observed.autoattack_survivors import Survivors
from isoloss.compiler.observed.runs import Knowledge, Run, RunTest, measured_fids
from isoloss.compiler.observed.study_fits import Fitted, check_questions, fit_all, fit_answer, select, settle
from isoloss.compiler.plan import (
    FORMAT,
    KINDS,
    VERSION,
    Answer,
    Basis,
    Cost,
    DeviceProfile,
    Dropped,
    EvaluateSpec,
    Facts,
    GenerateSpec,
    ImportSpec,
    Job,
    Observation,
    Origin,
    Plan,
    State,
    Warn,
    kind_of,
    results_digest,
)
from isoloss.compiler.plans.dag import order
from isoloss.compiler.plans.totals import account, bill_flops, totals
from isoloss.compiler.questions.allocations import Allocations, JobRequest, Made
from isoloss.compiler.questions.answering import Answering
from isoloss.compiler.questions.forecasts import Forecasts
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Origin as Declared
from isoloss.dsl.study.study import Study
from isoloss.dsl.study.study_json import study_digest, study_to_json
from isoloss.dsl.vocabulary.quantity_text import flop_text


def compile_study(
    study: Study, observations: Sequence[Observation], profile: DeviceProfile
) -> tuple[Plan | None, list[Diagnostic]]:
    """The plan of a study, given what is known. No plan where the study has errors (codes G, B, L)."""
    with _without_collector():
        return _Compilation(study, observations, profile).run()


class _Compilation:
    def __init__(self, study: Study, observations: Sequence[Observation], profile: DeviceProfile) -> None:
        self.study = study
        self.knowledge = Knowledge(observations)
        self.profile = profile
        self.digest = study_digest(study)
        self.problems: list[Diagnostic] = []
        self.jobs: dict[str, Job] = {}
        self.pinned_flops = 0.0
        self.costs: dict[Setup, tuple[Cost, ...]] = {}
        self.test_costs: dict[RecipeJobs, tuple[Cost, ...]] = {}

    def run(self) -> tuple[Plan | None, list[Diagnostic]]:
        study = self.study
        # Cells, with the qualities measured so far.
        self.factory = JobFactory(study, Pricer(self.profile))
        if study.dataset.kind not in budgets.known_datasets():
            return None, expand(study)[1]
        fid_jobs = {
            g.name: source.id for g in study.generators if (source := self.factory.fid(g.name)) is not None
        }
        cells, found = expand(study, measured_fids(self.knowledge, fid_jobs))
        self.problems.extend(found)
        recipes = {cell.recipe for cell in cells} | {each.recipe for each in study.allocations}
        self.problems.extend(budgets.check_formats(study, recipes))
        if self._failed():
            return None, self.problems
        candidates = self.factory.runs(cells)
        own = (source for each in candidates for source in each.sources)
        taught = self._refined(chain(self.factory.sources.values(), own))
        self.factory.pricer = Pricer(taught, Terms.of(study.budget), Survivors(self.knowledge))
        # Choice within the budget; what the questions will train is set aside first.
        self.reserved = reservation(study, self.factory, cells, self.profile)
        reserved_flops = {name: each.flops for name, each in self.reserved.items()}
        reserve = sum(reserved_flops.values())
        choice = self._choose(candidates, cells, reserve)
        self.problems.extend(budgets.check(study, choice, reserve, len(candidates), self.pinned_flops))
        self.problems.extend(choice.problems)
        self.reserved = with_leftover(self.reserved, study, choice.flops)
        span = study.budget.origin.span
        self.problems.extend(Diagnostic("B105", note, span, severity="note") for note in choice.notes)
        if self._failed():
            return None, self.problems
        for index in choice.chosen:
            self._add(candidates[index], choice.reasons[index])
        # Laws, answers, and the runs they ask for.
        runs = [_as_run(candidates[index]) for index in choice.chosen]
        spaces = spaces_of(study)
        fitted, found = fit_all(study.fits, runs, self.knowledge, self.digest, spaces)
        self.problems.extend(found)
        self.problems.extend(check_questions(study, fitted, spaces))
        if self._failed():
            return None, self.problems
        answers = self._answer(
            Answering(study, fitted, cells, self.knowledge, self.factory),
            [candidates[i] for i in choice.chosen],
        )
        self._add_inputs()
        return self._plan(candidates, choice, fitted, answers, reserved_flops)

    def _answer(self, background: Answering, chosen: Sequence[RunJobs]) -> list[Answer]:
        """Answers of all questions; what allocations train joins the jobs."""
        forecasts = Forecasts(background)
        answers = forecasts.answers()
        self.problems.extend(forecasts.problems)
        if self.study.allocations:
            allocations = Allocations(background, self.reserved, self._made(chosen))
            answers.extend(allocations.answers())
            self._add_asked(allocations.jobs)
            self.problems.extend(allocations.problems)
        return answers

    def _made(self, chosen: Sequence[RunJobs]) -> Made:
        """What the chosen runs of the grids draw, and how fast they were: the same before and after allocations
        are trained."""
        images: dict[str, int] = {}
        sources: dict[str, Source] = {}
        for each in chosen:
            fid, name = each.setup.fid, each.cell.generator
            sources.update((id, self.factory.sources[id]) for id in self.factory.closure(each.shared))
            sources.update((source.id, source) for source in each.sources)
            mine = (sources[id].spec for id in (*each.train.needs, *(fid.needs if fid else ())))
            mix = mixed(self.factory.generators[name])
            share = mix[1] if mix is not None else 1
            stops = (int(spec.stop / share) for spec in mine if isinstance(spec, GenerateSpec))
            images[name] = max((images.get(name, 0), *stops))
        return Made(images, sources.keys(), self._refined(sources.values()))

    def _failed(self) -> bool:
        return any(d.severity == "error" for d in self.problems)

    def _refined(self, sources: Iterable[Source]) -> DeviceProfile:
        """The profile, assumed or measured by `calibrate`, moved by what those of these jobs took that are
        finished."""
        finished = self.knowledge.finished
        if not finished:
            return self.profile
        timed = list(self._timings([s for s in sources if s.id in finished]))
        return learn(self.profile, timed, f"{len(timed)} finished jobs")

    def _timings(self, sources: Sequence[Source]) -> Iterator[Timed]:
        survivors = Survivors(self.knowledge)
        for source in sources:
            seconds, spec = self.knowledge.seconds(source.id), source.spec
            share = survivors(spec).mid if isinstance(spec, EvaluateSpec) else ASSUMED_SURVIVORS
            bill = parts(spec, share)
            if seconds is None or moves_bytes(spec) or any(part.flops is None for part in bill):
                continue
            yield Timed(source.id, amounts(spec, bill, self.profile), seconds)

    def _choose(self, candidates: Sequence[RunJobs], cells: Sequence[Cell], reserve: float) -> Choice:
        pinned = self._pinned(candidates)
        bills: dict[Setup, tuple[float, tuple[tuple[str, float], ...]]] = {}
        shared: dict[tuple[str, ...], tuple[tuple[str, float], ...]] = {}
        entries = []
        for index, each in enumerate(candidates):
            bill = bills.get(each.setup)
            if bill is None or self._own_price(each):
                bill = bills[each.setup] = sum(map(bill_flops, self._costs(each))), self._shared(each, shared)
            entries.append(Candidate(index, *bill, each.train.id in pinned))
        # A training that several grids list is one: chosen and paid once.
        first: dict[str, int] = {}
        for index, each in enumerate(candidates):
            first.setdefault(each.train.id, index)
        once = entries if len(first) == len(entries) else [entries[index] for index in first.values()]
        self.pinned_flops = total_flops([c for c in once if c.pinned])
        budget = self.study.budget
        limits = ComputeBudget(budget.compute_flops, reserve, budget.choose)
        if budget.choose == "design" and self.study.fits:
            # numpy loads here, and only where there is something to design for.
            from isoloss.compiler.design.planner import design

            runs = list(map(_as_run, candidates))
            named = {fit.evaluate for fit in self.study.fits}
            tested = min((t.tested for r in runs for t in r.tests if t.evaluation in named), default=None)
            # All of them: each grid's fits count it as theirs.
            made = design(self.study, cells, entries, runs, self.knowledge, limits, tested)
            if made is not None:
                return self._for_all(made, candidates)
        return self._for_all(choose(once, limits), candidates)

    def _for_all(self, choice: Choice, candidates: Sequence[RunJobs]) -> Choice:
        """The same choice for every candidate of a training: chosen where one of them is."""
        if (
            len(choice.chosen) + len(choice.dropped)
            == len(candidates)
            == len({c.train.id for c in candidates})
        ):
            return choice
        chosen = {candidates[i].train.id: i for i in choice.chosen}
        known = {candidates[i].train.id: i for i in choice.dropped} | chosen
        of = [known[each.train.id] for each in candidates]
        kept = [each.train.id in chosen for each in candidates]
        return replace(
            choice,
            chosen=tuple(i for i, mine in enumerate(kept) if mine),
            dropped=tuple(i for i, mine in enumerate(kept) if not mine),
            reasons={i: choice.reasons[k] for i, k in enumerate(of)},
            gains={i: choice.gains[k] for i, k in enumerate(of) if not kept[i] and k in choice.gains},
        )

    def _costs(self, each: RunJobs) -> tuple[Cost, ...]:
        """Of the training and of every test: the same for every seed, a test's whatever images were drawn; but what
        AutoAttack goes on with is each network's own."""
        if self._own_price(each):
            return tuple([self.factory.pricer.cost(source.spec) for source in each.sources])
        known = self.costs.get(each.setup)
        if known is None:
            price, recipe_jobs = self.factory.pricer.cost, each.setup.recipe_jobs
            tests = self.test_costs.get(recipe_jobs)
            if tests is None:
                tests = self.test_costs[recipe_jobs] = tuple([price(source.spec) for source in each.tests])
            known = self.costs[each.setup] = (price(each.train.spec), *tests)
        return known

    def _own_price(self, each: RunJobs) -> bool:
        """Whether what AutoAttack goes on with may be known of this network."""
        if not self.knowledge.finished:
            return False
        return any(test.attack.kind == "autoattack" for test in each.setup.recipe_jobs.evaluations)

    def _shared(
        self, each: RunJobs, known: dict[tuple[str, ...], tuple[tuple[str, float], ...]]
    ) -> tuple[tuple[str, float], ...]:
        """(id, FLOPs) of the jobs that a run needs beside its own; equal for runs with the same needs."""
        needs = each.shared
        if needs not in known:
            sources = [self.factory.sources[id] for id in self.factory.closure(needs)]
            known[needs] = tuple((s.id, bill_flops(self.factory.pricer.cost(s.spec))) for s in sources)
        return known[needs]

    def _pinned(self, candidates: Sequence[RunJobs]) -> set[str]:
        """Train jobs of the runs that the budget pins."""
        pin = self.study.budget.pin
        if pin is None:
            return set()
        mine = [_as_run(each) for each in candidates if each.cell.grid == pin.grid]
        return {run.train for run in select(pin, {pin.grid: mine})[0]}

    # Jobs.

    def _put(
        self, source: Source, name: str, reason: str, state: State, origin: Origin, facts: Facts, cost: Cost
    ) -> None:
        id = source.id
        if id not in self.jobs:
            if id in self.knowledge.finished:
                state, reason = "done", "already has a result"
            spec = source.spec
            self.jobs[id] = Job(
                id, kind_of(spec), name, source.needs, spec, origin, cost, state, reason, facts
            )

    def _add(self, each: RunJobs, why: str) -> None:
        cell, setup, name = each.cell, each.setup, each.name
        origin = self.factory.origin(cell.origin)
        state: State = "provisional" if cell.provisional else "ready"
        if cell.provisional:
            why = f"waits for the fid of `{cell.generator}`, which its grid's `where` asks for; {why}"
        costs = self._costs(each)
        self._put(each.train, name, why, state, origin, setup.facts[0], costs[0])
        for number, tested in enumerate(setup.recipe_jobs.evaluations):
            source, facts, cost = each.tests[number], setup.facts[number + 1], costs[number + 1]
            measures = f"measures `{tested.name}` on {name}"
            self._put(source, f"{name}/{tested.name}", measures, state, origin, facts, cost)

    def _put_other(
        self, source: Source, name: str, reason: str, state: State, origin: Declared, facts: Facts
    ) -> None:
        """A job of no cell."""
        cost = self.factory.pricer.cost(source.spec)
        self._put(source, name, reason, state, self.factory.origin(origin), facts, cost)

    def _add_asked(self, requests: Sequence[JobRequest]) -> None:
        """The jobs of allocations, each allocation whole or not at all: the budget bounds every job."""
        by_question: dict[str | None, list[JobRequest]] = {}
        for request in requests:
            by_question.setdefault(request[2].allocation, []).append(request)
        limit = self.study.budget.compute_flops
        for name, group in by_question.items():
            if limit is not None and (needed := self._bill_with(group)) > limit:
                headline = (
                    f"the run of `{name}` would bring the plan to {flop_text(needed)} of {flop_text(limit)}"
                )
                helps = ("raise `compute` of the budget, or lower that of the allocation",)
                self.problems.append(Diagnostic("B108", headline, None, help=helps, severity="warning"))
                continue
            for job_name, source, facts, state, reason, origin in group:
                self._put_other(source, job_name, reason, state, origin, facts)

    def _bill_with(self, group: Sequence[JobRequest]) -> float:
        """FLOPs of the jobs so far, their inputs, and these."""
        sources = {job.id: Source(job.id, job.spec, job.needs) for job in self.jobs.values()}
        sources.update((request[1].id, request[1]) for request in group)
        for generator in {**self._used_generators(), **{r[2].generator: None for r in group}}:
            fid = self.factory.fid(generator) if generator else None
            if fid is not None:
                sources[fid.id] = fid
        for source in list(sources.values()):
            needed = self.factory.closure(source.needs)
            sources.update((id, self.factory.sources[id]) for id in needed if id in self.factory.sources)
        return sum(bill_flops(self.factory.pricer.cost(source.spec)) for source in sources.values())

    def _used_generators(self) -> dict[str | None, None]:
        return dict.fromkeys(j.facts.generator for j in self.jobs.values() if j.facts.generator)

    def _add_inputs(self) -> None:
        """FID jobs of every generator in use, then the shards that any job needs and the networks that make them.
        FIDs are measured whatever waits for them; what only waiting jobs need waits too."""
        for generator in self._used_generators():
            source = self.factory.fid(generator) if generator else None
            if source is not None:
                why = f"the fid of `{generator}` is not stated"
                declared = self.factory.generators[generator or ""]
                facts = Facts(generator=generator, features=declared.features.kind)
                self._put_other(source, f"{generator}/fid", why, "ready", declared.origin, facts)
        users: dict[str, int] = {}
        wanted: set[str] = set()
        for job in list(self.jobs.values()):
            for need in job.needs:
                users[need] = users.get(need, 0) + 1
                if job.state != "provisional":
                    wanted.add(need)
        made = self.factory.closure(tuple(id for id in users if id not in self.jobs))
        for id in reversed(made):  # users first
            for need in self.factory.sources[id].needs:
                users[need] = users.get(need, 0) + 1
                if id in wanted:
                    wanted.add(need)
        for id in made:
            source = self.factory.sources[id]
            name = self.factory.labels[id]
            generator = name.split("/", 1)[0]
            declared = self.factory.generators[generator]
            state: State = "ready" if id in wanted else "provisional"
            what = "images" if isinstance(source.spec, GenerateSpec | ImportSpec) else "a network"
            why = f"{what} for {users[id]} jobs" + ("" if id in wanted else ", all of which wait")
            self._put_other(
                source, name, why, state, declared.origin, self.factory.made_facts(source, declared)
            )

    # The plan.

    def _plan(
        self,
        candidates: Sequence[RunJobs],
        choice: Choice,
        fitted: Sequence[Fitted],
        answers: Sequence[Answer],
        reserved_flops: Mapping[str, float],
    ) -> tuple[Plan, list[Diagnostic]]:
        jobs = tuple(self.jobs[id] for id in order(self.jobs))
        sums = totals(jobs)
        profile = self.factory.pricer.profile
        waiting = sum(
            reserved_flops[a.name]
            for a in answers
            if a.kind == "allocate" and a.status == "pending" and a.job is None
        )
        reserve = sum(reserved_flops.values())
        budget = account(self.study.budget, jobs, sums, reserve, waiting, profile)
        if choice.facts:
            budget["design"] = choice.facts
        budget["profile"] = {"device": profile.device, "provenance": profile.provenance}
        self.problems.extend(budgets.after(self.study, jobs, sums["all"], self.profile))
        warnings = tuple(_warn(d) for d in self.problems)
        laws = {f.name: settle(fit_to_json(f.fit)) for f in fitted if f.fit is not None}
        plan = Plan(
            format=FORMAT,
            study=study_to_json(self.study),
            digest=self.digest,
            revision=len(self.knowledge.finished & self.jobs.keys()),
            laws=laws,
            answers=tuple(_noted(a, choice) for a in (*(fit_answer(f) for f in fitted), *answers)),
            jobs=jobs,
            dropped=tuple(self._dropped(candidates[i], choice, i) for i in choice.dropped),
            totals=sums,
            budget=budget,
            warnings=warnings,
            basis=self._basis(candidates),
        )
        return plan, self.problems

    def _basis(self, candidates: Sequence[RunJobs]) -> Basis:
        mine = set(self.jobs)
        if self.knowledge.finished:
            mine.update(source.id for each in candidates for source in each.sources)
        known = sorted(mine & self.knowledge.finished)
        results = {id: results_digest(self.knowledge.of_job(id)) for id in known}
        kinds = {kind: row.version for kind, row in KINDS.items()}
        return Basis(VERSION, kinds, results, self.profile)

    def _dropped(self, each: RunJobs, choice: Choice, index: int) -> Dropped:
        origin, cost = self.factory.origin(each.cell.origin), self._costs(each)[0]
        why, gain, train = choice.reasons[index], choice.gains.get(index), each.train
        make = Dropped
        return make(train.id, each.name, train.spec, origin, cost, why, gain, each.setup.facts[0])


def _as_run(each: RunJobs) -> Run:
    recipe_jobs = each.setup.recipe_jobs
    tests = [
        RunTest(kind.evaluation, source.id, kind.metric, kind.clean, kind.tested, kind.repeated)
        for kind, source in zip(recipe_jobs.measured, each.tests, strict=True)
    ]
    return Run(each.cell, each.train.id, tuple(tests), each.name)


def _noted(answer: Answer, choice: Choice) -> Answer:
    """An answer with what the design says about its question."""
    more = choice.answers.get(answer.name, ())
    return replace(answer, notes=(*answer.notes, *more)) if more else answer


def _warn(d: Diagnostic) -> Warn:
    origin = Origin() if d.span is None else Origin(d.span.file, d.span.line, d.span.column)
    return Warn(d.code, d.headline, "; ".join(d.help), origin)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Plans are trees of a hundred thousand small objects: the cyclic collector would walk them over and
    over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # What was made counts as old: else the next small object would have the collector walk it all. A caller's
            # own frozen objects stay so.
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()
