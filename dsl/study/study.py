"""The checked meaning of a study file: names resolved, units converted, every default explicit.

In: the AST, after checks.py. Out: what the compiler plans from. Pure data.
Units: compute in FLOP, time in seconds, sizes in bytes, money in the stated currency, percentages
and accuracies in [0, 1]. Pixel fractions stay exact (`Fraction`) until a tensor is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from isoloss.dsl.diagnostics.diagnostic import Span


@dataclass(frozen=True)
class Origin:
    """Where a thing was declared. Never part of identity: two equal things are equal wherever they stand."""

    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def span(self) -> Span | None:
        """Where it begins, as a diagnostic's place; None for studies built in Python."""
        if not self.file:
            return None
        return Span(self.file, self.line, self.column, self.line, self.column + 1)


NOWHERE = Origin()


def _origin() -> Origin:
    return field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Call:
    """A registered thing with every parameter explicit: `pgd(norm = linf, eps = 8/255, ...)`.

    `arguments` follow the vocabulary's order, so equal calls are equal values."""

    kind: str
    arguments: tuple[tuple[str, Value], ...] = ()

    def get(self, name: str) -> Value:
        """The argument `name`. Raises KeyError if the vocabulary gives this kind no such parameter."""
        return dict(self.arguments)[name]


Value = bool | int | float | Fraction | str | None | Call | tuple["Value", ...]


# Expressions over derived quantities (params, images, fid, flops, epochs, seed), grid axes and names.


@dataclass(frozen=True)
class Const:
    value: Value


@dataclass(frozen=True)
class Quantity:
    """A name known per cell: `params`, `images`, `fid`, `flops`, `epochs`, `seed`, `model`, `generator`, or
    a field of the cell's generator: `generator.images`, `generator.fid`."""

    name: str


@dataclass(frozen=True)
class Operation:
    """`operator` is one of: + - * / ** neg, == != < <= > >= in, and or not."""

    operator: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Conditional:
    """`then if test else otherwise`; otherwise None is a gap, an error for a cell that falls into it."""

    test: Expr
    then: Expr
    otherwise: Expr | None


Expr = Const | Quantity | Operation | Conditional


# Declarations.


@dataclass(frozen=True)
class Generator:
    """A source of training images: made by a sampler, or with `source` those of `files(pattern, sha256)`
    below the data root, the dataset's own (`real`), or both at once (`mix(generator, real)`, from a `mix`
    block; `real` is the exact share of real images).

    `fid` None: measured by a job; `features`: the space it is a distance in. `images` None: as many unique
    ones as the source has. `passes`: how often a run may draw each; None: any number of times."""

    name: str
    sampler: Call | None
    denoiser: Call | None
    source: Call | None
    fid: float | None
    features: Call
    images: int | None
    passes: int | None
    licence: str | None
    origin: Origin = _origin()


@dataclass(frozen=True)
class Schedule:
    """`evaluation` at every `every` (a fraction in (0, 1]) of training."""

    evaluation: str
    every: float


@dataclass(frozen=True)
class Swept:
    """The value that an axis gives a setting (`attack.eps`, `recipe.loss.beta`) or a `let`."""

    path: str
    value: Value


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `batch` and `lr` may depend on the cell; None: only grids with an axis of it train so.
    The rest is fixed."""

    name: str
    loss: Call
    attack: Call
    perturb: Call  # of the weights: none, awp
    optimizer: Call
    schedule: Call
    average: Call
    batch: Expr | None
    lr: Expr | None
    augment: Call
    normalize: Call
    batchnorm: Call  # attack mode (train | eval), momentum, group: see vocabulary
    clip: float | None  # gradient-norm bound; None: no clipping, as published
    precision: str  # fp32 | tf32 | bf16
    evaluate: Schedule | None
    origin: Origin = _origin()


@dataclass(frozen=True)
class Evaluation:
    """A test of a trained network on one split of the dataset, with the averaged weights unless stated."""

    name: str
    attack: Call
    weights: str  # average | live | best
    split: str  # test | validation
    images: int | None  # None: the whole split
    curve: str | None = (
        None  # the block that made it by an axis, with others; `name` then says the settings too
    )
    settings: tuple[Swept, ...] = ()
    origin: Origin = _origin()


@dataclass(frozen=True)
class Axis:
    """`names` has several entries for a zip axis; each entry of `values` then has as many."""

    names: tuple[str, ...]  # settings of the grid, `recipe.PATH`s and `let`s
    values: tuple[tuple[Value, ...], ...]
    origin: Origin = _origin()


@dataclass(frozen=True)
class Variant:
    """A recipe as one combination of a grid's swept settings makes it, and the study's evaluations under the same
    values of its `let`s. The recipe's name stays as declared."""

    settings: tuple[Swept, ...]  # in the order of the axes
    recipe: Recipe
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Grid:
    """The candidate cells: product of `axes`, filtered by every expression in `where`."""

    name: str
    axes: tuple[
        Axis, ...
    ]  # always of model, generator, images or compute, recipe, seed (single-valued if fixed)
    where: tuple[Expr, ...]
    swept: tuple[str, ...] = ()  # names of axes over settings of the recipe and over `let`s
    variants: tuple[
        Variant, ...
    ] = ()  # of every recipe and combination of `swept`; empty where nothing is swept
    origin: Origin = _origin()

    def values(self, name: str) -> list[Value]:
        """What its axis gives `name`, in order; zipped with others as often as they say."""
        axes = ((axis, axis.names.index(name)) for axis in self.axes if name in axis.names)
        return [row[index] for axis, index in axes for row in axis.values]


