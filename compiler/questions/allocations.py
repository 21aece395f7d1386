"""Allocations: the runs that fitted laws ask for, as answers and as jobs.

In: the background of answers, what the budget keeps for each, images that are made anyway. Out: Answers, and the
jobs they ask for. Pure. An allocation depends on completed grid runs alone: once those are all finished it never
moves, and what it trains never enters a law. Legend: N parameters, D images."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.design.reservation import Reserved, test_passes
from isoloss.compiler.facts.shards import first
from isoloss.compiler.facts.sources import mixed
from isoloss.compiler.jobs.factory import JobFactory, RunJobs, Source, short
from isoloss.compiler.laws.arrays import Bools, Floats
from isoloss.compiler.observed.learned_profile import learned_profile
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.observed.study_fits import Fitted, known_range
from isoloss.compiler.plan import Answer, DeviceProfile, GenerateSpec, Range, State, component_text, is_clean
from isoloss.compiler.plans.job_list import JobRequest
from isoloss.compiler.plans.totals import bill_flops
from isoloss.compiler.questions import unreachable
from isoloss.compiler.questions.answering import (
    Answering,
    answer,
    complete,
    is_wide,
    predictions,
    predictor,
    progress,
    reach,
    tidy,
)
from isoloss.compiler.questions.buildable_networks import nearest, per_image_rule
from isoloss.compiler.questions.objectives import (
    MOST_IMAGES,
    Allowed,
    Chosen,
    Offer,
    Predictor,
    Search,
    cheapest,
    lowest_loss,
)
from isoloss.compiler.questions.steps import Steps
from isoloss.compiler.questions.walltime import Clock
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Allocate, Evaluation
from isoloss.dsl.vocabulary.quantity_text import flop_text, time_text


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the grids' chosen runs decide for allocations: images of each generator that they draw anyway, by
    name, the jobs that they need, and the device profile as their finished jobs have taught it."""

    images: Mapping[str, int]
    jobs: Collection[str]
    profile: DeviceProfile


def drawn_by_grids(
    chosen: Sequence[RunJobs], factory: JobFactory, profile: DeviceProfile, knowledge: Knowledge
) -> Drawn:
    """What the chosen runs of the grids draw, and how fast they were: the same before and after allocations are
    trained."""
    images: dict[str, int] = {}
    sources: dict[str, Source] = {}
    for run in chosen:
        fid, generator = run.setup.fid, run.cell.generator
        sources.update((id, factory.sources[id]) for id in factory.closure(run.shared))
        sources.update((source.id, source) for source in run.sources)
        specs = (sources[id].spec for id in (*run.train.needs, *(fid.needs if fid else ())))
        mix = mixed(factory.generators[generator])
        share = mix[1] if mix is not None else 1
        stops = (int(spec.stop / share) for spec in specs if isinstance(spec, GenerateSpec))
        images[generator] = max((images.get(generator, 0), *stops))
    return Drawn(images, sources.keys(), learned_profile(profile, sources.values(), knowledge))


