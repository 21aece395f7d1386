"""Grids -> cells: which runs are candidates, with their batch, learning rate and images really drawn.

In: a Study and the FIDs measured so far. Out: Cells in declaration order, and diagnostics. Pure.
A rule or filter is evaluated once per combination of the quantities it mentions, not once per cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from isoloss.compiler import passes
from isoloss.compiler.architectures import FAMILIES, Architecture, count
from isoloss.compiler.components import call_text, component
from isoloss.compiler.datasets import SHAPES, DatasetShape, shape
from isoloss.compiler.networks import bad_networks
from isoloss.compiler.rules import Rule
from isoloss.dsl.diagnostics import Diagnostic, Span
from isoloss.dsl.study import Call, Generator, Grid, Origin, Recipe, Study, Value

_SIZES = ("each level after the first halves the image; its channels are `channels` times its multiplier",)


@dataclass(frozen=True, slots=True)
class Cell:
    """One candidate run. `images` is the nominal D of the study, `drawn` the D really drawn (images x steps
    are
    whole); expressions see the nominal one, laws the drawn. `fid` None: not measured yet. `provisional`: a
    filter
    waits for that fid."""

    grid: str
    model: Call
    generator: str
    recipe: str
    images: int
    seed: int
    batch: int
    lr: float
    train_steps: int
    steps_per_epoch: int
    params: int
    flops_per_image: float
    fid: float | None
    provisional: bool
    origin: Origin = field(compare=False, repr=False, default=Origin())

    @property
    def drawn(self) -> int:
        return self.train_steps * self.batch

    @property
    def flops(self) -> float:
        """C: the rule count of this training."""
        return self.flops_per_image * self.drawn

    def quantities(self) -> dict[str, Value]:
        """What expressions over runs may name, see `dsl.study.Quantity`; unknown ones are left out."""
        known: dict[str, Value] = {
            "model": self.model,
            "generator": self.generator,
            "recipe": self.recipe,
            "images": self.images,
            "params": self.params,
            "flops": self.flops,
            "seed": self.seed,
            "batch": self.batch,
            "lr": self.lr,
        }
        if self.fid is not None:
            known["fid"] = known["generator.fid"] = self.fid
        return known


def steps_for(images: int, batch: int, epoch_images: int) -> tuple[int, int]:
    """(train_steps, steps_per_epoch): an epoch is ceil(E / batch) batches, as the published code counts.

    5M at batch 1024 with E = 50,000 is 4,900 steps, 5.0176M images drawn. At least one step."""
    per_epoch = -(-epoch_images // batch)
    # Exact halves round up; floats would decide them by their last bit.
    steps = (2 * images * per_epoch + epoch_images) // (2 * epoch_images)
    return max(1, steps), per_epoch


def expand(study: Study, fids: Mapping[str, float] | None = None) -> tuple[list[Cell], list[Diagnostic]]:
    """All cells of all grids. `fids`: measured FID by generator; a stated FID wins.

    Diagnostics: G101 empty grid, G102 duplicate cells (warning), G103 a rule's gap, G104 more images than a
    generator has, G105 a rule that waits for an unmeasured FID, G106 a batch or learning rate that none can
    be,
    G107 a model that the dataset or family doesn't allow, G111 a generator's network that the images don't
    allow."""
    cells: list[Cell] = []
    problems: list[Diagnostic] = []
    if study.dataset.kind not in SHAPES:
        return [], [_dataset_unknown(study)]
    for origin, headline in bad_networks(study):
        problems.append(Diagnostic("G111", headline, span_of(origin), help=_SIZES))
    for grid in study.grids:
        found = _Expansion(study, grid, fids or {})
        cells.extend(found.run())
        problems.extend(found.problems)
    return cells, problems


class _Expansion:
    """One grid's expansion; keeps what is shared between its cells."""

    def __init__(self, study: Study, grid: Grid, fids: Mapping[str, float]) -> None:
        self.grid = grid
        self.shape: DatasetShape = shape(component(study.dataset))
        self.dataset = component(study.dataset)
        self.generators: dict[str, Generator] = {g.name: g for g in study.generators}
        self.recipes: dict[str, Recipe] = {r.name: r for r in study.recipes}
        self.fids = {g.name: g.fid if g.fid is not None else fids.get(g.name) for g in study.generators}
        self.where = [Rule(expression) for expression in grid.where]
        self.batch = {r.name: Rule(r.batch) for r in study.recipes}
        self.lr = {r.name: Rule(r.lr) for r in study.recipes}
        self.networks: dict[int, Architecture | None] = {}
        self.per_image: dict[tuple[int, str], float] = {}
        self.numbers: dict[tuple[str, str, Value], float | None] = {}
        self.steps: dict[tuple[int, int], tuple[int, int]] = {}
        self.problems: list[Diagnostic] = []
        self.gaps: dict[tuple[str, str], list[Mapping[str, Value]]] = {}
        self.over: dict[str, list[int]] = {}
        self.bad: set[str] = set()

    def run(self) -> list[Cell]:
        cells = [cell for quantities in self._combinations() if (cell := self._cell(quantities)) is not None]
        self._report(cells)
        seen: set[tuple[object, ...]] = set()
        unique: list[Cell] = []
        for cell in cells:
            # Equal calls have one Component: its identity is quicker to hash than the call.
            key = (
                id(component(cell.model)),
                cell.generator,
                cell.recipe,
                cell.images,
                cell.seed,
                cell.batch,
                cell.lr,
            )
            if key not in seen:
                seen.add(key)
                unique.append(cell)
        if len(unique) < len(cells):
            extra = len(cells) - len(unique)
            self._problem(
                "G102",
                f"grid `{self.grid.name}` lists {_count(extra)} twice",
                "each runs once",
                severity="warning",
            )
        return unique

    def _combinations(self) -> Iterator[dict[str, Value]]:
        names = tuple(itertools.chain.from_iterable(axis.names for axis in self.grid.axes))
        for chosen in itertools.product(*(axis.values for axis in self.grid.axes)):
            yield dict(zip(names, itertools.chain.from_iterable(chosen), strict=True))

    def _cell(self, quantities: dict[str, Value]) -> Cell | None:
        """The cell of one combination, or None where a filter or a mistake leaves it out."""
        model, generator, recipe = quantities["model"], quantities["generator"], quantities["recipe"]
        images, seed = quantities["images"], quantities["seed"]
        assert isinstance(model, Call)
        assert isinstance(generator, str)
        assert isinstance(recipe, str)
        assert isinstance(seed, int)
        network = self._network(model)
        if network is None:
            return None
        images = quantities["images"] = int(images)  # type: ignore[arg-type]
        fid = self.fids[generator]
        limit = self.generators[generator].images
        quantities["params"] = network.params
        quantities["epochs"] = images / self.shape.epoch_images
        quantities["generator.images"] = limit
        if fid is not None:
            quantities["fid"] = quantities["generator.fid"] = fid
        batch, lr = self._setting("batch", recipe, quantities), self._setting("lr", recipe, quantities)
        if batch is None or lr is None:
            return None
        quantities["batch"], quantities["lr"] = int(batch), lr
        each = self._flops_per_image(model, recipe)
        steps, per_epoch = self._steps(images, int(batch))
        quantities["flops"] = each * steps * int(batch)
        verdict = self._filter(quantities)
        if verdict is False:
            return None
        if limit is not None and images > limit:
            self.over.setdefault(generator, []).append(images)
            return None
        return Cell(
            self.grid.name,
            model,
            generator,
            recipe,
            images,
            seed,
            int(batch),
            float(lr),
            steps,
            per_epoch,
            network.params,
            each,
            fid,
            verdict is None,
            self.grid.origin,
        )

    def _filter(self, quantities: Mapping[str, Value]) -> bool | None:
        """True: kept. False: left out. None: waits for an unknown quantity."""
        waits = False
        for rule in self.where:
            known = rule(quantities)
            if known.gap or known.value is False:
                return False
            waits = waits or known.unknown
        return None if waits else True

    def _setting(self, name: str, recipe: str, quantities: Mapping[str, Value]) -> float | None:
        """Batch or learning rate: the grid's axis where it has one, else the recipe's rule."""
        if name in quantities:
            value = quantities[name]
        else:
            rule = (self.batch if name == "batch" else self.lr)[recipe]
            known = rule(quantities)
            if known.gap or known.unknown:
                # A filter may leave the cell out anyway: only cells that stay show their gap.
                if self._filter(quantities) is not False:
                    slot = "gap" if known.gap else "unknown"
                    used = {key: quantities[key] for key in rule.names if key in quantities}
                    self.gaps.setdefault((f"{recipe}.{name}", slot), []).append(used)
                return None
            value = known.value
        key = (name, recipe, value)
        if key not in self.numbers:
            self.numbers[key] = self._checked(name, recipe, value)
        return self.numbers[key]

    def _checked(self, name: str, recipe: str, value: Value) -> float | None:
        number = float(value) if isinstance(value, int | float | Fraction) else float("nan")
        if not number > 0 or number == float("inf") or (name == "batch" and number != int(number)):
            what = "a whole number of images" if name == "batch" else "a positive number"
            self._once("G106", f"`{name}` of recipe `{recipe}` is {value}, must be {what}", f"write {what}")
            return None
        return number

    def _network(self, model: Call) -> Architecture | None:
        key = id(component(model))
        if key not in self.networks:
            self.networks[key] = None
            try:
                self.networks[key] = count(component(model), self.dataset)
            except KeyError:
                known = ", ".join(f"`{name}`" for name in FAMILIES)
                self._once("G107", f"no model family `{model.kind}`", f"families: {known}")
            except ValueError as error:
                self._once("G107", f"no network `{call_text(model)}`: {error}", "for example `wrn(28, 10)`")
        return self.networks[key]

    def _flops_per_image(self, model: Call, recipe: str) -> float:
        key = (id(component(model)), recipe)
        if key not in self.per_image:
            chosen = self.recipes[recipe]
            self.per_image[key] = passes.flops_per_image(
                component(model),
                self.dataset,
                component(chosen.loss),
                component(chosen.attack),
                component(chosen.perturb),
            )
        return self.per_image[key]

    def _steps(self, images: int, batch: int) -> tuple[int, int]:
        key = (images, batch)
        if key not in self.steps:
            self.steps[key] = steps_for(images, batch, self.shape.epoch_images)
        return self.steps[key]

    # What went wrong, one message each.

    def _report(self, cells: Sequence[Cell]) -> None:
        for (setting, slot), used in self.gaps.items():
            if slot == "gap":
                headline = f"`{setting}` has no value for {_count(len(used))} of grid `{self.grid.name}`"
                self._problem(
                    "G103", headline, f"uncovered: {_covered(used)}", "end the rule with `else VALUE`"
                )
            else:
                headline = f"`{setting}` depends on a `fid` that is not measured yet"
                self._problem(
                    "G105", headline, "state `fid = ...` for the generator, or use another quantity"
                )
        for generator, images in self.over.items():
            limit = self.generators[generator].images
            asks = "asks" if len(images) == 1 else "ask"
            headline = (
                f"{_count(len(images))} {asks} generator `{generator}` for more than its {limit:,} images"
            )
            self._problem("G104", headline, "write `where images <= generator.images`, or raise its `images`")
        if not cells and not self.problems:
            self._problem(
                "G101",
                f"grid `{self.grid.name}` has no cells",
                "every combination is left out by its `where`",
            )

    def _once(self, code: str, headline: str, *help: str) -> None:
        if headline not in self.bad:
            self.bad.add(headline)
            self._problem(code, headline, *help)

    def _problem(self, code: str, headline: str, *help: str, severity: str = "error") -> None:
        self.problems.append(
            Diagnostic(code, headline, span_of(self.grid.origin), help=help, severity=severity)  # type: ignore[arg-type]
        )


def _count(cells: int) -> str:
    return f"{cells:,} cell{'' if cells == 1 else 's'}"


def _covered(used: Sequence[Mapping[str, Value]]) -> str:
    """The range of every numeric quantity over the cells that a rule leaves without value."""
    said = []
    for name in used[0]:
        values = sorted({v for u in used if isinstance(v := u[name], int | float)})
        if values:
            low, high = f"{values[0]:,}", f"{values[-1]:,}"
            said.append(f"{name} = {low}" if low == high else f"{name} from {low} to {high}")
    return ", ".join(said) or "every cell"


def span_of(origin: Origin) -> Span | None:
    """Where a declaration begins, as a diagnostic's place; None for studies built in Python."""
    if not origin.file:
        return None
    return Span(origin.file, origin.line, origin.column, origin.line, origin.column + 1)


def _dataset_unknown(study: Study) -> Diagnostic:
    known = ", ".join(f"`{name}`" for name in SHAPES)
    return Diagnostic(
        "G108", f"dataset `{study.dataset.kind}` has no shape", None, help=(f"datasets: {known}",)
    )
