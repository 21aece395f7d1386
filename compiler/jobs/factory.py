"""Cells -> jobs: specs, ids, names, needs. One `JobFactory` per compile keeps what jobs share.

In: a Study. Out: sources of jobs, made once each, and what a JobList makes Jobs of them with. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from isoloss.compiler import plan
from isoloss.compiler.cells.batchnorm_groups import batchnorm_group
from isoloss.compiler.cells.expand import Cell, plain_variants
from isoloss.compiler.cost.architectures.unet import count_unet
from isoloss.compiler.cost.flops import TRAINING_PASSES
from isoloss.compiler.facts.components import Components, call_text
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.facts.shards import FIRST, shards
from isoloss.compiler.facts.sources import Supply, is_real, mixed, supply
from isoloss.compiler.jobs.generator_networks import GENERATION_SEED, UNSTATED, Diffusion, Followed
from isoloss.compiler.jobs.spec_templates import Identity, SpecTemplate
from isoloss.compiler.plan import (
    Component,
    DenoiserSpec,
    DiscriminatorSpec,
    EvaluateSpec,
    Facts,
    FidSpec,
    GenerateSpec,
    ImportSpec,
    TrainSpec,
    metric_name,
)
from isoloss.dsl.study.study import Evaluation, Generator, Grid, Origin, Recipe, Study, Value, Variant
from isoloss.dsl.study.value_text import value_text

#: A dataset's own images, where it makes them when asked for.
OWN = Followed({"kind": "real"}, UNSTATED, ())


@dataclass(frozen=True, slots=True)
class Source:
    """A job without its plan: id, spec, needs. Enough to price it."""

    id: str
    spec: plan.Spec
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """What one test of a recipe's runs measures: the evaluation's name, "LOSS @ ATTACK", whether it attacks nothing, on
    how many images, and whether the training repeats it on the way."""

    evaluation: str
    metric: str
    clean: bool
    tested: int
    repeated: bool


@dataclass(frozen=True, slots=True, eq=False)
class RecipeJobs:
    """What the runs of one network by one recipe share, whatever images they draw."""

    training: SpecTemplate  # varying: data, train_steps, seed
    tests: tuple[SpecTemplate, ...]  # one per evaluation; varying: network, seed
    evaluations: tuple[Evaluation, ...]
    measured: tuple[Measures, ...]  # of each test
    name: tuple[str, str]  # what stands before and after the generator and the images


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What runs that differ only in their seed share."""

    recipe_jobs: RecipeJobs
    name: str  # without the seed
    drawn: tuple[Component, int]  # data and steps of the training
    needs: tuple[str, ...]  # of the training: ids of shards
    facts: tuple[Facts, ...]  # of the training and of each test
    fid: Source | None  # the job that measures the generator


@dataclass(frozen=True, slots=True, eq=False)
class RunJobs:
    """A candidate run before it is priced: its cell, the training, one test per evaluation of its setup."""

    cell: Cell
    setup: Setup
    train: Source
    tests: tuple[Source, ...]

    @property
    def name(self) -> str:
        return seeded(self.setup.name, self.cell.seed)

    @property
    def shared(self) -> tuple[str, ...]:
        """Ids of what it needs beside its own jobs: what makes its images, and what measures them."""
        fid = self.setup.fid
        return self.train.needs if fid is None else (*self.train.needs, fid.id)

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.train, *self.tests


