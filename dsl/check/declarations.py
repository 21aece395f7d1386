"""Checked settings of blocks -> the Study's declarations, and what settings mean together.

Each function takes one merged block and gives its declaration, or BAD when anything in it was reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from isoloss.dsl.check.layers import MergedBlock
from isoloss.dsl.check.rules import check_condition
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.check.settings import MISSING, Missing, check_settings, check_zips, origin_of
from isoloss.dsl.check.variants import Declaring, declare_variants, swept_axes, swept_paths, without_sweeps
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.study.study import (
    Allocate,
    Axis,
    Budget,
    Call,
    Compare,
    DeclaredDevice,
    Devices,
    Evaluation,
    Fit,
    Forecast,
    Generator,
    Grid,
    Recipe,
    RunSet,
)
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import BLOCKS, DEVICES, find_term


def _complete(block: MergedBlock, values: dict[str, Any], scope: Scope) -> bool:
    """Whether nothing is BAD or MISSING; what is missing is reported here, in one message."""
    missing = [name for name, value in values.items() if isinstance(value, Missing)]
    if missing:
        report_missing(block, missing, scope)
    return not missing and not any(isinstance(v, Bad) for v in values.values())


def report_missing(block: MergedBlock, names: list[str], scope: Scope) -> None:
    if block.orphaned:
        return
    row = BLOCKS[block.kind]
    words = " and ".join(f"`{n}`" for n in names)
    slots = [slot for n in names if (slot := row.slot(n))]
    scope.report.add(
        "V103",
        f"`{block.kind}{' ' + block.name if block.name else ''}` has no {words}",
        block.span,
        "incomplete",
        *(f"for example `{s.name} {s.form} {s.example}`: {s.doc}" for s in slots),
    )


def declare_generator(block: MergedBlock, scope: Scope) -> Generator | Bad:
    values = check_settings(block, scope)
    source, sampler = values.pop("from"), values["sampler"]
    sums = values.pop("sha256")
    if isinstance(source, Missing) and isinstance(sampler, Missing):
        scope.report.add(
            "V103",
            f"`generator {block.name}` has neither `sampler` nor `from`",
            block.span,
            "no images",
            'for example `sampler = edm(steps = 20)`, `from = "wang/*.npz"` or `from = real`',
        )
        return BAD
    fitting = _sources_fit(block, scope)
    values["sampler"] = None if isinstance(sampler, Missing) else sampler
    if isinstance(source, Missing):
        source = None
    else:
        values["denoiser"] = None
    if not _complete(block, {**values, "from": source, "sha256": sums}, scope) or not fitting:
        return BAD
    if source is not None and source.kind == "files":
        source = Call("files", (*source.arguments, ("sha256", sums or ())))
    return Generator(block.name, source=source, **values, origin=origin_of(block.span))


def _sources_fit(block: MergedBlock, scope: Scope) -> bool:
    """Whether no setting says something that another source of images would need."""
    given = block.settings
    if "from" not in given:
        return _meaningless(block, ("sha256", "licence"), "images that a sampler makes have none", scope)
    if "sampler" in given:
        scope.report.add(
            "V105",
            "`from` and `sampler` both say where images come from",
            given["sampler"].paths[0].span,
            "one too many",
            "leave one of them out",
        )
        return False
    fine = _meaningless(block, ("denoiser",), "only a sampler follows one", scope)
    if isinstance(given["from"].value, ast.Path):
        fine &= _meaningless(block, ("sha256", "licence"), "the dataset's files have their own", scope)
    return fine


def _meaningless(block: MergedBlock, names: tuple[str, ...], why: str, scope: Scope) -> bool:
    found = [block.settings[name] for name in names if name in block.settings]
    for setting in found:
        headline = f"`{setting.key}` has no meaning for `{block.kind} {block.name}`"
        scope.report.add("V112", headline, setting.paths[0].span, why, "leave it out")
    return not found


def declare_mix(block: MergedBlock, scope: Scope) -> Generator | Bad:
    """A mix is a generator whose source is another one's images with real ones among them."""
    values = check_settings(block, scope)
    if not _complete(block, values, scope):
        return BAD
    name, real = values["generator"], values["real"]
    if real == 1:
        scope.report.add(
            "V101", "`real` must be above 0 and below 1, found 1", block.settings["real"].value.span,
            "nothing left to mix", "real images alone are `generator NAME { from = real }`",
        )  # fmt: skip
        return BAD
    if name in scope.names("mix") or name in scope.real:
        what = "a mix" if name in scope.names("mix") else "real images"
        scope.report.add(
            "V113", f"`mix {block.name}` mixes real images into {what}",
            block.settings["generator"].value.span, what, "name a generator that has a sampler or files",
        )  # fmt: skip
        return BAD
    source = Call("mix", (("generator", name), ("real", real)))
    about = {key: values[key] for key in ("fid", "features")}
    about |= dict.fromkeys(("sampler", "denoiser", "images", "passes", "licence"))
    return Generator(block.name, source=source, **about, origin=origin_of(block.span))


