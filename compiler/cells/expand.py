"""Grids -> cells: which runs are candidates, with their batch, learning rate and images really drawn.

In: a Study and the FIDs measured so far. Out: Cells in declaration order, and diagnostics. Pure.
A rule or filter is evaluated once per combination of the axes that its quantities hang on, not once per cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain, compress, repeat

from isoloss.compiler.cells.batchnorm_groups import bad_group
from isoloss.compiler.cells.combinations import Combinations
from isoloss.compiler.cells.network_checks import check_networks
from isoloss.compiler.cells.rules import Known, Rule
from isoloss.compiler.cost import passes
from isoloss.compiler.cost.architectures import FAMILIES, count
from isoloss.compiler.facts.components import Components, call_text, component
from isoloss.compiler.facts.datasets import SHAPES, DatasetShape, shape
from isoloss.compiler.facts.evaluations import check_evaluations
from isoloss.compiler.facts.feature_spaces import check_conditions
from isoloss.compiler.facts.features import check_features
from isoloss.compiler.facts.sources import Supply, check_sources, supply
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Axis, Call, Expr, Grid, Origin, Study, Value, Variant
from isoloss.dsl.study.value_text import value_text
from isoloss.dsl.vocabulary import BLOCKS


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
    variant: Variant  # its recipe, with the values of the grid's swept settings
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
    compute: float | None = (
        None  # the FLOPs that the grid's axis asks for, where it has one in place of `images`
    )
    origin: Origin = field(compare=False, repr=False, default=Origin())

    @property
    def recipe(self) -> str:
        """The name of its recipe, as declared."""
        return self.variant.recipe.name

    @property
    def drawn(self) -> int:
        return self.train_steps * self.batch

    @property
    def flops(self) -> float:
        """C: the rule count of this training."""
        return self.flops_per_image * self.drawn

    def axis_text(self, name: str) -> str:
        """Its value on an axis of its grid, as a study writes it."""
        if name == "compute":
            value: Value = self.compute
        elif name in ("model", "generator", "recipe", "images", "seed", "batch", "lr"):
            value = getattr(self, name)
        else:
            value = next(swept.value for swept in self.variant.settings if swept.path == name)
        return value_text(value, BLOCKS["grid"].slot(name))

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
            **{swept.path: _comparable(swept.value) for swept in self.variant.settings},
        }
        if self.fid is not None:
            known["fid"] = known["generator.fid"] = self.fid
        return known


def _comparable(value: Value) -> Value:
    """A swept value as expressions compare it: a registered thing by its text."""
    return value_text(value) if isinstance(value, Call) else value


def plain_variants(study: Study) -> dict[str, Variant]:
    """Every recipe as it is declared, where nothing is swept."""
    return {r.name: Variant((), r, study.evaluations) for r in study.recipes}


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
    G107 a model that the dataset or family doesn't allow, G108 a dataset without a shape, G109 and G110 sources
    of images that the dataset doesn't have (sources.py), G111 a generator's network that the images don't allow,
    G112 a condition on FIDs of different feature spaces, G113 batch-norm groups that don't divide the batch, G114 a
    quality that can't be measured, G115 and G116 evaluations that the dataset can't have."""
    cells: list[Cell] = []
    problems: list[Diagnostic] = list(check_conditions(study))
    if study.dataset.kind not in SHAPES:
        return [], [_dataset_unknown(study)]
    problems.extend(check_sources(study, shape(component(study.dataset))))
    problems.extend(check_networks(study))
    problems.extend(check_features(study))
    problems.extend(check_evaluations(study))
    for grid in study.grids:
        found = _Expansion(study, grid, fids or {})
        cells.extend(found.run())
        problems.extend(found.problems)
    return cells, problems


#: What a filter says of a combination; with several filters the least of their words counts.
OUT, WAITS, KEPT = 0, 1, 2


