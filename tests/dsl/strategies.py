"""Hypothesis strategies: syntax trees of every shape the grammar knows, and Study values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from isoloss.dsl.study.study import Call, Conditional, Const, Operation, Quantity
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary.units import UNITS

RESERVED = {
    "study", "extends", "import", "let", "dataset", "where", "in", "zip", "if", "else", "and", "or", "not",
    "of", "at", "every", "true", "false",
}  # fmt: skip

names = (
    st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
    .filter(lambda word: word not in RESERVED and word not in UNITS)
    .map(ast.Name)
)
plain_numbers = st.builds(
    ast.Number, st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})?(e-?[0-9]{1,2})?[kMB]?", fullmatch=True)
)
numbers = plain_numbers | st.builds(
    ast.Number, st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})?", fullmatch=True), st.sampled_from(sorted(UNITS))
)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: ast.Path(tuple(parts)))
leaves = (
    numbers
    | paths
    | st.builds(ast.Boolean, st.booleans())
    | st.builds(
        ast.Text, st.text(st.characters(exclude_characters='"\n\r', exclude_categories=["C"]), max_size=8)
    )
    | st.builds(ast.DeviceCount, plain_numbers, names)
    | st.builds(ast.Unit, st.sampled_from(sorted(u for u in UNITS if u != "%")))
)


def _inner(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(
            ast.Binary,
            st.sampled_from(["+", "-", "*", "/", "**", "==", "!=", "<", "<=", ">", ">=", "in", "and", "or"]),
            children,
            children,
        ),
        st.builds(ast.Unary, st.sampled_from(["-", "not"]), children),
        st.builds(ast.IfElse, children, children, st.none() | children),
        st.builds(ast.Interval, children, children),
        st.lists(children, max_size=3).map(lambda items: ast.Sequence(tuple(items), "[")),
        st.lists(children, min_size=2, max_size=3).map(lambda items: ast.Sequence(tuple(items), "(")),
        st.builds(ast.Filtered, names, children),
        st.builds(
            ast.CallExpression,
            names,
            st.lists(st.builds(ast.Argument, st.none() | names, children), max_size=3).map(tuple),
        ),
    )


expressions: st.SearchStrategy[Any] = st.recursive(leaves, _inner, max_leaves=8)
settings = st.one_of(
    st.builds(
        lambda p, v: ast.Setting((p,), "=", v),
        paths,
        expressions | st.builds(ast.Every, expressions, expressions),
    ),
    st.builds(lambda p, o, v: ast.Setting((p,), o, v), paths, st.sampled_from(["in", "<="]), expressions),
    st.builds(
        lambda p, v: ast.Setting(tuple(p), "in", v), st.lists(paths, min_size=2, max_size=3), expressions
    ),
)
simple = settings | st.builds(ast.Where, expressions) | st.builds(ast.Let, names, expressions) | st.builds(
    ast.Dataset, expressions
)  # fmt: skip


def _blocks(statements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        ast.Block, names, st.none() | names, st.none() | names, st.lists(statements, max_size=3).map(tuple)
    )


statements = st.recursive(simple, _blocks, max_leaves=6)
studies = st.builds(
    ast.StudyAst,
    st.lists(st.builds(lambda n: ast.Import(ast.Text(f"{n.text}.study")), names), max_size=2).map(tuple),
    st.builds(ast.StudyBlock, names, st.none() | names, st.lists(statements, max_size=5).map(tuple)),
)

# Values and expressions of a checked study.

words = st.text(st.characters(codec="ascii", categories=["L", "Nd"]), min_size=1, max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.fractions()
    | words
)
calls = st.builds(Call, words, st.dictionaries(words, scalars, max_size=3).map(lambda d: tuple(d.items())))
values = scalars | calls | st.lists(scalars, max_size=3).map(tuple)


def _rules(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.tuples(children, children)
    return st.one_of(
        st.builds(Operation, st.sampled_from(["+", "-", "*", "/", "<", "<=", "==", "and", "or"]), pairs),
        st.builds(Operation, st.sampled_from(["not", "neg"]), st.tuples(children)),
        st.builds(Conditional, children, children, st.none() | children),
    )


rules: st.SearchStrategy[Any] = st.recursive(
    st.builds(Const, values) | st.builds(Quantity, st.sampled_from(["images", "fid", "params"])),
    _rules,
    max_leaves=6,
)
rationals = st.fractions(min_value=Fraction(-(10**6)), max_value=Fraction(10**6), max_denominator=10**6)