def declare_evaluation(block: MergedBlock, scope: Scope) -> Evaluation | Bad:
    values = check_settings(block, scope.within(loss="evaluate"))
    if not _complete(block, values, scope):
        return BAD
    return Evaluation(block.name, **values, origin=origin_of(block.span))


def declare_recipe(block: MergedBlock, scope: Scope) -> Recipe | Bad:
    values = check_settings(block, scope)
    others = (value for name, value in values.items() if name not in ("batch", "lr"))
    if not any(isinstance(value, Missing) for value in others):
        # check.py asks for these two, once it knows whether every grid has an axis of them.
        values |= {name: None for name in ("batch", "lr") if isinstance(values[name], Missing)}
    if not _complete(block, values, scope) or not _attack_fits(block, values, scope):
        return BAD
    return Recipe(block.name, **values, origin=origin_of(block.span))


def _attack_fits(block: MergedBlock, values: dict[str, Any], scope: Scope) -> bool:
    loss, attack = values["loss"], values["attack"]
    place = block.settings.get("attack") or block.settings["loss"]
    term = find_term("attack", attack.kind)
    if term is not None and not term.trains:
        scope.report.add(
            "V110",
            f"`{attack.kind}` can't be a recipe's inner attack",
            place.value.span,
            "for evaluations only",
            "train with `pgd(…)` and test with this",
        )
        return False
    if loss.kind in ("natural", "noise") and attack.kind != "none":
        images = "clean" if loss.kind == "natural" else "noisy"
        scope.report.add(
            "V110",
            f"`{loss.kind}` trains on {images} images, and an attack is given",
            place.value.span,
            "would never run",
            "write `attack = none`, or `loss = pgd_at()` to train on attacked images",
        )
        return False
    if loss.kind in ("trades", "pgd_at", "mart", "lse", "half") and attack.kind == "none":
        scope.report.add(
            "V110",
            f"`{loss.kind}` needs attacked images, and the attack is `none`",
            place.value.span,
            "no attack",
            "write `attack = pgd(eps = 8/255)`, or `loss = natural()`",
        )
        return False
    return True


