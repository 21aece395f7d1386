"""Answer the study's questions from its fitted laws: forecasts, and the runs that allocations ask for.

In: Fitteds, cells, knowledge. Out: Answers, and the jobs of allocations. Pure. An allocation depends on
completed
grid runs alone: once those are all finished it never moves, and what it trains never enters a law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from isoloss.compiler import plan
from isoloss.compiler.cells import Cell, span_of
from isoloss.compiler.components import component, component_text, metric_name
from isoloss.compiler.datasets import shape
from isoloss.compiler.fits import Fitted, known_range
from isoloss.compiler.jobs import Source, Workshop, short
from isoloss.compiler.nearest import Network, Predictor, allocate, buildable, nearest, per_image_rule
from isoloss.compiler.plan import Answer, Facts, Range, State
from isoloss.compiler.portfolio import Portfolio
from isoloss.compiler.rules import Rule
from isoloss.compiler.runs import Knowledge
from isoloss.compiler.words import flop_text
from isoloss.dsl.diagnostics import Diagnostic
from isoloss.dsl.study import Allocate, Call, Forecast, Origin, Study, Value

#: Times the largest run from which on a question is called an extrapolation; as lint L308.
FAR = 10.0

JobRequest = tuple[str, Source, Facts, State, str, Origin]


class Questions:
    """Answers in declaration order; `jobs` are what allocations train and test, as (name, source, facts,
    state,
    reason, origin); `problems` are answers that miss their tolerance."""

    def __init__(
        self,
        study: Study,
        fitted: Sequence[Fitted],
        cells: Sequence[Cell],
        knowledge: Knowledge,
        shop: Workshop,
    ) -> None:
        self.study = study
        self.fitted = fitted
        self.cells = cells
        self.knowledge = knowledge
        self.shop = shop
        self.jobs: list[JobRequest] = []
        self.problems: list[Diagnostic] = []
        self._networks: dict[str, tuple[Network, ...]] = {}

    def answers(self) -> list[Answer]:
        return [
            *(self._forecast(question) for question in self.study.forecasts),
            *(self._allocate(question) for question in self.study.allocations),
        ]

    # Laws behind a question.

    def _laws(self, names: Sequence[str], generator: str | None) -> list[Fitted]:
        chosen = []
        for name in names:
            mine = [f for f in self.fitted if f.declared.name == name]
            matching = [f for f in mine if f.generator in (None, generator)]
            chosen.extend(matching or mine[:1])
        return chosen

    def _predictor(self, laws: Sequence[Fitted]) -> Predictor | None:
        usable = [f.fit for f in laws if f.fit is not None and f.fit.usable]
        if not usable:
            return None
        return usable[0] if len(usable) == 1 else Portfolio(usable)

    def _fid(self, generator: str | None) -> float | None:
        if generator is None:
            return None
        declared = self.shop.generators[generator]
        if declared.fid is not None:
            return declared.fid
        job = self.shop.fid(generator)
        return self.knowledge.fid(job.id) if job is not None else None

    def networks(self, recipe: str) -> tuple[Network, ...]:
        """What could be built, priced under a recipe."""
        if recipe not in self._networks:
            chosen = self.shop.recipes[recipe]
            models = list({id(m): m for m in (component(cell.model) for cell in self.cells)}.values())
            self._networks[recipe] = (
                buildable(
                    models,
                    self.shop.dataset,
                    component(chosen.loss),
                    component(chosen.attack),
                    component(chosen.perturb),
                )
                if models
                else ()
            )
        return self._networks[recipe]

    # Forecasts.

    def _forecast(self, question: Forecast) -> Answer:
        laws = self._laws(question.laws, question.generator)
        notes = self._progress(laws)
        fid = question.fid if question.fid is not None else self._fid(question.generator)
        law = self._predictor(laws)
        complete = bool(laws) and all(f.complete for f in laws)
        if law is None or fid is None:
            if fid is None:
                notes.append(f"waits for the fid of `{question.generator}`")
            status = "unanswerable" if complete and fid is not None else "pending"
            return self._answer(question, "forecast", status, {}, notes)
        recipe = self._recipe_of(laws)
        networks = self.networks(recipe) if recipe else ()
        rule = per_image_rule(networks) if networks else None
        optimum = law.optimum(question.compute_flops, fid, rule)
        notes.extend(optimum.notes)
        values = {
            "params": _tidy(optimum.params),
            "images": _tidy(optimum.images),
            "flops": _tidy(optimum.flops),
            "loss": _tidy(optimum.loss),
            "accuracy": self._accuracy(laws, optimum.loss),
        }
        notes.extend(_reach(laws, question.compute_flops, optimum.params, optimum.images, values["loss"]))
        self._measure_as_error(laws, values)
        self._tolerance(question, values, complete, notes)
        status = "answered" if complete and (values["loss"] or values["accuracy"]) else "pending"
        if complete and status == "pending":
            status = "unanswerable"
        return self._answer(question, "forecast", status, values, notes)

    def _tolerance(
        self, question: Forecast, values: dict[str, Range | None], complete: bool, notes: list[str]
    ) -> None:
        loss = values["loss"] or values["accuracy"]
        if question.within is None:
            return
        if loss is None:
            if complete:
                notes.append("the interval is not estimated: whether it is narrow enough is not known")
            return
        width = (loss.high - loss.low) / 2 / loss.mid
        if width <= question.within:
            notes.append(f"half-width {width:.2%}, within the wanted {question.within:.2%}")
            return
        notes.append(f"half-width {width:.2%}, wanted {question.within:.2%}")
        if complete:
            headline = f"forecast `{question.name}` is known to {width:.2%}, not within {question.within:.2%}"
            helps = ("more runs nearer to its compute, more seeds, or a wider `within`",)
            self.problems.append(
                Diagnostic("L504", headline, span_of(question.origin), help=helps, severity="warning")
            )

    # Allocations.

    def _allocate(self, question: Allocate) -> Answer:
        laws = self._laws(question.laws, question.generator)
        notes = self._progress(laws)
        law, fid = self._predictor(laws), self._fid(question.generator)
        complete = bool(laws) and all(f.complete for f in laws)
        if fid is None:
            notes.append(f"waits for the fid of `{question.generator}`")
        networks = self.networks(question.recipe)
        if law is None or fid is None or not networks:
            notes.append(f"{flop_text(question.compute_flops)} is kept for it")
            status = "unanswerable" if complete and fid is not None else "pending"
            return self._answer(question, "allocate", status, {}, notes)
        optimum = law.optimum(question.compute_flops, fid, per_image_rule(networks))
        chosen = allocate(law, networks, question.compute_flops, fid, question.overhead)
        if chosen is None and optimum.params is not None:
            network = nearest(networks, optimum.params.mid)
            notes.append("its law predicts no single run: the network is the one nearest to N*")
            flops, best = question.compute_flops, network
        elif chosen is not None:
            network, flops, best = chosen.network, chosen.flops, chosen.best
        else:
            notes.extend(optimum.notes)
            return self._answer(question, "allocate", "unanswerable" if complete else "pending", {}, notes)
        cell = self._cell(question, network, flops, fid)
        if cell is None:
            return self._answer(question, "allocate", "unanswerable", {}, notes)
        notes.append(_choice_note(network, best, cell, optimum.params, question.compute_flops))
        limit = self.shop.supply(question.generator).unique
        if limit is not None and cell.drawn > limit:
            notes.append(
                f"draws {short(cell.drawn)} images of {short(limit)} unique ones: the laws count each as new"
            )
        predicted = law.predict(cell.params, cell.drawn, fid, new_run=True)
        values = {
            "params": _tidy(optimum.params),
            "images": _tidy(optimum.images),
            "flops": _tidy(Range(cell.flops, cell.flops, cell.flops)),
            "loss": _tidy(predicted),
            "accuracy": self._accuracy(laws, predicted),
        }
        params, drawn = float(cell.params), float(cell.drawn)
        asked = Range(params, params, params), Range(drawn, drawn, drawn)
        notes.extend(_reach(laws, cell.flops, *asked, values["loss"]))
        self._measure_as_error(laws, values)
        train = self._request(question, cell, complete)
        measured = self._measured(question, cell, train, laws, values, notes)
        return self._answer(
            question, "allocate", "answered" if complete else "pending", values, notes, train.id, measured
        )

    def _cell(self, question: Allocate, network: Network, flops: float, fid: float) -> Cell | None:
        """The run as a cell: batch and learning rate by the recipe's rules, whole steps within the
        compute."""
        recipe = self.shop.recipes[question.recipe]
        pixels = shape(self.shop.dataset)
        arguments = tuple((name, value) for name, value in network.model.items() if name != "kind")
        model = Call(network.model["kind"], arguments)
        images = max(1, int(flops / network.flops_per_image))
        quantities: dict[str, Value] = {
            "model": model,
            "generator": question.generator,
            "recipe": question.recipe,
            "images": images,
            "params": network.params,
            "fid": fid,
            "flops": flops,
            "seed": question.seed,
            "epochs": images / pixels.epoch_images,
            "generator.fid": fid,
            "generator.images": self.shop.supply(question.generator).unique,
        }
        batch, lr = Rule(recipe.batch)(quantities).value, Rule(recipe.lr)(quantities).value
        if not isinstance(batch, int | float | Fraction) or not isinstance(lr, int | float | Fraction):
            what = f"the {short(images)} images of `{question.name}`"
            headline = f"recipe `{recipe.name}` has no batch or lr for {what}"
            helps = ("end its rules with `else VALUE`",)
            self.problems.append(
                Diagnostic("G103", headline, span_of(question.origin), help=helps, severity="error")
            )
            return None
        steps = max(1, int(flops / (network.flops_per_image * int(batch))))
        return Cell(
            grid=question.name,
            model=model,
            generator=question.generator,
            recipe=question.recipe,
            images=steps * int(batch),
            seed=question.seed,
            batch=int(batch),
            lr=float(lr),
            train_steps=steps,
            steps_per_epoch=-(-pixels.epoch_images // int(batch)),
            params=network.params,
            flops_per_image=network.flops_per_image,
            fid=fid,
            provisional=False,
            origin=question.origin,
        )

    def _request(self, question: Allocate, cell: Cell, complete: bool) -> Source:
        """Ask for the run's jobs. Provisional while the law can still move."""
        train = self.shop.train(cell)
        state: State = "ready" if complete else "provisional"
        why = "the compute-optimal run of its law"
        if not complete:
            why += ", as far as known: it waits for the runs that its law is fitted to"
        facts = self.shop.facts(cell, None, question.name)
        self.jobs.append((question.name, train, facts, state, why, question.origin))
        for evaluation in question.evaluate:
            source = self.shop.evaluate(train, cell, evaluation)
            facts = self.shop.facts(cell, evaluation, question.name)
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
        metric = next((f.metric for f in laws if f.metric is not None), None)
        measured: dict[str, Range | None] = {}
        loss = component(self.shop.recipes[cell.recipe].loss)
        for evaluation in question.evaluate:
            source = self.shop.evaluate(train, cell, evaluation)
            typed = metric_name(loss, component(evaluation.attack), evaluation.split)
            for o in self.knowledge.of_job(source.id):
                if not (o.metric.startswith(("loss ", "accuracy "))):
                    continue
                low = o.value if o.low is None else o.low
                high = o.value if o.high is None else o.high
                name, _, what = o.metric.partition(" ")
                # The law's own measure has the plain name; others keep their type.
                plain = typed == metric and what in (typed, f"@ {typed.split(' @ ', 1)[1]}")
                measured.setdefault(name if plain else o.metric, known_range(low, o.value, high))
        for name in ("loss", "accuracy"):
            found, expected = measured.get(name), values.get(name)
            if found is not None and expected is not None:
                inside = expected.low <= found.mid <= expected.high
                notes.append(
                    f"measured {name} {found.mid:.4g} is {'inside' if inside else 'outside'} the forecast "
                    f"[{expected.low:.4g}, {expected.high:.4g}]"
                )
        return measured

    # Small shared pieces.

    def _progress(self, laws: Sequence[Fitted]) -> list[str]:
        return [
            f"{f.name}: {f.finished} of {f.runs} runs finished"
            + (f", status {f.fit.status.value}" if f.fit is not None else "")
            for f in laws
        ]

    def _recipe_of(self, laws: Sequence[Fitted]) -> str | None:
        """The recipe whose cost per image counts for a forecast: the one of the grid that the law is fitted
        to."""
        grids = {f.declared.to.grid for f in laws}
        return next((c.recipe for c in self.cells if c.grid in grids), None)

    def _accuracy(self, laws: Sequence[Fitted], loss: Range | None) -> Range | None:
        line = next((f.accuracy for f in laws if f.accuracy is not None), None)
        if line is None or loss is None or not math.isfinite(loss.low + loss.high):
            return None
        return _tidy(line.predict(loss))

    def _measure_as_error(self, laws: Sequence[Fitted], values: dict[str, Range | None]) -> None:
        """Laws of the error speak of 1 - accuracy: turn their prediction round, and state no loss."""
        if any(f.declared.metric == "accuracy" for f in laws):
            error = values["loss"]
            values["loss"] = None
            if error is not None:
                values["accuracy"] = Range(1 - error.high, 1 - error.mid, 1 - error.low)

    def _answer(
        self,
        question: Forecast | Allocate,
        kind: str,
        status: str,
        values: dict[str, Range | None],
        notes: Sequence[str],
        job: str | None = None,
        measured: dict[str, Range | None] | None = None,
    ) -> Answer:
        origin = plan.Origin(question.origin.file, question.origin.line, question.origin.column)
        empty = dict.fromkeys(("params", "images", "flops", "loss", "accuracy"))
        return Answer(
            question.name,
            kind,  # type: ignore[arg-type]
            status,  # type: ignore[arg-type]
            tuple(question.laws),
            values or empty,
            tuple(notes),
            origin,
            job,
            measured or {},
        )


