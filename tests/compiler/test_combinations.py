"""Columns of a grid say what a walk over its combinations says, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from studies import example

from isoloss.compiler.cells.combinations import Combinations
from isoloss.compiler.cells.expand import expand, steps_for
from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.passes import flops_per_image
from isoloss.compiler.facts.components import component
from isoloss.dsl.study.expression import evaluate
from isoloss.dsl.study.study import Axis, Call, Conditional, Const, Expr, Operation, Quantity, Study

QUICKSTART = example("quickstart")
GENERATORS = tuple(g.name for g in QUICKSTART.generators)
FIDS = {GENERATORS[0]: 4.5}  # the others are unknown

quantities = st.sampled_from(["params", "images", "fid", "flops", "epochs", "seed", "generator.images"])
numbers = st.sampled_from([0, 1, 4, 500, 1_000, 8_000, 30_000, 10**9])
comparisons = st.builds(
    lambda operator, name, number: Operation(operator, (Quantity(name), Const(number))),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    quantities,
    numbers,
)
filters = comparisons | st.builds(
    lambda operator, left, right: Operation(operator, (left, right)),
    st.sampled_from(["and", "or"]),
    comparisons,
    comparisons,
)


def rules(values: list[Any]) -> st.SearchStrategy[Expr]:
    """Rules without a gap, as `32 if images <= 8k else 64`."""
    tests = st.builds(
        lambda name, number: Operation("<=", (Quantity(name), Const(number))),
        st.sampled_from(["params", "images", "epochs", "seed"]),
        numbers,
    )
    return st.sampled_from(values).map(Const) | st.builds(
        lambda test, then, otherwise: Conditional(test, Const(then), Const(otherwise)),
        tests,
        st.sampled_from(values),
        st.sampled_from(values),
    )


@st.composite
def grids(draw: st.DrawFn) -> Study:
    """The quickstart's study with any axes in any order, batches by rule, by axis or zipped to the model."""
    few = {"min_size": 1, "max_size": 3, "unique": True}
    models = [Call("cnn", (("width", w),)) for w in draw(st.lists(st.integers(1, 5), **few))]
    axes = [
        Axis(("generator",), tuple((g,) for g in draw(st.lists(st.sampled_from(GENERATORS), **few)))),
        Axis(("images",), tuple((n,) for n in draw(st.lists(st.integers(200, 9_000), **few)))),
        Axis(("recipe",), ((QUICKSTART.recipes[0].name,),)),
        Axis(("seed",), tuple((n,) for n in draw(st.lists(st.integers(0, 4), **few)))),
    ]
    if draw(st.booleans()):
        axes.append(Axis(("model", "batch"), tuple((m, draw(st.sampled_from([16, 64]))) for m in models)))
    else:
        axes.append(Axis(("model",), tuple((m,) for m in models)))
        if draw(st.booleans()):
            axes.append(Axis(("batch",), ((32,), (48,))))
    grid = replace(
        QUICKSTART.grids[0],
        axes=tuple(draw(st.permutations(axes))),
        where=tuple(draw(st.lists(filters, max_size=2))),
    )
    recipe = replace(QUICKSTART.recipes[0], batch=draw(rules([16, 32])), lr=draw(rules([0.1, 0.25])))
    return replace(QUICKSTART, grids=(grid,), recipes=(recipe,))


def walked(study: Study) -> tuple[list[tuple[Any, ...]], int]:
    """(model, generator, images, seed, batch, lr, steps, waits) of every cell, one combination after another; and how
    many were left out because an earlier one comes to the same whole batches."""
    grid, recipe, found = study.grids[0], study.recipes[0], []
    generators = {g.name: g for g in study.generators}
    for rows in product(*(axis.values for axis in grid.axes)):
        cell: dict[str, Any] = {}
        for axis, row in zip(grid.axes, rows, strict=True):
            cell.update(zip(axis.names, row, strict=True))
        parts = [component(x) for x in (study.dataset, recipe.loss, recipe.attack, recipe.perturb)]
        each = flops_per_image(component(cell["model"]), *parts)
        cell["params"] = count(component(cell["model"]), parts[0]).params
        cell["epochs"] = cell["images"] / 1_000
        cell["generator.images"] = limit = generators[cell["generator"]].images
        cell["fid"] = FIDS.get(cell["generator"])
        settled = {"batch": recipe.batch, "lr": recipe.lr}
        cell.update({k: evaluate(rule, cell) for k, rule in settled.items() if k not in cell})
        steps, _ = steps_for(cell["images"], int(cell["batch"]), 1_000)
        cell["flops"] = each * steps * int(cell["batch"])
        verdicts = [evaluate(test, cell) for test in grid.where]
        if any(v is False for v in verdicts) or (limit is not None and cell["images"] > limit):
            continue
        waits = any(v is not True for v in verdicts)
        key = ("model", "generator", "images", "seed", "batch", "lr")
        found.append((*(cell[k] for k in key), steps, waits))
    unique: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for model, generator, images, seed, batch, lr, steps, waits in found:
        row = model, generator, images, seed, batch, lr, steps, waits
        unique.setdefault((model, generator, seed, batch, lr, steps), row)
    return list(unique.values()), len(found) - len(unique)


@settings(max_examples=150, deadline=None)
@given(grids())
def test_cells_are_those_of_a_walk(study: Study) -> None:
    cells, problems = expand(study, FIDS)
    found = [
        (c.model, c.generator, c.images, c.seed, c.batch, c.lr, c.train_steps, c.provisional) for c in cells
    ]
    expected, copies = walked(study)
    assert found == expected
    # An empty grid, one that asks for too many images and one with copies are said; nothing else is wrong with these.
    assert {p.code for p in problems} <= {"G101", "G102", "G104"}
    assert any(p.code == "G102" for p in problems) == (copies > 0)
    assert all(c.flops == c.flops_per_image * c.train_steps * c.batch for c in cells)


def test_a_quantity_is_computed_once_per_entry_of_its_table() -> None:
    known = Combinations([2, 100, 3])
    known.put("a", (0,), [1, 2])
    known.put("c", (2,), [10, 20, 30])
    calls = []
    known.derive("sum", ["c", "a"], lambda c, a: calls.append((c, a)) or c + a)
    assert calls == [(10, 1), (20, 1), (30, 1), (10, 2), (20, 2), (30, 2)]
    assert list(known.column("sum")) == [c + a for a in (1, 2) for _ in range(100) for c in (10, 20, 30)]
    assert known.row(["sum", "unheard of"], 302) == {"sum": 32}