def declare_grid(block: MergedBlock, scope: Scope, declaring: Declaring) -> Grid | Bad:
    slots = scope.swept[block.name]
    paths = swept_paths(block, declaring.merged)
    own = without_sweeps(block, declaring.merged)
    inside = swept_axes(block, slots, declaring.merged, scope)
    values = check_settings(own, scope)
    zips = check_zips(own, scope)
    where = [check_condition(w.test, scope.of_grid(block.name)) for w in block.wheres]
    for name in ("batch", "lr"):
        if isinstance(values[name], Missing):
            del values[name]
    for name in {path.text for setting in block.zips for path in setting.paths} & set(values):
        del values[name]
    if isinstance(values.get("generator"), Missing) and "real" in scope.names("generator"):
        values["generator"] = Axis(("generator",), (("real",),))
    sized = _one_size(block, values, scope)
    if isinstance(values.get("recipe"), Missing) and len(scope.names("recipe")) == 1:
        values["recipe"] = Axis(("recipe",), ((scope.names("recipe")[0],),))
    bad = (
        isinstance(inside, Bad) or any(isinstance(w, Bad) for w in (*where, *zips)) or len(slots) < len(paths)
    )
    if not _complete(own, values, scope) or bad or not sized or isinstance(inside, Bad):
        return BAD
    axes = [*values.values(), *(z for z in zips if isinstance(z, Axis)), *(each.axis for each in inside)]
    order = [slot.name for slot in BLOCKS["grid"].slots]
    axes.sort(key=lambda axis: order.index(axis.names[0]) if axis.names[0] in order else len(order))
    conditions = tuple(w for w in where if not isinstance(w, Bad))
    grid = Grid(block.name, tuple(axes), conditions, origin=origin_of(block.span))
    if not paths:
        return grid
    names = tuple(path.text for path in paths)
    recipes = tuple(dict.fromkeys(map(str, grid.values("recipe"))))
    variants = declare_variants(block, inside, names, recipes, declaring, scope)
    return BAD if isinstance(variants, Bad) else replace(grid, swept=names, variants=variants)


def _one_size(block: MergedBlock, values: dict[str, Any], scope: Scope) -> bool:
    """Whether `images` or `compute` says how long runs train, and not both; reported if both do. What isn't given
    leaves `values`."""
    zipped = {path.text: path.span for setting in block.zips for path in setting.paths}
    given = [
        name
        for name in ("images", "compute")
        if name in zipped or not isinstance(values.get(name, MISSING), Missing)
    ]
    for name in ("images", "compute"):
        # A grid with neither lacks `images`.
        if name in values and name not in given and (given or name == "compute"):
            del values[name]
    if len(given) < 2:
        return True
    span = zipped.get("compute") or block.settings["compute"].paths[0].span
    scope.report.add(
        "V105",
        "`images` and `compute` both say how long the runs train",
        span,
        "one too many",
        "leave one of them out",
    )
    return False


def declare_device(block: MergedBlock, scope: Scope) -> DeclaredDevice | Bad:
    values = check_settings(block, scope)
    if block.name in DEVICES:
        scope.report.add(
            "N105", f"`{block.name}` is a device that plans know already", block.span, "again",
            f"give yours another name: `device my_{block.name} {{ … }}`",
        )  # fmt: skip
        return BAD
    if not _complete(block, values, scope):
        return BAD
    price, currency = values["price"] or (None, "USD")
    peaks = {name: values[name] for name in ("fp32", "tf32", "bf16", "bandwidth", "watts")}
    return DeclaredDevice(
        block.name,
        values["memory"],
        **peaks,
        price_per_hour=price,
        currency=currency,
        origin=origin_of(block.span),
    )


def declare_budget(block: MergedBlock, scope: Scope) -> Budget | Bad:
    values = check_settings(block, scope)
    if not _complete(block, values, scope) or not _prices_fit(block, values, scope):
        return BAD
    prices = [values[name] for name in ("price", "transfer")]
    devices: Devices = values["devices"]
    return Budget(
        compute_flops=values["compute"],
        devices=devices,
        walltime_seconds=values["walltime"],
        price_per_device_hour=None if prices[0] is None else prices[0][0],
        price_per_byte=None if prices[1] is None else prices[1][0],
        currency=next((each[1] for each in prices if each is not None), "USD"),
        storage_bytes=values["storage"],
        choose=values["choose"],
        pin=values["pin"],
        origin=origin_of(block.span),
    )


