"""The compile-run loop: file and store -> answers. Decides when to compile again, and nothing else.

Load; compile with what the store knows; run what is ready; again, until nothing is. A job with a result is
not run, so that pilots, follow-ups, resuming and caching are all this one loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from isoloss import forecast_ledger
from isoloss.compiler.plan import DeviceProfile, Job, Observation, Plan
from isoloss.compiler.plans.plan_json import plan_to_json
from isoloss.dsl.diagnostics.collector import with_source
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Study
from isoloss.errors import FINE, INTERRUPTED, JOB_FAILED, UserError
from isoloss.plans import planning
from isoloss.plans.study_is_current import study_in
from isoloss.runtime.executors.base import Executor, Outcome, in_order
from isoloss.runtime.store.recovery import recover, study_states
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import Failure
from isoloss.screens.progress import Progress

Compiler = Callable[[Study, Sequence[Observation], DeviceProfile], tuple[Plan | None, list[Diagnostic]]]


@dataclass
class Ended:
    """How a study's run ended. `plan` is the last one; `ran` counts the jobs that this call ran to their end,
    `elsewhere` those that another process ran meanwhile."""

    study: Study
    plan: Plan
    store: Store
    diagnostics: tuple[Diagnostic, ...]
    ran: int = 0
    elsewhere: int = 0
    failed: dict[str, tuple[Job, Failure]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    scores: list[forecast_ledger.Score] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        return JOB_FAILED if self.failed or self.skipped else FINE


def load(
    path: str, profile: str | None, overrides: Sequence[str]
) -> tuple[Study, tuple[Diagnostic, ...], Plan | None]:
    """The study in a `.study` file or in a PLAN.json, its warnings, and the plan in the latter. Raises UserError with
    all mistakes."""
    if not planning.is_plan(path):
        study, found = planning.load(path, profile, overrides)
        return study, tuple(found), None
    plan, found = planning.plan_of(path, profile=profile, overrides=overrides)
    return study_in(plan), tuple(found), plan


def run_study(
    study: Study,
    store: Store,
    make_executor: Callable[[Study], Executor],
    *,
    compiler: Compiler | None = None,
    progress: Progress | None = None,
    on_start: Callable[[Sequence[Job]], None] = lambda ready: None,
) -> Ended:
    """Run `study` to its fixed point in `store`. `on_start` is called with the jobs that are ready before the
    first of them starts.

    Raises UserError where it can't be planned, JobError where nothing can be run (R1xx, R204, R209); failed
    jobs are in what it returns."""
    if compiler is None:
        from isoloss.compiler.compile import CompileCache, compile_study

        compiler = partial(compile_study, cache=CompileCache())
    progress = progress or Progress()
    executor = make_executor(study)
    progress.slots, progress.processes = executor.width, executor.processes
    try:
        store.claim(executor.origin)
        recover(store)
        return _Loop(study, store, executor, compiler, progress, on_start).run()
    finally:
        progress.close()
        executor.close()


@dataclass
class _Loop:
    study: Study
    store: Store
    executor: Executor
    compiler: Compiler
    progress: Progress
    on_start: Callable[[Sequence[Job]], None]

    def run(self) -> Ended:
        ended = self._compile()
        # What the journal last said of this study: a run that finds nothing to do adds nothing.
        self._said = study_states(self.store).get(ended.plan.digest, "")
        if self._said == "running":
            self._said = ""  # by a process that is gone, or one that works beside us
        # Failed once in this call, not tried again in it: the next call does.
        tried: set[str] = set()
        while not ended.interrupted:
            ready = startable(ended.plan, self.store, tried)
            if not ready:
                break
            if self._said != "running":
                self.on_start(ready)
                self._journal("running", ended.plan)
            self._announce(ended.plan, ready)
            forecast_ledger.record(self.store.path / "forecasts.jsonl", ended.plan, {job.id for job in ready})
            outcome = self.executor.run(ready, self.store, ended.plan.digest, self.progress)
            self._take(outcome, ready, ended, tried)
            if not outcome.interrupted:
                again = self._compile()
                ended.plan, ended.diagnostics = again.plan, again.diagnostics
        if ended.ran or ended.elsewhere:
            recover(self.store)
        ended.scores = forecast_ledger.score(self.store.path / "forecasts.jsonl", ended.plan)
        state = {FINE: "finished", JOB_FAILED: "failed", INTERRUPTED: "stopped"}[ended.exit_code]
        if state != self._said:
            self._journal(state, ended.plan, values=_values(ended.plan))
        return ended

    def _compile(self) -> Ended:
        profile = planning.device_profile(self.study, self.store.path)
        plan, diagnostics = self.compiler(self.study, self.store.observations(), profile)
        if plan is None:
            raise UserError(with_source(diagnostics))
        text = plan_to_json(plan)
        name = f"{plan.digest[:20]}-{plan.revision:05d}-{sha256(text).hexdigest()[:8]}.json"
        if not (self.store.path / "plans" / name).exists():
            self.store.save_plan(name, text)
            facts = {"study": plan.digest, "name": self.study.name, "revision": plan.revision}
            self.store.journal.append({"event": "plan", **facts, "file": f"plans/{name}"})
        return Ended(self.study, plan, self.store, tuple(diagnostics))

    def _announce(self, plan: Plan, ready: Sequence[Job]) -> None:
        left = [job for job in plan.jobs if not self.store.has(job.id)]
        self.progress.expect(left, len(plan.jobs) - len(left))
        done = f"; {len(plan.jobs) - len(left)} have a result" if len(left) < len(plan.jobs) else ""
        self.progress.say(f"plan {plan.revision}: {len(ready)} jobs to run of {len(plan.jobs)}{done}")

    def _take(self, outcome: Outcome, ready: Sequence[Job], ended: Ended, tried: set[str]) -> None:
        by_id = {job.id: job for job in ready}
        ended.ran += len(outcome.done - outcome.elsewhere)
        ended.elsewhere += len(outcome.elsewhere)
        ended.interrupted = outcome.interrupted
        for id, failure in outcome.failed.items():
            # An input was damaged and set aside: the next plan makes that again, so the job gets one more
            # try.
            if not failure.retry or id in ended.failed:
                tried.add(id)
            ended.failed[id] = (by_id[id], failure)
        ended.skipped.update(outcome.skipped)
        if not outcome.done and not outcome.failed:
            tried.update(outcome.skipped)  # nothing moved: trying again would not end
        for id in outcome.done:
            ended.failed.pop(id, None)
            ended.skipped.pop(id, None)

    def _journal(self, state: str, plan: Plan, **more: object) -> None:
        facts = {"study": plan.digest, "name": self.study.name, "revision": plan.revision, **more}
        self.store.journal.append({"event": "study", "state": state, **facts})
        self._said = state


def startable(plan: Plan, store: Store, tried: Collection[str] = ()) -> list[Job]:
    """Ready jobs without result whose needs can be met, by results or by each other, needs first."""
    ready = [j for j in plan.jobs if j.state != "provisional" and not store.has(j.id) and j.id not in tried]
    chosen: dict[str, Job] = {}
    for job in in_order(ready):
        if all(need in chosen or store.has(need) for need in job.needs):
            chosen[job.id] = job
    return list(chosen.values())


def _values(plan: Plan) -> dict[str, float | None]:
    """The answers as numbers, for the study's MLflow run."""
    found: dict[str, float | None] = {}
    for answer in plan.answers:
        for what, table in (("forecast", answer.values), ("measured", answer.measured)):
            for quantity, value in table.items():
                if value is not None and answer.kind != "fit":
                    found[f"{answer.name} {what} {quantity}"] = value.mid
    return found
