"""What differs between two studies: every field of the language by its name, and nothing else."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.load import load_study, load_with_places
from isoloss.dsl.study.changes import changes
from isoloss.dsl.study.study import Study
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.format import format_study
from isoloss.dsl.syntax.parse import parse_study
from tests.compiler.test_edits import BASE, COSMETIC, EDITS

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMITS = EXAMPLES / "robustness_limits.study"


def loaded(path: Path, profile: str | None = None, overrides: Sequence[str] = ()) -> Study:
    found, mistakes = load_study(path, profile=profile, overrides=overrides)
    assert found is not None, mistakes
    return found


def written(folder: Path, parts: dict[str, str]) -> Path:
    path = folder / "small.study"
    path.write_text("study small {\n" + "\n".join({**BASE, **parts}.values()) + "\n}\n", encoding="utf-8")
    return path


def told(changed: Study, other: Study) -> list[str]:
    return list(map(str, changes(changed, other)))


# Every field of the language.


@pytest.mark.parametrize(("block", "field"), EDITS, ids=[f"{b}.{f}" for b, f in EDITS])
def test_an_edit_is_named_with_its_place(tmp_path: Path, block: str, field: str) -> None:
    edit = EDITS[block, field]
    shared = dict(edit.more)
    before = loaded(written(tmp_path, {**shared, **({} if edit.before is None else {block: edit.before})}))
    path = written(tmp_path, {**shared, block: edit.after})
    after, _, places = load_with_places(path)
    assert after is not None
    found = [change.path for change in changes(before, after)]
    name = edit.after.split()[1].strip("{") or ""
    wanted = f"{block}.{name}.{field}" if name else f"{block}.{field}"
    assert any(each == wanted or each.startswith(f"{wanted}.") for each in found), found
    assert wanted in places
    assert changes(after, after) == []


#: Settings that `--set` can't give by themselves: another one has to go, or a part of a default would change that
#: depends on the rest of the study.
_NOT_ALONE = {
    ("allocate", "accuracy"),
    ("allocate", "time"),
    ("forecast", "generator"),
    ("generator", "features"),
    ("mix", "features"),
}


@pytest.mark.parametrize(("block", "field"), [e for e in EDITS if e not in _NOT_ALONE])
def test_new_values_are_written_as_the_language_has_them(tmp_path: Path, block: str, field: str) -> None:
    """Given to the old study by `--set`, what is told makes the new one."""
    edit = EDITS[block, field]
    shared = dict(edit.more)
    after = loaded(written(tmp_path, {**shared, block: edit.after}))
    path = written(tmp_path, {**shared, **({} if edit.before is None else {block: edit.before})})
    overrides = [f"{change.path}={change.after}" for change in changes(loaded(path), after)]
    assert told(loaded(path, overrides=overrides), after) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("budget.compute=2e22 FLOP", "`budget.compute`: 10 ZFLOP -> 20 ZFLOP"),
        ("budget.walltime=90 min", "`budget.walltime`: 12 h -> 1.5 h"),
        ("budget.price=3 EUR/h", "`budget.price`: 2.4 USD/h -> 3 EUR/h"),
        ("budget.devices=8 of a100", "`budget.devices`: 32 of h100 -> 8 of a100"),
        ("grid.runs.images=[5M, 10M]", "`grid.runs.images`: [5M, 10M, 30M, 70M, 100M] -> [5M, 10M]"),
        ("recipe.trades.lr=0.1", "`recipe.trades.lr`: 0.3 if images <= 10M else 0.2 if images <= 200M else 0.1 -> 0.1"),
        ("generator.edm5.fid=measured", "`generator.edm5.fid`: 35.54 -> measured"),
        ("recipe.trades.attack.steps=7", "`recipe.trades.attack.steps`: 10 -> 7"),
        ("recipe.trades.evaluate=robust at every 5%",
         "`recipe.trades.evaluate`: robust at every 2.5% -> robust at every 5%"),
        ("forecast.limit.law=quality", "`forecast.limit.law`: any(quality, bottleneck) -> quality"),
        ("allocate.sota.overhead=0.125", "`allocate.sota.overhead`: 10% -> 12.5%"),
    ],
)  # fmt: skip
def test_values_are_told_in_their_units(override: str, said: str) -> None:
    assert said in told(loaded(LIMITS), loaded(LIMITS, overrides=[override]))


def test_of_long_lists_what_came_and_went_is_told() -> None:
    many = ", ".join(f"wrn({10 + 6 * depth}, {width})" for depth in range(6) for width in (1, 2, 4))
    first, other = (
        loaded(LIMITS, overrides=[f"grid.runs.model=[{many}, {last}]"])
        for last in ("wrn(28, 10)", "wrn(34, 10)")
    )
    assert told(first, other) == [
        "`grid.runs.model`: 19 values -> 19 values, with wrn(34, 10) and without wrn(28, 10)"
    ]


def test_declarations_come_and_go(tmp_path: Path) -> None:
    plain = loaded(written(tmp_path, {}))
    more = loaded(written(tmp_path, {"again": "fit again { law = powerlaw to = runs }"}))
    assert told(plain, more) == ["`fit.again` is new"]
    assert told(more, plain) == ["`fit.again` is gone"]


def test_two_axes_that_come_to_move_together(tmp_path: Path) -> None:
    apart = (
        "grid runs { model in [cnn(1), cnn(2)] batch in [32, 64] generator = one images = 4k recipe = first }"
    )
    zipped = apart.replace(
        "model in [cnn(1), cnn(2)] batch in [32, 64]", "zip (batch, model) in [(64, cnn(2)), (32, cnn(1))]"
    )
    before, after = (loaded(written(tmp_path, {"grid": grid})) for grid in (apart, zipped))
    assert told(before, after) == [
        "`grid.runs.model`: [cnn(1), cnn(2)] -> zip (model, batch) in [[cnn(2), 64], [cnn(1), 32]]",
        "`grid.runs.batch`: [32, 64] -> none",
    ]


def test_which_evaluation_comes_first_means_nothing(tmp_path: Path) -> None:
    """A fit names its evaluation."""
    swapped = {"evaluate": BASE["clean"], "clean": BASE["evaluate"]}
    before, after = loaded(written(tmp_path, {})), loaded(written(tmp_path, swapped))
    assert told(before, after) == []


# What means nothing.

STUDIES = [("quickstart", None), ("robustness_limits", None), ("robustness_limits", "laptop")]


@pytest.mark.parametrize("what", [name for name in COSMETIC if name != "renamed"])
def test_cosmetic_edits_are_no_changes(tmp_path: Path, what: str) -> None:
    before = loaded(written(tmp_path, {}))
    assert told(before, loaded(written(tmp_path, COSMETIC[what]))) == []


def _shuffled(body: tuple[ast.Statement, ...], draw: random.Random) -> tuple[ast.Statement, ...]:
    """The statements of a block in another order, the values of axes too."""
    mixed = [_inside(statement, draw) for statement in body]
    draw.shuffle(mixed)
    return tuple(mixed)


def _inside(statement: ast.Statement, draw: random.Random) -> ast.Statement:
    if isinstance(statement, ast.Block):
        return replace(statement, body=_shuffled(statement.body, draw))
    if (
        isinstance(statement, ast.Setting)
        and statement.operator == "in"
        and isinstance(statement.value, ast.Sequence)
    ):
        items = list(statement.value.items)
        draw.shuffle(items)
        return replace(statement, value=replace(statement.value, items=tuple(items)))
    return statement


def _disguised(text: str, draw: random.Random) -> str:
    """The same text with comments, empty lines and blanks where the grammar allows them."""
    lines = []
    for line in text.splitlines():
        lines += [""] * draw.randrange(2)
        lines.append(" " * draw.randrange(9) + line.lstrip() + draw.choice(["", "  # why", "\t", "   "]))
    return "\r\n".join(lines) if draw.random() < 0.3 else "\n".join(lines)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([("quickstart", None), ("robustness_limits", None), ("robustness_limits", "laptop")]),
    st.randoms(),
)
def test_order_layout_and_comments_are_no_changes(which: tuple[str, str | None], draw: random.Random) -> None:
    path, profile = EXAMPLES / f"{which[0]}.study", which[1]
    parsed = parse_study(path.read_text(encoding="utf-8"), "test", Report())
    assert parsed is not None
    block = replace(parsed.study, body=_shuffled(parsed.study.body, draw))
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other.study"
        other.write_text(_disguised(format_study(replace(parsed, study=block)), draw), encoding="utf-8")
        assert told(loaded(path, profile), loaded(other, profile)) == []