class Allocations:
    """Answers in declaration order; `jobs` are what they train and test; `problems` what can't be had."""

    def __init__(self, background: Answering, kept: Mapping[str, Reserved], drawn: Drawn) -> None:
        self.background = background
        self.factory = background.factory
        self.kept = kept
        self.drawn = drawn
        self.jobs: list[JobRequest] = []
        self.problems: list[Diagnostic] = []

    def answers(self) -> list[Answer]:
        return [self._allocate(question) for question in self.background.study.allocations]

    def _allocate(self, question: Allocate) -> Answer:
        laws = {name: self.background.laws(question.laws, name) for name in question.generators}
        every = list({id(f): f for mine in laws.values() for f in mine}.values())
        notes, final = progress(every), complete(every)
        waiting = [name for name in question.generators if self.background.fid(name) is None]
        notes.extend(f"waits for the fid of `{name}`" for name in waiting)
        networks = self.background.networks(question.recipe, question.families)
        offers = [] if waiting else self._offers(question, laws)
        nothing = "not determined" if final and not waiting else "pending"
        if not offers or not networks:
            notes.append(self._kept_note(question))
            return answer(question, "allocate", nothing, {}, notes)
        asked = _Asked(question, Search(networks, offers, held=question.compete), laws, notes, final)
        chosen = self._choose(asked)
        cell = None if chosen is None else self._cell(asked, chosen)
        if chosen is None or cell is None:
            return answer(question, "allocate", nothing, {}, notes)
        return self._answered(asked, chosen, cell)

    def _kept_note(self, question: Allocate) -> str:
        if question.compute_flops is not None:
            return f"{flop_text(question.compute_flops)} is kept for it"
        left = self._bound(question)
        bounded = "what it needs is known once its law is"
        return (
            bounded
            if math.isinf(left)
            else f"{bounded}; the budget has up to {flop_text(max(0.0, left))} for it"
        )

    # What it may draw from, and what bounds it.

    def _offers(self, question: Allocate, laws: Mapping[str, Sequence[Fitted]]) -> list[Offer]:
        """The generators for which some law is fitted."""
        laws_of = ((name, predictor(laws[name])) for name in question.generators)
        return [self._offer(name, law) for name, law in laws_of if law is not None]

    def _offer(self, name: str, law: Predictor) -> Offer:
        fid, limit = self.background.fid(name), self.factory.supply(name).unique
        assert fid is not None, "a generator is offered once its quality is known"
        count = first(limit)
        makers = self.factory.data(name, count)[1]
        before = [id for id in self.factory.closure(makers) if id not in {*makers, *self.drawn.jobs}]
        pricer = Pricer(self.drawn.profile)
        prices, trained = (
            [pricer.cost(self.factory.sources[id].spec) for id in ids] for ids in (makers, before)
        )
        return Offer(
            name=name,
            law=law,
            fid=fid,
            unique=math.inf if limit is None else float(limit),
            made=float(self.drawn.images.get(name, 0)),
            image_flops=sum(map(bill_flops, (p for p in prices if not p.unknown))) / count,
            network_flops=sum(map(bill_flops, (p for p in trained if not p.unknown))),
            network_seconds=sum(p.seconds.mid for p in trained if p.seconds is not None),
        )

    def _choose(self, asked: _Asked) -> Chosen | None:
        question, search = asked.question, asked.search
        if question.accuracy is not None:
            losses = [unreachable.loss_of(asked.laws[o.name], question.accuracy) for o in search.offers]
            found = cheapest(search, losses, question.overhead)
        elif question.time_seconds is not None:
            found = lowest_loss(search, self._in_time(asked, question.time_seconds))
        else:
            compute = question.compute_flops
            assert compute is not None, "an allocation has one objective"
            richer = (
                self._for_compute(asked, compute * (1 + question.overhead)) if question.overhead else None
            )
            found = lowest_loss(search, self._for_compute(asked, compute), richer)
            found = found or self._nearest(asked, compute)
        if found is None:
            self._say_why_not(asked)
        return found

    def _nearest(self, asked: _Asked, compute: float) -> Chosen | None:
        """For laws that predict no single run: the network nearest to their N*, on the first generator."""
        networks, offer = asked.search.networks, asked.search.offers[0]
        optimum = offer.law.optimum(compute, offer.fid, per_image_rule(networks))
        if optimum.params is None or math.isfinite(unreachable.lowest(asked.search, offer)):
            return None
        asked.notes.append("its law predicts no single run: the network is the one nearest to N*")
        network = nearest(networks, optimum.params.mid)
        images = compute / network.flops_per_image
        return Chosen(offer, network, images, network, images, ())

    def _for_compute(self, asked: _Asked, compute: float) -> Allowed:
        """Runs whose training, with the images where generators compete, costs so much at most; and with its
        tests no more than is kept."""
        tests, bound = self._test_flops(asked), self._bound(asked.question)

        def allowed(offer: Offer, images: Floats) -> Bools:
            cost = asked.search.each * images
            if asked.question.compete:
                cost = cost + offer.sampling_flops(images)
            return np.asarray((cost <= compute) & (cost + tests <= bound))

        return allowed

    def _in_time(self, asked: _Asked, seconds: float) -> Allowed:
        """Runs that end in time, and cost with their images and tests no more than is kept."""
        tests, bound, clock = self._test_flops(asked), self._bound(asked.question), self._clock(asked)

        def allowed(offer: Offer, images: Floats) -> Bools:
            cost = asked.search.each * images + offer.sampling_flops(images) + tests
            return np.asarray((clock.seconds(offer, images) <= seconds) & (cost <= bound))

        return allowed

    def _clock(self, asked: _Asked) -> Clock:
        networks = asked.search.networks
        steps = Steps(asked.question, self.factory)
        return Clock(asked.question, self.factory, self.drawn.profile, networks, steps.batches(networks))

    def _test_flops(self, asked: _Asked) -> Floats:
        passes = test_passes(self.background.study, asked.question)
        return np.array([passes * network.counted.forward_flops for network in asked.search.networks])

    def _bound(self, question: Allocate) -> float:
        limited = self.background.study.budget.compute_flops is not None
        return self.kept[question.name].run if limited else math.inf

    def _say_why_not(self, asked: _Asked) -> None:
        clock = self._clock(asked) if asked.question.time_seconds is not None else None
        said, helps = unreachable.why(asked.question, asked.search, asked.laws, clock)
        asked.notes.append(said)
        if asked.final:
            self._problem("B113", f"`{asked.question.name}` has no run: {said}", asked.question, helps)

    def _problem(
        self, code: str, headline: str, question: Allocate, help: str, *, error: bool = False
    ) -> None:
        severity = "error" if error else "warning"
        self.problems.append(
            Diagnostic(code, headline, question.origin.span, help=(help,), severity=severity)  # type: ignore[arg-type]
        )

    # The run.

    def _cell(self, asked: _Asked, chosen: Chosen) -> Cell | None:
        """The run as a cell: batch and learning rate by the recipe's rules, whole steps within the bounds."""
        question, steps = asked.question, Steps(asked.question, self.factory)
        # What is bought by accuracy must not fall short; all else must not cost more.
        cell = steps.cell(chosen, up=question.accuracy is not None)
        if isinstance(cell, Cell):
            return cell
        if cell is None:
            what = f"the {short(chosen.images)} images of `{question.name}`"
            headline = f"recipe `{question.recipe}` has no batch or lr for {what}"
            self._problem("G103", headline, question, "end its rules with `else VALUE`", error=True)
            return None
        said = f"it buys {short(chosen.images)} images, and one step takes {short(cell)}"
        asked.notes.append(said)
        self._problem("B113", f"`{question.name}` has no run: {said}", question, "raise what it may cost")
        return None

    def _answered(self, asked: _Asked, chosen: Chosen, cell: Cell) -> Answer:
        question, laws, notes, offer = (
            asked.question,
            asked.laws[chosen.offer.name],
            asked.notes,
            chosen.offer,
        )
        flops = question.compute_flops
        if flops is None or question.compete:
            flops = chosen.best.flops_per_image * chosen.best_images
        optimum = offer.law.optimum(flops, offer.fid, per_image_rule(asked.search.networks))
        predicted = offer.law.predict(cell.params, cell.drawn, offer.fid, new_run=True)
        values = {
            "params": tidy(optimum.params),
            "images": tidy(optimum.images),
            "flops": tidy(Range(cell.flops, cell.flops, cell.flops)),
            **predictions(laws, predicted),
        }
        notes.append(_choice_note(chosen, cell, optimum.params, flops))
        notes.extend(self._more_notes(asked, chosen, cell, optimum.images))
        if question.accuracy is not None:
            values["flops"] = _needed(laws, chosen, cell, question.accuracy, notes)
        params, drawn = float(cell.params), float(cell.drawn)
        seen = Range(params, params, params), Range(drawn, drawn, drawn)
        notes.extend(reach(laws, cell.flops, *seen, values["loss"]))
        train = self._request(asked, cell)
        measured = self._measured(question, cell, train, laws, values, notes)
        status = ("wide" if is_wide(values["params"], notes) else "answered") if asked.final else "pending"
        return answer(question, "allocate", status, values, notes, train.id, measured)

    def _more_notes(self, asked: _Asked, chosen: Chosen, cell: Cell, wished: Range | None) -> list[str]:
        """What it draws from and in place of what, how long it takes, and what is taken on trust. `wished`: D*."""
        question, offer, notes = asked.question, chosen.offer, []
        if len(question.generators) > 1:
            notes.append(f"draws from `{offer.name}`" + _others(question, chosen))
        extra = float(offer.sampling_flops(np.array([float(cell.drawn)]))[0])
        if question.compete and extra:
            made = "images, and of the networks that make them," if offer.network_flops else "images"
            notes.append(f"{flop_text(extra)} of {made} are made for it alone")
        if cell.drawn > offer.unique:
            unique = short(offer.unique)
            notes.append(
                f"draws {short(cell.drawn)} images of {unique} unique ones: the laws count each as new"
            )
        elif question.compete and wished is not None and wished.mid > offer.unique:
            unique = short(offer.unique)
            notes.append(f"its law asks for {short(wished.mid)} images, and `{offer.name}` has {unique}")
        if chosen.network is asked.search.networks[-1]:
            notes.append("no larger network of its families is on offer")
        if question.time_seconds is not None:
            seconds = self._clock(asked).seconds(
                offer, np.full(len(asked.search.networks), float(cell.drawn))
            )
            took = time_text(float(seconds[asked.search.networks.index(chosen.network)]))
            devices = self.background.study.budget.devices
            notes.append(
                f"takes {took} on {devices.count} of {devices.kind}, from its first "
                f"{'network' if offer.network_seconds else 'image'} to its last test"
            )
        known = {each.model.kind for each in self.background.cells}
        if chosen.network.model["kind"] not in known:
            family = chosen.network.model["kind"]
            notes.append(f"no run of family `{family}` is in a grid: its law is taken to hold for it")
        return notes

    def _request(self, asked: _Asked, cell: Cell) -> Source:
        """Ask for the run's jobs. Provisional while the law can still move."""
        question = asked.question
        train = self.factory.train(cell)
        state: State = "ready" if asked.final else "provisional"
        why = _reason(question)
        if not asked.final:
            why += ", as far as known: it waits for the runs that its law is fitted to"
        facts = self.factory.facts(cell, None, question.name)
        self.jobs.append((question.name, train, facts, state, why, question.origin))
        for evaluation in question.evaluate:
            source = self.factory.evaluate(train, cell, evaluation)
            facts = self.factory.facts(cell, evaluation, question.name)
            name = f"{question.name}/{evaluation.name}"
            measures = f"measures `{evaluation.name}` on {question.name}"
            self.jobs.append((name, source, facts, state, measures, question.origin))
        return train

    def _measured(
        self,
        question: Allocate,
        cell: Cell,
        train: Source,
        laws: Sequence[Fitted],
        values: dict[str, Range | None],
        notes: list[str],
    ) -> dict[str, Range | None]:
        """What the trained run came to, and whether inside the forecast. Empty until it is evaluated."""
        about = {f.declared.evaluate for f in laws if f.metric is not None}
        law_tests = [_done(self.factory.evaluations[name]) for name in about if name is not None]
        measured: dict[str, Range | None] = {}
        for evaluation in question.evaluate:
            source = self.factory.evaluate(train, cell, evaluation)
            for o in self.background.knowledge.of_job(source.id):
                if not (o.metric.startswith(("loss ", "accuracy "))):
                    continue
                low = o.value if o.low is None else o.low
                high = o.value if o.high is None else o.high
                name = o.metric.partition(" ")[0]
                # What the law is about has the plain name; others keep their type, and their evaluation's name where
                # another one has that type.
                attacked = evaluation.attack.kind == "none" or not is_clean(o.metric)
                plain = attacked and _done(evaluation) in law_tests
                typed = f"{o.metric} ({evaluation.name})" if o.metric in measured and attacked else o.metric
                measured.setdefault(name if plain else typed, known_range(low, o.value, high))
        for name in ("loss", "accuracy"):
            found, expected = measured.get(name), values.get(name)
            if found is not None and expected is not None:
                inside = expected.low <= found.mid <= expected.high
                notes.append(
                    f"measured {name} {found.mid:.4g} is {'inside' if inside else 'outside'} the forecast "
                    f"[{expected.low:.4g}, {expected.high:.4g}]"
                )
        return measured


