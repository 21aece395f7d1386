"""The jobs of a plan while it is compiled: chosen runs, what allocations train, and the inputs of both -> `Job`s in
order, and the basis on which they were planned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.jobs.factory import JobFactory, RunJobs, Source
from isoloss.compiler.jobs.run_costs import RunCosts
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.plan import (
    KINDS,
    VERSION,
    Basis,
    Cost,
    DeviceProfile,
    Facts,
    GenerateSpec,
    ImportSpec,
    Job,
    Origin,
    State,
    kind_of,
    results_digest,
)
from isoloss.compiler.plans.dag import order
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Origin as Declared
from isoloss.dsl.vocabulary.quantity_text import flop_text

#: What an allocation trains and tests: name, source, facts, state, reason, origin.
JobRequest = tuple[str, Source, Facts, State, str, Declared]


class JobList:
    """Jobs by id; the first that asks for a job names it, and a job with a result is done."""

    def __init__(self, factory: JobFactory, pricer: Pricer, costs: RunCosts, knowledge: Knowledge) -> None:
        self._factory, self._pricer, self._costs, self._knowledge = factory, pricer, costs, knowledge
        self._jobs: dict[str, Job] = {}

    def ordered(self) -> tuple[Job, ...]:
        """All jobs, each after those that it needs."""
        return tuple(self._jobs[id] for id in order(self._jobs))

    @property
    def finished(self) -> int:
        """How many have a result."""
        return len(self._knowledge.finished & self._jobs.keys())

    def add_run(self, run: RunJobs, why: str) -> None:
        """A chosen run: its training and its tests."""
        cell, setup, name = run.cell, run.setup, run.name
        origin = self._factory.origin(cell.origin)
        state: State = "provisional" if cell.provisional else "ready"
        if cell.provisional:
            why = f"waits for the fid of `{cell.generator}`, which its grid's `where` asks for; {why}"
        costs = self._costs.of(run)
        self._add(run.train, name, why, state, origin, setup.facts[0], costs[0])
        for number, tested in enumerate(setup.recipe_jobs.evaluations):
            source, facts, cost = run.tests[number], setup.facts[number + 1], costs[number + 1]
            measures = f"measures `{tested.name}` on {name}"
            self._add(source, f"{name}/{tested.name}", measures, state, origin, facts, cost)

    def add_requests(self, requests: Sequence[JobRequest], limit: float | None) -> list[Diagnostic]:
        """The jobs of allocations, each allocation whole or not at all: the budget's `limit` in FLOP bounds every
        job. Returns a B108 for each that is left out."""
        by_question: dict[str | None, list[JobRequest]] = {}
        for request in requests:
            by_question.setdefault(request[2].allocation, []).append(request)
        problems = []
        for name, group in by_question.items():
            if limit is not None and (needed := self._flops_with(group)) > limit:
                headline = (
                    f"the run of `{name}` would bring the plan to {flop_text(needed)} of {flop_text(limit)}"
                )
                helps = ("raise `compute` of the budget, or lower that of the allocation",)
                problems.append(Diagnostic("B108", headline, None, help=helps, severity="warning"))
                continue
            for job_name, source, facts, state, reason, origin in group:
                self._add_priced(source, job_name, reason, state, origin, facts)
        return problems

    def add_inputs(self) -> None:
        """FID jobs of every generator in use, then the shards that any job needs and the networks that make them.
        FIDs are measured whatever waits for them; what only waiting jobs need waits too."""
        self._add_fids()
        users, wanted = self._needed()
        inputs = self._factory.closure(tuple(id for id in users if id not in self._jobs))
        for id in reversed(inputs):  # users first
            for need in self._factory.sources[id].needs:
                users[need] = users.get(need, 0) + 1
                if id in wanted:
                    wanted.add(need)
        for id in inputs:
            source = self._factory.sources[id]
            name = self._factory.labels[id]
            declared = self._factory.generators[name.split("/", 1)[0]]
            state: State = "ready" if id in wanted else "provisional"
            what = "images" if isinstance(source.spec, GenerateSpec | ImportSpec) else "a network"
            why = f"{what} for {users[id]} jobs" + ("" if id in wanted else ", all of which wait")
            facts = self._factory.made_facts(source, declared)
            self._add_priced(source, name, why, state, declared.origin, facts)

    def basis(self, candidates: Iterable[RunJobs], profile: DeviceProfile) -> Basis:
        """What the plan was made of: results of its jobs and of candidates, versions of kinds, the profile."""
        ids = set(self._jobs)
        if self._knowledge.finished:
            ids.update(source.id for run in candidates for source in run.sources)
        with_result = sorted(ids & self._knowledge.finished)
        results = {id: results_digest(self._knowledge.of_job(id)) for id in with_result}
        return Basis(VERSION, {kind: row.version for kind, row in KINDS.items()}, results, profile)

    def _add_fids(self) -> None:
        for generator in self._generators():
            source = self._factory.fid(generator)
            if source is not None:
                declared = self._factory.generators[generator]
                facts = Facts(generator=generator, features=declared.features.kind)
                why = f"the fid of `{generator}` is not stated"
                self._add_priced(source, f"{generator}/fid", why, "ready", declared.origin, facts)

    def _needed(self) -> tuple[dict[str, int], set[str]]:
        """(jobs that need each input, inputs of jobs that don't wait)."""
        users: dict[str, int] = {}
        wanted: set[str] = set()
        for job in self._jobs.values():
            for need in job.needs:
                users[need] = users.get(need, 0) + 1
                if job.state != "provisional":
                    wanted.add(need)
        return users, wanted

    def _generators(self) -> dict[str, None]:
        """The generators in use, in the order of their first job."""
        generators = (job.facts.generator for job in self._jobs.values())
        return {generator: None for generator in generators if generator}

    def _flops_with(self, group: Sequence[JobRequest]) -> float:
        """FLOPs of the jobs so far, their inputs, and these."""
        factory = self._factory
        sources = {job.id: Source(job.id, job.spec, job.needs) for job in self._jobs.values()}
        sources.update((request[1].id, request[1]) for request in group)
        for generator in [*self._generators(), *(request[2].generator for request in group)]:
            fid = factory.fid(generator) if generator else None
            if fid is not None:
                sources[fid.id] = fid
        for source in list(sources.values()):
            needed = factory.closure(source.needs)
            sources.update((id, factory.sources[id]) for id in needed if id in factory.sources)
        return sum(bill_flops(self._pricer.cost(source.spec)) for source in sources.values())

    def _add_priced(
        self, source: Source, name: str, reason: str, state: State, origin: Declared, facts: Facts
    ) -> None:
        """A job of no cell."""
        cost = self._pricer.cost(source.spec)
        self._add(source, name, reason, state, self._factory.origin(origin), facts, cost)

    def _add(
        self, source: Source, name: str, reason: str, state: State, origin: Origin, facts: Facts, cost: Cost
    ) -> None:
        id, spec = source.id, source.spec
        if id not in self._jobs:
            if id in self._knowledge.finished:
                state, reason = "done", "already has a result"
            self._jobs[id] = Job(
                id, kind_of(spec), name, source.needs, spec, origin, cost, state, reason, facts
            )