@dataclass(frozen=True)
class Devices:
    count: int
    kind: str  # a row of the device table: cpu, v100, a100, h100, h200 ...


@dataclass(frozen=True)
class DeclaredDevice:
    """A kind of device as the study states it. Peaks in FLOP/s, None: a format it lacks; bandwidth in bytes/s and board
    power in W, None: not stated."""

    name: str
    memory_bytes: float
    fp32: float
    tf32: float | None
    bf16: float | None
    bandwidth: float | None
    watts: float | None
    price_per_hour: float | None
    currency: str
    origin: Origin = _origin()


@dataclass(frozen=True)
class Budget:
    """Bounds all jobs of the study. None: unbounded."""

    compute_flops: float | None
    devices: Devices
    walltime_seconds: float | None
    price_per_device_hour: float | None
    price_per_byte: float | None  # of transfer between jobs and the store
    currency: str  # "USD"
    storage_bytes: float | None
    choose: str  # design | all | cheapest
    pin: RunSet | None = None  # bought first, whatever they tell
    origin: Origin = _origin()


@dataclass(frozen=True)
class RunSet:
    """The runs of a grid, or those where the expression holds."""

    grid: str
    where: Expr | None = None


@dataclass(frozen=True)
class Fit:
    """A law fitted to runs. `base` and `quality` are the stages of approach2; None: all of `to`."""

    name: str
    law: str  # a row of the law registry: approach1, approach2, approach3, chinchilla, powerlaw
    to: RunSet
    base: RunSet | None
    quality: RunSet | None
    per: str | None  # "generator": one fit per generator
    evaluate: str | None  # name of the evaluation whose points are fitted; None: the study declares none
    metric: str  # "loss" (the evaluation's TRADES value) or "accuracy"
    x: str  # what a power law is in: images, params or flops
    points: str  # "best" (one point per run: lowest loss at or after `floor`), "final", or "curve"
    floor: float  # train-fraction floor, in [0, 1]
    errors: str  # "independent", or "correlated": neighbouring runs share the law's misfit
    delta: float  # Huber threshold on log residuals, of independent errors
    resamples: int
    origin: Origin = _origin()


@dataclass(frozen=True)
class Forecast:
    """A question: what loss and accuracy does compute buy. `laws` has several entries for any(...)."""

    name: str
    laws: tuple[str, ...]  # names of fits
    fid: float | None  # None with `generator`: that generator's fid
    features: Call  # the space that a stated fid is in
    generator: str | None
    compute_flops: float
    within: float | None  # wanted half-width, relative
    origin: Origin = _origin()


@dataclass(frozen=True)
class Allocate:
    """A run the study then trains. One of `compute_flops` (lowest loss), `accuracy` (cheapest that reaches it)
    and `time_seconds` (best within it) is its objective, the others are None."""

    name: str
    laws: tuple[str, ...]
    compute_flops: float | None
    accuracy: float | None  # in (0, 1]
    time_seconds: float | None
    generators: tuple[str, ...]  # candidates
    compete: bool  # they were given as a list: images are paid from `compute`, and none is drawn twice
    families: tuple[str, ...]  # of models; empty: those of the grids
    recipe: str
    overhead: float  # extra compute allowed for a smaller network (Eq. 6), in [0, inf)
    evaluate: tuple[Evaluation, ...]
    seed: int
    origin: Origin = _origin()


@dataclass(frozen=True)
class Compare:
    """A question: how do the groups of runs that an axis makes differ under an evaluation? `within`: differences that
    don't matter, in the metric's unit."""

    name: str
    over: RunSet
    by: str  # an axis of the runs' grid
    evaluate: str | None  # name of the evaluation; None: the study declares none
    metric: str  # accuracy | loss
    within: float | None
    origin: Origin = _origin()


@dataclass(frozen=True)
class Study:
    """Everything the compiler needs. `dataset` is a Call: `digits`, `cifar10`, ..."""

    name: str
    dataset: Call
    generators: tuple[Generator, ...]
    recipes: tuple[Recipe, ...]
    evaluations: tuple[Evaluation, ...]
    grids: tuple[Grid, ...]
    budget: Budget
    fits: tuple[Fit, ...]
    forecasts: tuple[Forecast, ...]
    allocations: tuple[Allocate, ...]
    comparisons: tuple[Compare, ...] = ()
    devices: tuple[DeclaredDevice, ...] = ()
    profile: str | None = None
    #: The command line's `--set`, already in the values above: with them the same file gives the same study again.
    overrides: tuple[str, ...] = field(default=(), compare=False, repr=False)
    origin: Origin = _origin()
