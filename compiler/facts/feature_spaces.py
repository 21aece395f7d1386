"""Which feature space a FID is a distance in, and what would mix two: Study -> diagnostics. Pure.

A FID of 0 is the real data itself, in every space; any other number means something in its own space only. So no
condition may compare FIDs of two spaces (G112), no law be fitted to them (L506), and no law be asked for a quality
of another space (L507)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import (
    Allocate,
    Conditional,
    Expr,
    Fit,
    Forecast,
    Grid,
    Operation,
    Origin,
    Quantity,
    RunSet,
    Study,
)

_QUALITY = ("fid", "generator.fid")


def spaces_of(study: Study) -> dict[str, str | None]:
    """The space of each generator's FID; None: a stated 0, which is of every space."""
    return {g.name: None if g.fid == 0 else g.features.kind for g in study.generators}


def several_spaces(generators: Iterable[str], spaces: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Space -> generators, where these are of more than one; else empty."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(generators):
        space = spaces.get(name)
        if space is not None:
            found.setdefault(space, []).append(name)
    return found if len(found) > 1 else {}


def _listed(found: Mapping[str, Sequence[str]]) -> str:
    """`fid @ inception` (dg, edm20) and `fid @ pixels` (mix4)."""
    parts = [f"`{_metric(space)}` ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
             for space, names in found.items()]  # fmt: skip
    return " and ".join(parts)


# Conditions.


def check_conditions(study: Study) -> Iterator[Diagnostic]:
    """Of every grid: its filters, its recipes' rules, and the run sets that filter its cells."""
    spaces = spaces_of(study)
    for grid in study.grids:
        found = several_spaces(map(str, grid.values("generator")), spaces)
        if not found:
            continue
        for what, expression, origin in _expressions(study, grid):
            if reads_quality(expression):
                yield Diagnostic(
                    "G112",
                    f"{what} compares FIDs of different feature spaces: {_listed(found)}",
                    origin.span,
                    help=(
                        "filter by name: `generator in [edm5, edm20]`",
                        "or measure all of them in one space: `features = …` in each generator",
                    ),
                )


def _expressions(study: Study, grid: Grid) -> Iterator[tuple[str, Expr, Origin]]:
    for condition in grid.where:
        yield f"`where` of grid `{grid.name}`", condition, grid.origin
    recipes = grid.values("recipe")
    for recipe in study.recipes:
        if recipe.name in recipes:
            rules = (("batch", recipe.batch), ("lr", recipe.lr))
            yield from (
                (f"`{name}` of recipe `{recipe.name}`", rule, recipe.origin)
                for name, rule in rules
                if rule is not None
            )
    for fit in study.fits:
        for runs in (fit.to, fit.base, fit.quality):
            yield from _of_runs(runs, grid, f"fit `{fit.name}`", fit.origin)
    yield from _of_runs(study.budget.pin, grid, "`pin` of the budget", study.budget.origin)


def _of_runs(
    runs: RunSet | None, grid: Grid, what: str, origin: Origin
) -> Iterator[tuple[str, Expr, Origin]]:
    if runs is not None and runs.grid == grid.name and runs.where is not None:
        yield what, runs.where, origin


def reads_quality(expression: Expr) -> bool:
    """Whether an expression over cells names a FID."""
    match expression:
        case Quantity(name=name):
            return name in _QUALITY
        case Operation(operands=operands):
            return any(reads_quality(each) for each in operands)
        case Conditional(test=test, then=then, otherwise=otherwise):
            parts = (test, then) if otherwise is None else (test, then, otherwise)
            return any(reads_quality(each) for each in parts)
        case _:
            return False


# Laws.


def check_fit(
    declared: Fit, generators: Collection[str], spaces: Mapping[str, str | None]
) -> list[Diagnostic]:
    """Whether a fit whose law uses quality would see FIDs of two spaces."""
    found = several_spaces(generators, spaces)
    if not found:
        return []
    return [
        Diagnostic(
            "L506",
            f"fit `{declared.name}` mixes FIDs of different feature spaces: {_listed(found)}",
            declared.origin.span,
            help=(
                "keep the runs of one space, `(runs where generator in [...])`: constants of one space mean "
                "nothing in another",
                "or measure all of them in one: `features = …` in each generator",
            ),
        )
    ]


def check_question(
    question: Forecast | Allocate, laws: Sequence[str | None], spaces: Mapping[str, str | None]
) -> list[Diagnostic]:
    """Whether a question's quality is of the spaces of the laws that answer it; `laws`: the space of each that
    uses quality, None where nothing is known."""
    wanted: list[tuple[str | None, str]] = []
    if isinstance(question, Allocate):
        wanted += [(spaces.get(name), f"generator `{name}`") for name in question.generators]
    elif question.generator is not None:
        wanted.append((spaces.get(question.generator), f"generator `{question.generator}`"))
    elif question.fid:
        wanted.append((question.features.kind, f"`fid = {question.fid:g}`"))
    kind = "allocate" if isinstance(question, Allocate) else "forecast"
    known = dict.fromkeys(space for space in laws if space is not None)
    if len(known) > 1:
        listed = " and ".join(f"`{_metric(space)}`" for space in known)
        headline = f"the laws of {kind} `{question.name}` are fitted in different feature spaces: {listed}"
        alone = "ask each law by itself, for a quality of its own space"
        return [Diagnostic("L507", headline, question.origin.span, help=(alone,))]
    pairs = ((asked, of, space) for asked, of in wanted for space in known if asked not in (None, space))
    asked, of, other = next(pairs, (None, "", None))
    if other is None or asked is None:
        return []
    headline = (
        f"{kind} `{question.name}` asks for a quality of `{_metric(asked)}` ({of}), its law is fitted to "
        f"`{_metric(other)}`"
    )
    helps = (
        f"ask for a generator of that space, or state the quality in it: `fid = … features = {other}`",
        "`fid = 0` is real data in every space",
    )
    return [Diagnostic("L507", headline, question.origin.span, help=helps)]


def _metric(space: str) -> str:
    # Only a mistake needs the name: a check of a sound study loads no plan.
    from isoloss.compiler.plan import frechet_metric

    return frechet_metric(space)
