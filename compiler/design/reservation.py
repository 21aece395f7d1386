"""What is kept of a compute budget for the runs that allocations will ask for, before anything is known of them.

In: a study, its candidate cells, prices. Out: FLOPs kept for each allocation. Pure; the same before and after
runs finish. What an allocation then trains, with its images and its tests, is held within it (allocations.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost import passes
from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.facts.components import component
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.facts.shards import DOUBLED, LARGEST
from isoloss.compiler.facts.sources import mixed
from isoloss.compiler.jobs.factory import JobFactory
from isoloss.compiler.plan import DeviceProfile
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.study.study import Allocate, Study

#: Share of what the budget holds that is kept for runs without a bound of their own in FLOPs, those of an
#: `accuracy` or a `time`, where cells are chosen (assumed: half for finding the law, half for using it). With
#: `choose = all` they have what the cells leave.
OPEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Reserved:
    """FLOPs kept before any cell is bought: `run` for the training and its evaluations, and for its images where
    they are paid from the same; `images` beside it. `open`: the run has no bound of its own, only the budget's."""

    run: float
    images: float = 0.0
    open: bool = False

    @property
    def flops(self) -> float:
        return self.run + self.images


def reservation(
    study: Study, factory: JobFactory, pricer: Pricer, cells: Sequence[Cell], profile: DeviceProfile
) -> Mapping[str, Reserved]:
    """By allocation. Of a `compute`: that, with its overhead, its evaluations on the largest network of the
    grids, the most images it could need. Of others a share; of a `time` no more than the devices do in it, by
    the `profile` as it was before this study's jobs taught it."""
    found: dict[str, Reserved] = {}
    bills: dict[str, float] = {}
    each_way = {id(cell.variant): cell.variant.recipe for cell in cells}
    prices = {(id(cell.variant), cell.flops_per_image) for cell in cells}
    # Forward FLOPs of the network that costs so much to train by a recipe.
    forwards = (flops / passes.of_recipe(each_way[variant]) for variant, flops in prices)
    largest = max(forwards, default=0.0)
    for each in study.allocations:
        if each.compute_flops is not None:
            training = each.compute_flops * (1 + each.overhead)
            images = 0.0 if each.compete else _images(each, training, factory, pricer, cells, bills)
            found[each.name] = Reserved(training + test_passes(study, each) * largest, images)
    open_ones = [each for each in study.allocations if each.compute_flops is None]
    limit = study.budget.compute_flops
    share = 0.0
    if open_ones and limit is not None and study.budget.choose != "all":
        share = max(0.0, limit - sum(k.flops for k in found.values())) * OPEN_SHARE / len(open_ones)
    for each in open_ones:
        most = (
            math.inf
            if each.time_seconds is None
            else _in_time(study, each.recipe, each.time_seconds, profile)
        )
        found[each.name] = Reserved(min(share, most), open=True)
    return found


def with_leftover(before: Mapping[str, Reserved], study: Study, spent: float) -> Mapping[str, Reserved]:
    """The same once cells are chosen for `spent` FLOPs: open ones have what that leaves, in equal parts."""
    limit, count = study.budget.compute_flops, sum(k.open for k in before.values())
    if limit is None or not count:
        return before
    left = (limit - spent - sum(k.flops for k in before.values() if not k.open)) / count
    return {name: replace(k, run=max(k.run, left)) if k.open else k for name, k in before.items()}


def _in_time(study: Study, recipe_name: str, seconds: float, profile: DeviceProfile) -> float:
    """At the speed of the kind of job that is done fastest, on all devices."""
    fits = ("", next(recipe.precision for recipe in study.recipes if recipe.name == recipe_name))
    speeds = profile.speeds.items()
    fastest = max(speed.flops_per_second.mid for key, speed in speeds if key.partition("@")[2] in fits)
    return seconds * study.budget.devices.count * fastest


def test_passes(study: Study, each: Allocate) -> float:
    """Forward-equivalents of all evaluations of such a run, during and after its training, at their most: every
    image survives AutoAttack."""
    pixels = shape(component(study.dataset))
    recipe = next(r for r in study.recipes if r.name == each.recipe)
    total = 0.0
    for test in each.evaluate:
        images = pixels.tested(test.images, test.split)
        total += cost.job_passes(component(test.attack), images, survivors=1.0)
    if recipe.evaluate is not None:
        test = next(e for e in study.evaluations if e.name == recipe.evaluate.evaluation)
        images = pixels.tested(test.images, test.split)
        times = cost.evaluations_inside(recipe.evaluate.every, test.split)
        total += times * images * cost.evaluation_passes(component(test.attack), 1.0)
    return total


def _images(
    each: Allocate,
    training: float,
    factory: JobFactory,
    pricer: Pricer,
    cells: Sequence[Cell],
    bills: dict[str, float],
) -> float:
    """FLOPs of the images that the smallest network could draw for this compute. `bills` are those so far, which
    allocations share: by job, and by generator for all shards after its first of the largest, alike per image."""
    if not cells:
        return 0.0
    before = sum(bills.values())
    images = max(1, int(training / min(c.flops_per_image for c in cells)))
    for generator in each.generators:
        name, share = mixed(factory.generators[generator]) or (generator, Fraction(1))
        unique, limit = factory.supply(generator).unique, factory.generators[name].images
        wanted = math.ceil((images if unique is None else min(images, unique)) * share)
        near = min(wanted, DOUBLED + LARGEST)
        needs = factory.data(name, near)[1]
        jobs = ((id, bill_flops(pricer.cost(factory.sources[id].spec))) for id in factory.closure(needs))
        bills.update(jobs)
        if needs:
            later = -(-(wanted - near) // LARGEST) * LARGEST
            later = later if limit is None else min(later, limit - near)
            bills[name] = max(later / LARGEST * bills[needs[-1]], bills.get(name, 0.0))
    return sum(bills.values()) - before