def _reach(
    laws: Sequence[Fitted], flops: float, params: Range | None, images: Range | None, loss: Range | None
) -> list[str]:
    """How far a question reaches beyond what its laws and their line of accuracy were fitted to."""
    notes = []
    domains = [f.fit.domain for f in laws if f.fit is not None and f.fit.usable]
    asked = {
        "flops": flops,
        "params": None if params is None else params.mid,
        "images": None if images is None else images.mid,
    }
    for name, value in asked.items():
        largest = max((getattr(domain, name)[1] for domain in domains), default=math.nan)
        if value is not None and value > FAR * largest:
            what = "compute" if name == "flops" else name
            times = f"{value / largest:.3g} times the {what} of the largest run"
            notes.append(f"extrapolates to {times}: nothing measured says that its law holds there")
    line = next((f.accuracy for f in laws if f.accuracy is not None), None)
    if line is not None and loss is not None and line.loss_range is not None and line.beyond(loss.mid):
        low, high = line.loss_range
        notes.append(f"accuracy is read beyond the losses it was seen at, {low:.4g} to {high:.4g}")
    return notes


def _tidy(value: Range | None) -> Range | None:
    return None if value is None else known_range(value.low, value.mid, value.high)


def _choice_note(network: Network, best: Network, cell: Cell, params: Range | None, compute: float) -> str:
    wished = f"N* = {params.mid:.4g}" if params is not None else "no closed optimum"
    said = f"{component_text(network.model)}, N = {network.params:,} ({wished}), D = {cell.drawn:,} images"
    if network is not best:
        extra = cell.flops / compute - 1
        said += (
            f"; {best.params / network.params:.3g} times smaller than the optimum for {extra:+.1%} compute"
        )
    return said