class _Expansion:
    """One grid's expansion, in columns; Cells are made of what is kept at the end."""

    def __init__(self, study: Study, grid: Grid, fids: Mapping[str, float]) -> None:
        self.grid = grid
        self.components = Components()
        self.shape: DatasetShape = shape(component(study.dataset))
        self.dataset = component(study.dataset)
        generators = {g.name: g for g in study.generators}
        self.supplies: dict[str, Supply] = {
            g.name: supply(g, generators, self.shape) for g in study.generators
        }
        plain: dict[tuple[Value, ...], Variant] = {(name,): v for name, v in plain_variants(study).items()}
        #: by recipe and the values of what is swept, in the order of `grid.swept`
        self.variants: dict[tuple[Value, ...], Variant] = {
            (v.recipe.name, *(swept.value for swept in v.settings)): v for v in grid.variants
        } or plain
        self.fids = {g.name: g.fid if g.fid is not None else fids.get(g.name) for g in study.generators}
        self.where = [Rule(expression) for expression in grid.where]
        self.problems: list[Diagnostic] = []
        self.bad: set[str] = set()

    def run(self) -> list[Cell]:
        axes = [self._axis(axis) for axis in self.grid.axes]
        self.known = Combinations([len(values) for values in axes])
        for number, (axis, values) in enumerate(zip(self.grid.axes, axes, strict=True)):
            for place, name in enumerate(axis.names):
                self.known.put(name, (number,), [row[place] for row in values])
        self.known.derive("variant", ["recipe", *self.grid.swept], lambda *key: self.variants[key])
        for name in self.grid.swept:
            self.known.derive(name, [name], _comparable)
        self._describe()
        self._settle()
        verdicts = self._verdicts()
        cells = self._cells(verdicts)
        if not cells and not self.problems:
            why = "every combination is left out by its `where`"
            self._problem("G101", f"grid `{self.grid.name}` has no cells", why)
        # Different values on every axis make different cells, but for images that round to the same steps.
        twice = any(len({tuple(map(self._same, row)) for row in values}) < len(values) for values in axes)
        return self._without_copies(cells) if twice or self._rounded_together() else cells

    def _rounded_together(self) -> bool:
        """Whether two numbers of images are the same whole batches."""
        images = set(self.known.values("images"))
        steps = (
            {self._schedule(n, batch) for n in images} for batch in set(self.known.values("batch")) - {None}
        )
        return any(len(found) < len(images) for found in steps)

    def _axis(self, axis: Axis) -> list[tuple[Value, ...]]:
        """The values of an axis: images as whole numbers, models only where a network is of them."""
        values = list(axis.values)
        if "images" in axis.names:
            at = axis.names.index("images")
            values = [(*row[:at], int(row[at]), *row[at + 1 :]) for row in values]  # type: ignore[arg-type]
        if "model" in axis.names:
            at = axis.names.index("model")
            values = [row for row in values if self._buildable(row[at])]
        return values

    def _buildable(self, model: Value) -> bool:
        assert isinstance(model, Call)
        try:
            count(component(model), self.dataset)
        except KeyError:
            known = ", ".join(f"`{name}`" for name in FAMILIES)
            self._once("G107", f"no model family `{model.kind}`", f"families: {known}")
            return False
        except ValueError as error:
            self._once("G107", f"no network `{call_text(model)}`: {error}", "for example `wrn(28, 10)`")
            return False
        return True

    # Quantities, in the order in which each is made of those before it.

    def _describe(self) -> None:
        """What the axes' values say by themselves."""
        derive = self.known.derive
        derive("params", ["model"], lambda model: count(component(model), self.dataset).params)
        derive("flops_per_image", ["model", "variant"], self._flops_per_image)
        if "compute" in self.known:
            derive("images", ["compute", "flops_per_image"], lambda flops, each: max(1, round(flops / each)))
        derive("epochs", ["images"], lambda images: images / self.shape.epoch_images)
        derive("generator.images", ["generator"], lambda name: self.supplies[name].unique)
        derive("fid", ["generator"], self.fids.__getitem__)
        derive("generator.fid", ["generator"], self.fids.__getitem__)

    def _settle(self) -> None:
        """Batch and learning rate, by the grid's axis where it has one, else by the recipe's rule; and what
        follows from them."""
        rules = {name: self._rules(name) for name in ("batch", "lr")}
        for name, given in rules.items():
            self._report_gaps(name, given)
        for name in rules:
            self.known.derive(name, [f"given {name}", "variant"], partial(self._number, name))
        derive = self.known.derive
        derive("settled", ["batch", "lr"], lambda batch, lr: OUT if batch is None or lr is None else KEPT)
        derive("schedule", ["images", "batch"], self._schedule)
        derive("train_steps", ["schedule"], lambda schedule: schedule[0])
        derive("steps_per_epoch", ["schedule"], lambda schedule: schedule[1])
        derive("flops", ["flops_per_image", "train_steps", "batch"], _flops)

    def _rules(self, name: str) -> Mapping[int, Rule]:
        """The rule of each variant (by its identity) for a setting, none where it is an axis; their verdicts become
        known."""
        if name in self.known:
            self.known.derive(f"given {name}", [name], Known)
            return {}
        shared: dict[Expr, Rule] = {}
        rules: dict[int, Rule] = {}
        for variant in self.variants.values():
            expression = getattr(variant.recipe, name)
            if expression is not None:
                rules[id(variant)] = shared.setdefault(expression, Rule(expression))
        mentioned = sorted({"recipe", "variant", *chain.from_iterable(rule.names for rule in rules.values())})
        self.known.derive_from_known(f"given {name}", mentioned, lambda q: rules[id(q["variant"])](q))
        return rules

    def _number(self, name: str, given: Known, variant: Variant) -> float | None:
        """A setting as a number that it can be; None where there is none."""
        if given.gap or given.unknown:
            return None
        value = given.value
        number = float(value) if isinstance(value, int | float | Fraction) else float("nan")
        if not number > 0 or number == float("inf") or (name == "batch" and number != int(number)):
            what = "a whole number of images" if name == "batch" else "a positive number"
            self._once(
                "G106",
                f"`{name}` of recipe `{variant.recipe.name}` is {value}, must be {what}",
                f"write {what}",
            )
            return None
        return int(number) if name == "batch" else number

    def _schedule(self, images: int, batch: int | None) -> tuple[int, int]:
        return (0, 0) if batch is None else steps_for(images, batch, self.shape.epoch_images)

    def _flops_per_image(self, model: Call, variant: Variant) -> float:
        forward = count(component(model), self.dataset).forward_flops
        return passes.of_recipe(variant.recipe) * forward

    # What is kept.

    def _verdicts(self) -> list[int]:
        """OUT, WAITS (for an unknown quantity) or KEPT of every combination."""
        columns = [self.known.column("settled")]
        for number, rule in enumerate(self.where):
            self.known.derive_from_known(f"where {number}", rule.names, partial(_verdict, rule))
            columns.append(self.known.column(f"where {number}"))
        verdicts = list(columns[0]) if len(columns) == 1 else list(map(min, *columns))
        self.known.derive(
            "over", ["images", "generator"], lambda images, name: _over(images, self.supplies[name].drawn)
        )
        if any(self.known.column("over")):
            self._report_over(verdicts)
            verdicts = [
                OUT if over else v for over, v in zip(self.known.column("over"), verdicts, strict=True)
            ]
        self.known.derive(
            "bad group", ["variant", "batch"], lambda variant, batch: bad_group(variant.recipe, batch)
        )
        if any(self.known.values("bad group")):
            verdicts = [
                self._in_groups(*each) for each in zip(verdicts, self.known.column("bad group"), strict=True)
            ]
        return verdicts

    def _in_groups(self, verdict: int, bad: tuple[str, str] | None) -> int:
        if bad is None or verdict == OUT:
            return verdict
        self._once("G113", *bad)
        return OUT

    def _cells(self, verdicts: Sequence[int]) -> list[Cell]:
        names = (
            "model", "generator", "variant", "images", "seed", "batch", "lr", "train_steps", "steps_per_epoch",
            "params", "flops_per_image", "fid",
        )  # fmt: skip
        compute = self.known.column("compute") if "compute" in self.known else [None] * len(verdicts)
        columns = [*map(self.known.column, names), [verdict == WAITS for verdict in verdicts], compute]
        if OUT in verdicts:
            columns = [list(compress(column, verdicts)) for column in columns]
        return list(map(Cell, repeat(self.grid.name), *columns, repeat(self.grid.origin)))

    def _same(self, value: Value) -> object:
        """What equal values have in common: equal calls have one Component, quicker to hash than the call."""
        return id(self.components(value)) if isinstance(value, Call) else value

    def _without_copies(self, cells: Sequence[Cell]) -> list[Cell]:
        unique: dict[tuple[object, ...], Cell] = {}
        for c in cells:
            key = (
                self._same(c.model),
                c.generator,
                c.recipe,
                c.variant.settings,
                c.train_steps,
                c.seed,
                c.batch,
                c.lr,
            )
            unique.setdefault(key, c)
        if len(unique) < len(cells):
            extra = _count(len(cells) - len(unique))
            headline = f"grid `{self.grid.name}` lists {extra} twice"
            why = "each runs once; images are counted in whole batches"
            self._problem("G102", headline, why, severity="warning")
        return list(unique.values())

    # What went wrong, one message each.

    def _report_gaps(self, name: str, rules: Mapping[int, Rule]) -> None:
        """Combinations that a rule says nothing of; only those that no filter leaves out."""
        if not any(given.gap or given.unknown for given in self.known.values(f"given {name}")):
            return
        variants, found = self.known.column("variant"), self.known.column(f"given {name}")
        gaps: dict[tuple[str, bool], list[Mapping[str, Value]]] = {}
        for index, (variant, given) in enumerate(zip(variants, found, strict=True)):
            if (given.gap or given.unknown) and self._passes(index):
                used = self.known.row(rules[id(variant)].names, index)
                gaps.setdefault((variant.recipe.name, given.gap), []).append(used)
        for (recipe, gap), missed in gaps.items():
            setting = f"`{recipe}.{name}`"
            if gap:
                headline = f"{setting} has no value for {_count(len(missed))} of grid `{self.grid.name}`"
                self._problem(
                    "G103", headline, f"uncovered: {_covered(missed)}", "end the rule with `else VALUE`"
                )
            else:
                headline = f"{setting} depends on a `fid` that is not measured yet"
                self._problem(
                    "G105", headline, "state `fid = ...` for the generator, or use another quantity"
                )

    def _passes(self, index: int) -> bool:
        """Whether no filter leaves a combination out, by what is known so far."""
        return all(_verdict(rule, self.known.row(rule.names, index)) != OUT for rule in self.where)

    def _report_over(self, verdicts: Sequence[int]) -> None:
        """Combinations that ask a generator for more images than it has."""
        columns = self.known.column("over"), self.known.column("generator"), verdicts
        over = Counter(name for over, name, verdict in zip(*columns, strict=True) if over and verdict != OUT)
        for generator, cells in over.items():
            asks = "asks" if cells == 1 else "ask"
            has = self.supplies[generator]
            often = f" in {has.passes:,} passes" if has.passes is not None and has.passes > 1 else ""
            headline = f"{_count(cells)} {asks} generator `{generator}` for more than its {has.unique:,} images{often}"
            self._problem(
                "G104", headline, "write `where images <= generator.images`, or raise its `images`",
                "each may be drawn more than once where the generator says so: `passes = 2`",
            )  # fmt: skip

    def _once(self, code: str, headline: str, *help: str) -> None:
        if headline not in self.bad:
            self.bad.add(headline)
            self._problem(code, headline, *help)

    def _problem(self, code: str, headline: str, *help: str, severity: str = "error") -> None:
        self.problems.append(
            Diagnostic(code, headline, self.grid.origin.span, help=help, severity=severity)  # type: ignore[arg-type]
        )


def _verdict(rule: Rule, quantities: Mapping[str, Value]) -> int:
    found = rule(quantities)
    if found.gap or found.value is False:
        return OUT
    return WAITS if found.unknown else KEPT


def _flops(per_image: float, steps: int, batch: int | None) -> float | None:
    return None if batch is None else per_image * steps * batch


def _over(images: int, limit: int | None) -> bool:
    return limit is not None and images > limit


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


def _dataset_unknown(study: Study) -> Diagnostic:
    known = ", ".join(f"`{name}`" for name in SHAPES)
    return Diagnostic(
        "G108", f"dataset `{study.dataset.kind}` has no shape", None, help=(f"datasets: {known}",)
    )
