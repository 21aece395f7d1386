"""How long an allocation's run takes by the clock on all devices of the budget: its images and the networks that make
them, training and tests.

In: what the run would be, a device profile. Out: seconds, for many networks at once. Pure. The arithmetic is
price.py's, at its mid rates, but for memory, of which every network is taken to have enough, and AutoAttack, which
the assumed share survives. A stage ends no sooner than its work spread over all devices, nor than its longest job at
full width (schedule.py), and stages follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost import passes
from isoloss.compiler.cost.price import Pricer, keys_of, number_inside
from isoloss.compiler.cost.scaling import SCALING, widest_job
from isoloss.compiler.cost.speed import Work, width_factor
from isoloss.compiler.facts.components import component
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.facts.shards import DOUBLED, LARGEST, shards
from isoloss.compiler.facts.sources import is_real, mixed
from isoloss.compiler.jobs.factory import JobFactory, Source
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.plan import DeviceProfile
from isoloss.compiler.questions.buildable_networks import Network
from isoloss.compiler.questions.objectives import MOST_IMAGES, Offer
from isoloss.dsl.study.study import Allocate, Evaluation

#: (offer, images [n] of the networks) -> batch size [n], by the recipe's rule.
Batches = Callable[[Offer, Floats], Floats]


@dataclass(frozen=True, slots=True)
class _Shards:
    """Where shards end, in images drawn; seconds of all up to there, and of the longest [n]. Beyond the last one,
    another `took` seconds for every `step` images: a last shard that a limit cuts is taken as whole."""

    ends: Floats
    work: Floats
    longest: Floats
    step: float
    took: float


class Clock:
    """Wall-clock seconds of runs of `networks` for one allocation."""

    def __init__(
        self,
        question: Allocate,
        factory: JobFactory,
        profile: DeviceProfile,
        networks: Sequence[Network],
        batches: Batches,
    ) -> None:
        self.factory, self.question, self.batches = factory, question, batches
        self.pixels = shape(factory.dataset)
        self.pricer = Pricer(profile)
        self.recipe = factory.variants[question.recipe].recipe
        devices = factory.study.budget.devices
        self.devices, self.width = devices.count, widest_job(devices.kind, devices.count) ** SCALING
        self.forward = np.array([n.counted.forward_flops for n in networks])
        self.written = np.array([float(n.counted.written) for n in networks])
        self.layers = np.array([float(n.counted.layers) for n in networks])
        self._shards: dict[str, _Shards] = {}
        precision = self.recipe.precision
        self.steps = self._speeds(networks, "train", precision)
        self.tests_inside = self._speeds(networks, "train", number_inside(precision))
        self.tests = self._speeds(networks, "evaluate", "fp32")

    def seconds(self, offer: Offer, images: Floats) -> Floats:
        """From the first image, or the training of what makes it, to the last test, [n]."""
        made = offer.network_seconds + self._sampling(offer, images)
        return np.asarray(made + self._training(offer, images) + self._tests())

    def _speeds(self, networks: Sequence[Network], kind: str, number: str) -> Floats:
        """[3, n]: FLOP/s, values per second, seconds per launch, in the middle, of the closest speed of the profile."""
        speeds = self.pricer.profile.speeds
        rows = []
        for network in networks:
            key = next(key for key in keys_of(kind, network.model["kind"], number) if key in speeds)
            speed, counted = speeds[key], network.counted
            slower = width_factor(speed, Work(counted.forward_flops, counted.written))
            rates = speed.flops_per_second.mid / slower, speed.values_per_second.mid / slower
            rows.append((*rates, speed.launch_seconds.mid))
        return np.array(rows).T

    def _network_seconds(self, speeds: Floats, image_passes: Floats, batch_passes: Floats) -> Floats:
        """One device's seconds for so many passes of an image and of a batch through each network; the formula of
        compiler/cost/speed.py, at its middle."""
        flops, values, launch = speeds
        work = image_passes * (self.forward / flops + self.written / values)
        waits = batch_passes * self.layers * launch
        return np.asarray(np.maximum(work, waits) if self.pricer.profile.queues else work + waits)

    def _training(self, offer: Offer, images: Floats) -> Floats:
        recipe = self.recipe
        rule = passes.of_recipe(recipe)
        seconds = self._network_seconds(
            self.steps, rule * images, rule * images / self.batches(offer, images)
        )
        if recipe.evaluate is not None:
            test = self.factory.evaluations[recipe.evaluate.evaluation]
            times = cost.evaluations_inside(recipe.evaluate.every, test.split)
            attack, tested = component(test.attack), self.pixels.tested(test.images, test.split)
            each = times * cost.paced_passes(attack)
            batches = np.asarray(float(each * cost.evaluation_batches(tested)))
            seconds = seconds + self._network_seconds(self.tests_inside, np.asarray(each * tested), batches)
        return np.asarray((self.pricer.profile.startup_seconds.mid + seconds) / self.width)

    def _tests(self) -> Floats:
        jobs = [self._test(test) for test in self.question.evaluate]
        if not jobs:
            return np.zeros_like(self.forward)
        table = np.stack(jobs)
        return self._stage(np.asarray(table.sum(axis=0)), np.asarray(table.max(axis=0)))

    def _test(self, test: Evaluation) -> Floats:
        attack, tested = component(test.attack), self.pixels.tested(test.images, test.split)
        each, checks = cost.paced_passes(attack), cost.alarm_passes(attack["kind"])
        images = each * tested + min(cost.ALARM_IMAGES, tested) * checks
        batches = each * cost.evaluation_batches(tested) + checks
        seconds = self._network_seconds(self.tests, np.asarray(float(images)), np.asarray(float(batches)))
        return np.asarray(self.pricer.profile.startup_seconds.mid + seconds)

    def _sampling(self, offer: Offer, images: Floats) -> Floats:
        """Of the shards beyond those made anyway; none where making them isn't estimated."""
        if offer.name not in self._shards:
            self._shards[offer.name] = self._shard_table(offer)
        table = self._shards[offer.name]
        wanted = np.minimum(images, offer.unique)
        at = np.minimum(np.searchsorted(table.ends, wanted), len(table.ends) - 1)
        more = np.ceil(np.maximum(0.0, wanted - table.ends[-1]) / table.step)
        return self._stage(table.work[at] + more * table.took, table.longest[at])

    def _shard_table(self, offer: Offer) -> _Shards:
        """Up to the first of the largest that is to be made: those after it are as long."""
        rows, took = [(0.0, 0.0, 0.0)], 0.0
        name, share = mixed(self.factory.generators[offer.name]) or (offer.name, Fraction(1))
        step = float(LARGEST / share)
        for stop, source in self._makers(name, int(min(offer.unique, MOST_IMAGES) * share)):
            spent, drawn = self.pricer.cost(source.spec).seconds, float(stop / share)
            if spent is None:
                break
            took = 0.0 if drawn <= offer.made else spent.mid
            rows.append((drawn, rows[-1][1] + took, max(rows[-1][2], took)))
            if took and stop > DOUBLED:
                break
        ends, work, longest = (np.array(column) for column in zip(*rows, strict=True))
        return _Shards(ends, work, longest, step, took)

    def _makers(self, name: str, images: int) -> Iterator[tuple[int, Source]]:
        """Jobs that make a generator's first images, and how many there are by then; none of a fixed real set."""
        declared = self.factory.generators[name]
        if declared.source is not None and declared.source.kind == "files":
            yield images, self.factory.files(name)
        elif not (is_real(declared) and self.pixels.train_images is not None):
            for start, stop in shards(images, declared.images):
                yield stop, self.factory.shard(name, start, stop)

    def _stage(self, work: Floats, longest: Floats) -> Floats:
        return np.asarray(np.maximum(work / self.devices, longest / self.width))