def _done(evaluation: Evaluation) -> tuple[object, ...]:
    """What an evaluation does, whatever it is called."""
    return evaluation.attack, evaluation.weights, evaluation.split, evaluation.images


@dataclass(frozen=True, slots=True)
class _Asked:
    """One allocation with what is searched for it; `notes` grow as it is answered; `laws` by generator."""

    question: Allocate
    search: Search
    laws: Mapping[str, Sequence[Fitted]]
    notes: list[str]
    final: bool


def _reason(question: Allocate) -> str:
    if question.accuracy is not None:
        return f"the cheapest run that its law takes to {question.accuracy:.4g} accuracy"
    if question.time_seconds is not None:
        return f"the best run by its law that ends within {time_text(question.time_seconds)}"
    return "the compute-optimal run of its law"


def _choice_note(chosen: Chosen, cell: Cell, params: Range | None, compute: float) -> str:
    network, best = chosen.network, chosen.best
    wished = f"N* = {params.mid:.4g}" if params is not None else "no closed optimum"
    said = f"{component_text(network.model)}, N = {network.params:,} ({wished}), D = {cell.drawn:,} images"
    if network is not best:
        extra, smaller = cell.flops / compute - 1, best.params / network.params
        said += f"; {smaller:.3g} times smaller than the optimum for {extra:+.1%} compute"
    return said