def _prices_fit(block: MergedBlock, values: dict[str, Any], scope: Scope) -> bool:
    """A price has devices that it is for, and prices are of one currency; reported if not."""
    price, transfer = values["price"], values["transfer"]
    if price is not None and price[0] and "devices" not in block.settings:
        scope.report.add(
            "V103",
            "`price` is for a device and hour, and the budget names no `devices`",
            block.settings["price"].paths[0].span,
            "of which device?",
            "for example `devices = 32 of h100`",
        )
        return False
    if price is not None and transfer is not None and price[1] != transfer[1]:
        scope.report.add(
            "V110",
            f"`price` is in {price[1]} and `transfer` in {transfer[1]}",
            block.settings["transfer"].value.span,
            "another currency",
            f"write both in {price[1]}: nothing here knows what one is worth in the other",
        )
        return False
    return True


def declare_fit(block: MergedBlock, scope: Scope) -> Fit | Bad:
    values = check_settings(block, scope)
    if isinstance(values["to"], Missing):
        base, grids = values["base"], scope.names("grid")
        if isinstance(base, RunSet):
            values["to"] = RunSet(base.grid)
        elif isinstance(base, Bad):
            values["to"] = BAD
        elif len(grids) == 1:
            values["to"] = RunSet(grids[0])
    if isinstance(values["evaluate"], Missing):
        values["evaluate"] = None  # settled_evaluations.py finds it, once grids and recipes are known
    if not _complete(block, values, scope) or not _errors_fit(block, values, scope):
        return BAD
    return Fit(block.name, **values, origin=origin_of(block.span))


def _errors_fit(block: MergedBlock, values: dict[str, Any], scope: Scope) -> bool:
    """Correlated errors are for laws of single runs that are fitted in one go."""
    if values["errors"] != "correlated":
        return True
    stage = next((name for name in ("base", "quality") if values[name] is not None), None)
    if values["law"] == "approach1":
        headline, label = (
            "`errors = correlated` weighs single runs, and approach1 is fitted to their envelope",
            "law",
        )
        help = "leave `errors` out, or fit another law"
    elif stage is not None:
        headline, label = (
            f"`errors = correlated` fits all parameters together, `{stage}` makes a stage of them",
            stage,
        )
        help = f"leave `{stage}` out and say which runs by `to = (runs where …)`, or leave `errors` out"
    elif "delta" in block.settings:
        headline, label = "`delta` is for independent errors, and these are correlated", "delta"
        help = "leave one of them out: correlated errors find their outliers by themselves"
    else:
        return True
    scope.report.add("V110", headline, block.settings[label].paths[0].span, "doesn't go with it", help)
    return False


def declare_forecast(block: MergedBlock, scope: Scope) -> Forecast | Bad:
    values = check_settings(block, scope)
    has = {name: not isinstance(values[name], Missing) for name in ("fid", "generator")}
    if all(has.values()):
        place = block.settings["generator"].paths[0].span
        scope.report.add(
            "V105",
            "`fid` and `generator` both say the quality",
            place,
            "one too many",
            "leave one of them out",
        )
        return BAD
    if not any(has.values()):
        scope.report.add(
            "V103",
            f"`forecast {block.name}` has neither `fid` nor `generator`",
            block.span,
            "for which quality?",
            "for example `fid = 0` for real data, or `generator = edm20`",
        )
        values["fid"] = values["generator"] = BAD
    for name, present in has.items():
        if not present and not isinstance(values[name], Bad):
            values[name] = None
    if not _complete(block, values, scope):
        return BAD
    return Forecast(
        block.name,
        values["law"],
        values["fid"],
        values["features"],
        values["generator"],
        values["compute"],
        values["within"],
        origin=origin_of(block.span),
    )


#: What an allocation may be asked for: setting -> what it says.
OBJECTIVES = {
    "compute": "lowest loss at a compute",
    "accuracy": "cheapest run of an accuracy",
    "time": "best run within a time",
}