class JobFactory:
    """Makes the sources of jobs; equal things are made once and shared."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.component = Components()
        self.dataset = self.component(study.dataset)
        self.generators: Mapping[str, Generator] = {g.name: g for g in study.generators}
        #: of each recipe as it is declared; cells of grids that sweep its settings have their own
        self.variants: Mapping[str, Variant] = plain_variants(study)
        self.evaluations: Mapping[str, Evaluation] = {e.name: e for e in study.evaluations}
        self.varied: Mapping[str, Collection[str]] = {g.name: varied_settings(g) for g in study.grids}
        self._supplies: dict[str, Supply] = {}
        self._shards: dict[tuple[str, int], Source] = {}
        self._data: dict[tuple[str, int], tuple[Component, tuple[str, ...]]] = {}
        self._recipes: dict[tuple[int, int, float], Component] = {}
        self._inside: dict[int, Component | None] = {}
        self._numerics: dict[tuple[str, int, int], Component] = {}
        self.sources: dict[str, Source] = {}
        self.labels: dict[str, str] = {}
        self._fids: dict[str, Source | None] = {}

        self._origins: dict[int, tuple[Origin, plan.Origin]] = {}
        self._tests: dict[int, tuple[Evaluation, ...]] = {}
        self._recipe_jobs: dict[tuple[object, ...], RecipeJobs] = {}
        self.identity = Identity()
        self.diffusion = Diffusion(self.dataset, self.component, lambda *asked: self._source(*asked).id)
        self._closures: dict[tuple[str, ...], tuple[str, ...]] = {}

    # Data.

    def supply(self, generator: str) -> Supply:
        found = self._supplies.get(generator)
        if found is None:
            declared = self.generators[generator]
            found = self._supplies[generator] = supply(declared, self.generators, shape(self.dataset))
        return found

    def shard(self, generator: str, start: int, stop: int) -> Source:
        """Images [start, stop) that a generator's sampler makes, or a dataset that makes its own when asked."""
        key = (generator, start)
        if key not in self._shards:
            declared = self.generators[generator]
            made = OWN if declared.sampler is None else self.diffusion.of(declared)
            spec = GenerateSpec(self.dataset, made.sampler, made.denoiser, start, stop, GENERATION_SEED)
            self._shards[key] = self._source(spec, made.needs, f"{generator}/{short(start)}-{short(stop)}")
        return self._shards[key]

    def files(self, generator: str) -> Source:
        """The import of a generator's files."""
        key = (generator, 0)
        if key not in self._shards:
            declared = self.generators[generator]
            assert declared.source is not None
            pattern, sums = declared.source.get("pattern"), declared.source.get("sha256")
            assert isinstance(sums, tuple)
            spec = ImportSpec(
                self.dataset, str(pattern), tuple(map(str, sums)), declared.images, GENERATION_SEED
            )
            self._shards[key] = self._source(spec, (), f"{generator}/files")
        return self._shards[key]

    def _source(self, spec: plan.Spec, needs: tuple[str, ...], label: str) -> Source:
        """Equal specs are one source, named after the generator that asked first."""
        id = self.identity.id(spec)
        if id not in self.sources:
            self.sources[id] = Source(id, spec, needs)
            self.labels[id] = label
        return self.sources[id]

    def closure(self, needs: tuple[str, ...]) -> tuple[str, ...]:
        """These jobs and all that they need in turn, needs first."""
        known = self._closures.get(needs)
        if known is None:
            found: dict[str, None] = {}
            for id in needs:
                if id in self.sources:
                    found.update(dict.fromkeys(self.closure(self.sources[id].needs)))
                found[id] = None
            known = self._closures[needs] = tuple(found)
        return known

    def data(self, generator: str, images: int) -> tuple[Component, tuple[str, ...]]:
        """The data Component for a run that draws so many images, and the jobs that make them."""
        declared = self.generators[generator]
        mix = mixed(declared)
        if mix is not None:
            return self._mixed(generator, *mix, images)
        unique = self.supply(generator).unique
        key = (generator, images if unique is None else min(images, unique))
        if key not in self._data:
            self._data[key] = self._unmixed(declared, key[1])
        return self._data[key]

    def _unmixed(self, declared: Generator, unique: int) -> tuple[Component, tuple[str, ...]]:
        if is_real(declared) and shape(self.dataset).train_images is not None:
            return {"kind": "real", "images": declared.images}, ()
        ids = self._makers(declared, unique)
        return {"kind": "generated", "shards": list(ids), "images": unique}, ids

    def _makers(self, declared: Generator, images: int) -> tuple[str, ...]:
        """Jobs that make the first so many images."""
        if declared.source is not None and declared.source.kind == "files":
            return (self.files(declared.name).id,)
        return tuple(self.shard(declared.name, *bounds).id for bounds in shards(images, declared.images))

    def _mixed(
        self, name: str, generator: str, share: Fraction, images: int
    ) -> tuple[Component, tuple[str, ...]]:
        key = (name, images)
        if key not in self._data:
            generated, ids = self.data(generator, ceil(images * share))
            real: Component = {"kind": "real", "images": None}
            data = {"kind": "mixed", "generated": generated, "real": real, "fraction": str(share)}
            self._data[key] = data, ids
        return self._data[key]

    def fid(self, generator: str) -> Source | None:
        """The job that measures a generator; None where its FID is stated."""
        if generator not in self._fids:
            self._fids[generator] = self._fid_source(generator)
        return self._fids[generator]

    def _fid_source(self, generator: str) -> Source | None:
        declared = self.generators[generator]
        if declared.fid is not None:
            return None
        features = self.component(declared.features)
        images, real = self._measured(declared, int(features.get("images", FIRST)))
        mix = mixed(declared)
        made = declared if mix is None else self.generators[mix[0]]
        ids = self._makers(made, images) if images else ()
        spec = FidSpec(self.dataset, features, ids, images, GENERATION_SEED, real)
        return self._source(spec, ids, f"{generator}/fid")

    def _measured(self, declared: Generator, wanted: int) -> tuple[int, int]:
        """(made, real) images whose quality is measured: so many together, or what there is."""
        unique, there = self.supply(declared.name).unique, shape(self.dataset).train_images
        images = wanted if unique is None else min(wanted, unique)
        mix = mixed(declared)
        if mix is None:
            return (0, images) if is_real(declared) and there is not None else (images, 0)
        if there is not None:
            # Real images are measured once each: the ratio holds for as many as there are.
            images = min(images, int(there / (1 - mix[1])))
        made = ceil(images * mix[1])
        return made, images - made

    # Runs.

    def runs(self, cells: Iterable[Cell]) -> list[RunJobs]:
        """The jobs of every cell's run, in order."""
        setups: dict[tuple[object, ...], Setup] = {}
        found: list[RunJobs] = []
        for cell in cells:
            key = (
                id(cell.model), cell.grid, cell.generator, id(cell.variant), cell.images, cell.batch, cell.lr,
            )  # fmt: skip
            setup = setups.get(key)
            if setup is None:
                setup = setups[key] = self._setup(cell)
            train = Source(*setup.recipe_jobs.training.fill(*setup.drawn, cell.seed), setup.needs)
            needs = (train.id,)
            tests = [Source(*test.fill(train.id, cell.seed), needs) for test in setup.recipe_jobs.tests]
            found.append(RunJobs(cell, setup, train, tuple(tests)))
        return found

    def train(self, cell: Cell) -> Source:
        data, needs = self.data(cell.generator, cell.drawn)
        return Source(*self._training(cell).fill(data, cell.train_steps, cell.seed), needs)

    def evaluate(self, train: Source, cell: Cell, evaluation: Evaluation) -> Source:
        return Source(*self._test(cell, evaluation).fill(train.id, cell.seed), (train.id,))

    def _setup(self, cell: Cell) -> Setup:
        model = self.component(cell.model)
        key = id(model), cell.grid, id(cell.variant), cell.batch, cell.lr, cell.steps_per_epoch
        recipe_jobs = self._recipe_jobs.get(key)
        if recipe_jobs is None:
            recipe_jobs = self._recipe_jobs[key] = self._jobs_of_recipe(cell)
        data, needs = self.data(cell.generator, cell.drawn)
        before, after = recipe_jobs.name
        varied = self.varied.get(cell.grid, frozenset())
        settings = {name: getattr(cell, name) for name in ("batch", "lr") if name in varied}
        if cell.compute is not None:
            settings["compute"] = cell.compute
        settings |= {s.path: plain_value(s.value) for s in cell.variant.settings if s.path in varied}
        watched = recipe_jobs.measured[0].metric if recipe_jobs.measured else None
        drawn, space = cell.drawn, self.generators[cell.generator].features.kind
        facts = [
            Facts(
                params=cell.params,
                images=drawn,
                flops_per_image=cell.flops_per_image,
                generator=cell.generator,
                fid=cell.fid,
                features=space,
                grid=cell.grid,
                allocation=None,
                evaluation=name,
                metric=metric,
                licence=None,
                recipe=cell.recipe,
                settings=settings,
            )
            for name, metric in ((None, watched), *((m.evaluation, m.metric) for m in recipe_jobs.measured))
        ]
        return Setup(
            recipe_jobs,
            f"{before}/{cell.generator}/{short(cell.images)}{after}",
            (data, cell.train_steps),
            needs,
            tuple(facts),
            self.fid(cell.generator),
        )

    def _jobs_of_recipe(self, cell: Cell) -> RecipeJobs:
        evaluations = self.tests(cell.variant)
        return RecipeJobs(
            training=self._training(cell),
            tests=tuple(self._test(cell, evaluation) for evaluation in evaluations),
            evaluations=evaluations,
            measured=tuple(self._measures(cell.variant.recipe, evaluation) for evaluation in evaluations),
            name=name_around(cell, self.varied.get(cell.grid, ())),
        )

    def _measures(self, recipe: Recipe, evaluation: Evaluation) -> Measures:
        scheduled = recipe.evaluate
        return Measures(
            evaluation=evaluation.name,
            metric=self._metric(recipe, evaluation),
            clean=evaluation.attack.kind == "none",
            tested=shape(self.dataset).tested(evaluation.images, evaluation.split),
            repeated=scheduled is not None and scheduled.evaluation == evaluation.name,
        )

    def _training(self, cell: Cell) -> SpecTemplate:
        """The trainings of one network by one recipe: their images, steps and seeds differ."""
        recipe = cell.variant.recipe
        first = TrainSpec(
            dataset=self.dataset,
            model=self.component(cell.model),
            data={},
            recipe=self._recipe(recipe, cell.batch, cell.lr),
            train_steps=cell.train_steps,
            steps_per_epoch=cell.steps_per_epoch,
            evaluation=self._evaluation_inside(cell.variant),
            seed=cell.seed,
            numerics=self._numeric(recipe, cell.batch),
        )
        return SpecTemplate(self.identity, first, ("data", "train_steps", "seed"))

    def _test(self, cell: Cell, evaluation: Evaluation) -> SpecTemplate:
        """The tests of one network by one evaluation: what was trained and its seed differ."""
        recipe = cell.variant.recipe
        first = EvaluateSpec(
            dataset=self.dataset,
            network="",
            model=self.component(cell.model),
            normalize=self.component(recipe.normalize),
            attack=self.component(evaluation.attack),
            loss=self.component(recipe.loss),
            weights=evaluation.weights,
            split=evaluation.split,
            images=evaluation.images,
            seed=cell.seed,
        )
        return SpecTemplate(self.identity, first, ("network", "seed"))

    def tests(self, variant: Variant) -> tuple[Evaluation, ...]:
        """The evaluations of a grid's runs: the recipe's scheduled one; without one, all that are declared.

        A scheduled one on the validation split is what is chosen by: those on the test split say what was
        chosen."""
        # A variant lives as long as the study or this factory does, so that its identity is its own.
        if id(variant) not in self._tests:
            scheduled, every = variant.recipe.evaluate, variant.evaluations
            if scheduled is not None:
                first = next(e for e in every if e.name == scheduled.evaluation)
                tests = (e for e in every if e.split == "test" and first.split == "validation")
                every = (first, *tests)
            self._tests[id(variant)] = every
        return self._tests[id(variant)]

    def facts(self, cell: Cell, evaluation: Evaluation | None, allocation: str) -> Facts:
        """Of an allocation's training, or of one of its tests."""
        tested = evaluation or next(iter(self.tests(cell.variant)), None)
        return Facts(
            params=cell.params,
            images=cell.drawn,
            flops_per_image=cell.flops_per_image,
            generator=cell.generator,
            fid=cell.fid,
            features=self.generators[cell.generator].features.kind,
            allocation=allocation,
            recipe=cell.recipe,
            evaluation=evaluation.name if evaluation else None,
            metric=self._metric(cell.variant.recipe, tested) if tested else None,
        )

    def made_facts(self, source: Source, declared: Generator) -> Facts:
        """Of the jobs that make images: those that train a network say its size and what an image costs."""
        generator = declared.name
        if declared.source is not None:
            return Facts(generator=generator, fid=declared.fid, licence=declared.licence)
        spec = source.spec
        if not isinstance(spec, DenoiserSpec | DiscriminatorSpec):
            return Facts(generator=generator)
        network = count_unet(spec.network, spec.dataset)
        images = spec.train_steps * int(spec.recipe["batch"])
        each = TRAINING_PASSES * network.forward_flops
        return Facts(params=network.params, images=images, flops_per_image=each, generator=generator)

    def _metric(self, recipe: Recipe, evaluation: Evaluation) -> str:
        loss = self.component(recipe.loss)
        return metric_name(loss, self.component(evaluation.attack), evaluation.split)

    def origin(self, origin: Origin) -> plan.Origin:
        known = self._origins.get(id(origin))
        if known is None:
            made = plan.Origin(origin.file, origin.line, origin.column)
            known = self._origins[id(origin)] = origin, made
        return known[1]

    # Components that many specs share.

    def _recipe(self, recipe: Recipe, batch: int, lr: float) -> Component:
        key = (id(recipe), batch, lr)
        if key not in self._recipes:
            self._recipes[key] = {
                "loss": self.component(recipe.loss),
                "attack": self.component(recipe.attack),
                "perturb": self.component(recipe.perturb),
                "optimizer": self.component(recipe.optimizer),
                "schedule": self.component(recipe.schedule),
                "average": self.component(recipe.average),
                "augment": self.component(recipe.augment),
                "normalize": self.component(recipe.normalize),
                # Its group is among the numerics: `all` and the batch's own size are one job.
                "batchnorm": {k: v for k, v in self.component(recipe.batchnorm).items() if k != "group"},
                "batch": batch,
                "lr": lr,
                "clip": recipe.clip,
            }
        return self._recipes[key]

    def _evaluation_inside(self, variant: Variant) -> Component | None:
        key, recipe = id(variant), variant.recipe
        if key not in self._inside:
            self._inside[key] = None
            if recipe.evaluate is not None:
                tested = next(e for e in variant.evaluations if e.name == recipe.evaluate.evaluation)
                self._inside[key] = {
                    "attack": self.component(tested.attack),
                    "weights": tested.weights,
                    "split": tested.split,
                    "images": tested.images,
                    "every": recipe.evaluate.every,
                }
        return self._inside[key]

    def _numeric(self, recipe: Recipe, batch: int) -> Component:
        # Images normalised together, on every layout: part of what is computed.
        group = batchnorm_group(recipe) or batch
        key = (recipe.precision, batch, group)
        if key not in self._numerics:
            self._numerics[key] = {
                "dtype": "bf16" if recipe.precision == "bf16" else "fp32",
                "tf32": recipe.precision == "tf32",
                "deterministic": True,
                "batchnorm_group": group,
            }
        return self._numerics[key]