def _others(question: Allocate, chosen: Chosen) -> str:
    """What the other generators' best runs would come to."""
    bought = question.accuracy is not None
    said = [
        f"`{r.offer.name}` {flop_text(r.value) if bought else f'loss {r.value:.4g}'} "
        f"with {component_text(r.network.model)}"
        for r in chosen.rivals
        if r.offer.name != chosen.offer.name
    ]
    missing = set(question.generators) - {r.offer.name for r in chosen.rivals}
    said += [f"`{name}` no run at all" for name in question.generators if name in missing]
    return f"; in its place: {', '.join(said)}" if said else ""


#: Steps of images, 6 % each, over which an accuracy is looked for from the run on: three decades.
_REACH = np.exp(np.linspace(0.0, math.log(1e3), 121))


def _needed(
    laws: Sequence[Fitted], chosen: Chosen, cell: Cell, accuracy: float, notes: list[str]
) -> Range | None:
    """The training FLOPs that this network needs for an accuracy: from where the interval of one run's accuracy
    first reaches it to where all of the interval does. None where that is nowhere, which a note says."""

    def accuracies(images: Floats) -> list[Range | None]:
        band = chosen.offer.law.predict_many(cell.params, images, chosen.offer.fid, new_run=True)
        ranges = (Range(*map(float, ends)) for ends in zip(band.low, band.mid, band.high, strict=True))
        return [predictions(laws, each)["accuracy"] for each in ranges]

    down, up = np.maximum(cell.drawn / _REACH, 1.0), np.minimum(cell.drawn * _REACH, MOST_IMAGES)
    short_of = (d for d, a in zip(down, accuracies(down), strict=True) if a is None or a.high < accuracy)
    sure = next((d for d, a in zip(up, accuracies(up), strict=True) if a and a.low >= accuracy), None)
    if sure is None:
        said = (
            f"no amount of training makes this network surely reach {accuracy:.4g}: the need has no interval"
        )
        notes.append(said)
        return None
    least = float(next(short_of, down[-1]))
    return known_range(least * cell.flops_per_image, cell.flops, float(sure) * cell.flops_per_image)