def declare_allocation(block: MergedBlock, scope: Scope) -> Allocate | Bad:
    values = check_settings(block, scope)
    recipes, evaluations = scope.names("recipe"), scope.names("evaluate")
    if isinstance(values["recipe"], Missing) and len(recipes) == 1:
        values["recipe"] = recipes[0]
    if isinstance(values["evaluate"], Missing) and evaluations:
        names = [each for name in sorted(evaluations) for each in scope.curves.get(name, (name,))]
        known = [scope.evaluations.get(name, BAD) for name in names]
        values["evaluate"] = BAD if any(isinstance(e, Bad) for e in known) else tuple(known)
    sensible = _one_objective(block, values, scope)
    for name in OBJECTIVES:
        if isinstance(values[name], Missing):
            values[name] = None
    if not _complete(block, values, scope) or not sensible:
        return BAD
    return Allocate(
        block.name,
        values["law"],
        values["compute"],
        values["accuracy"],
        values["time"],
        _listed(values["generator"]),
        isinstance(scope.unfold(block.settings["generator"].value), ast.Sequence),
        _listed(values["family"]),
        values["recipe"],
        values["overhead"],
        values["evaluate"],
        values["seed"],
        origin=origin_of(block.span),
    )


def declare_comparison(block: MergedBlock, scope: Scope, grids: Mapping[str, Grid]) -> Compare | Bad:
    values = check_settings(block, scope)
    named = scope.names("grid")
    if isinstance(values["over"], Missing) and len(named) == 1:
        values["over"] = RunSet(named[0])
    if isinstance(values["evaluate"], Missing):
        values["evaluate"] = None  # settled_evaluations.py finds it, once grids and recipes are known
    if not _complete(block, values, scope):
        return BAD
    grid = grids.get(values["over"].grid)
    if grid is None:
        return BAD  # reported at its own place
    varied = [name for axis in grid.axes for name in axis.names if len(set(grid.values(name))) > 1]
    if values["by"] not in varied or values["by"] == "seed":
        scope.report.add(
            "V120", f"grid `{grid.name}` has no several values of `{values['by']}` to compare",
            block.settings["by"].value.span, "not an axis to compare by",
            did_you_mean(values["by"], [name for name in varied if name != "seed"], "its runs differ in nothing"),
        )  # fmt: skip
        return BAD
    return Compare(block.name, **values, origin=origin_of(block.span))


def _listed(axis: Axis) -> tuple[str, ...]:
    """The names of an axis, each once; none for the word that says so."""
    return tuple(dict.fromkeys(str(row[0]) for row in axis.values if row[0] is not None))


def _one_objective(block: MergedBlock, values: dict[str, Any], scope: Scope) -> bool:
    """Exactly one objective, and none that leaves no sense to the other settings; reported if not."""
    given = [
        name for name in OBJECTIVES if not isinstance(values[name], Missing) and values[name] is not None
    ]
    if not given:
        listed = "; ".join(f"`{name}`: {words}" for name, words in OBJECTIVES.items())
        scope.report.add(
            "V103",
            f"`allocate {block.name}` has no `compute`, `accuracy` or `time`",
            block.span,
            "for what?",
            listed,
        )
        return False
    if len(given) > 1:
        scope.report.add(
            "V105",
            f"{' and '.join(f'`{name}`' for name in given)} each say what `{block.name}` is asked for",
            block.settings[given[1]].paths[0].span,
            "one too many",
            "leave one, or write an allocation for each",
        )
        return False
    if given == ["time"] and "overhead" in block.settings and values["overhead"] != 0:
        scope.report.add(
            "V110",
            "`overhead` buys a smaller network with more compute, and `time` leaves none",
            block.settings["overhead"].paths[0].span,
            "no time for it",
            "leave it out, or ask at a `compute`",
        )
        return False
    return True


__all__ = [
    "Call",
    "declare_allocation",
    "declare_budget",
    "declare_comparison",
    "declare_evaluation",
    "declare_fit",
    "declare_forecast",
    "declare_generator",
    "declare_grid",
    "declare_recipe",
]