def name_around(cell: Cell, varied: Collection[str] = ()) -> tuple[str, str]:
    """The name of a cell around its generator and images, `runs/wrn(28, 4)/dg/30M`: what stands after them is
    what of recipe, batch and lr its grid varies. The seed is left out."""
    after = [f"/{cell.recipe}"] if "recipe" in varied else []
    after += [f"/{what} {getattr(cell, what):g}" for what in ("batch", "lr") if what in varied]
    after += [
        f"/{short_path(s.path, varied)} {value_text(s.value)}"
        for s in cell.variant.settings
        if s.path in varied
    ]
    return f"{cell.grid}/{call_text(cell.model)}", "".join(after)


def seeded(name: str, seed: int) -> str:
    """A name with its seed, where it isn't the default: replicates are told apart."""
    return name if seed == 0 else f"{name}/seed {seed}"


def varied_settings(grid: Grid) -> frozenset[str]:
    """Which of recipe, batch, lr and what the grid sweeps its axes give more than one value."""
    names = ("recipe", "batch", "lr", *grid.swept)
    return frozenset(name for name in names if len(set(grid.values(name))) > 1)


def short_path(path: str, among: Collection[str]) -> str:
    """The last word of a swept path, `eps` of `recipe.attack.eps`; more of it where another one ends alike."""
    parts = path.split(".")
    for length in range(1, len(parts)):
        tail = ".".join(parts[-length:])
        if sum(other == tail or other.endswith(f".{tail}") for other in among) < 2:
            return tail
    return path


def plain_value(value: Value) -> Any:
    """A swept value as JSON holds it: numbers as numbers, words and registered things as a study writes them."""
    if isinstance(value, Fraction):
        return float(value)
    return value if isinstance(value, bool | int | float) else value_text(value)


def short(number: float) -> str:
    """10000 -> `10k`, 30000000 -> `30M`: at most four digits."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g}{letter}"
    return f"{number:.4g}"
