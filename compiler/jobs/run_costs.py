"""Candidate runs -> the Costs of their training and tests; equal runs share them. Pure."""

from __future__ import annotations

from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.jobs.factory import RecipeJobs, RunJobs, Setup
from isoloss.compiler.plan import Cost


class RunCosts:
    """Prices runs with one Pricer. `tested`: some job has finished, so that the share of images that AutoAttack goes
    on with may be known of single networks."""

    def __init__(self, pricer: Pricer, tested: bool) -> None:
        self._pricer = pricer
        self._tested = tested
        self._by_setup: dict[Setup, tuple[Cost, ...]] = {}
        self._tests: dict[RecipeJobs, tuple[Cost, ...]] = {}

    def of(self, run: RunJobs) -> tuple[Cost, ...]:
        """Of the training and of every test: the same for every seed, a test's whatever images were drawn; but what
        AutoAttack goes on with is each network's own."""
        price = self._pricer.cost
        if self.differ_by_network(run):
            return tuple([price(source.spec) for source in run.sources])
        costs = self._by_setup.get(run.setup)
        if costs is None:
            recipe_jobs = run.setup.recipe_jobs
            tests = self._tests.get(recipe_jobs)
            if tests is None:
                tests = self._tests[recipe_jobs] = tuple([price(source.spec) for source in run.tests])
            costs = self._by_setup[run.setup] = (price(run.train.spec), *tests)
        return costs

    def differ_by_network(self, run: RunJobs) -> bool:
        """Whether what AutoAttack goes on with may be known of this network."""
        if not self._tested:
            return False
        return any(test.attack.kind == "autoattack" for test in run.setup.recipe_jobs.evaluations)
