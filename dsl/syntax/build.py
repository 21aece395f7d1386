"""The parser's tree -> AST, one method per grammar rule; called by parse.py."""

from __future__ import annotations

from typing import Any

from lark import Token, Tree
from lark.tree import Meta

from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.syntax import ast


class Builder:
    """Methods are called with the place of their rule's node, and its children built."""

    def __init__(self, file: str) -> None:
        self._file = file

    def build(self, node: Tree[Token]) -> Any:
        children = [self.build(child) if isinstance(child, Tree) else child for child in node.children]
        return getattr(self, node.data)(node.meta, children)

    def _span(self, place: Meta | Token) -> Span:
        return Span(self._file, place.line, place.column, place.end_line, place.end_column)

    def _name(self, token: Token) -> ast.Name:
        return ast.Name(str(token), self._span(token))

    # Files and statements.

    def start(self, meta: Meta, children: list[Any]) -> ast.StudyAst:
        return ast.StudyAst(tuple(children[:-1]), children[-1])

    def import_(self, meta: Meta, children: list[Any]) -> ast.Import:
        return ast.Import(ast.Text(children[0][1:-1], self._span(children[0])), self._span(meta))

    def study(self, meta: Meta, children: list[Any]) -> ast.StudyBlock:
        names = [self._name(c) for c in children if isinstance(c, Token)]
        extends = names[1] if len(names) > 1 else None
        return ast.StudyBlock(names[0], extends, tuple(children[len(names) :]), self._span(meta))

    def let(self, meta: Meta, children: list[Any]) -> ast.Let:
        return ast.Let(self._name(children[0]), children[1], self._span(meta))

    def dataset(self, meta: Meta, children: list[Any]) -> ast.Dataset:
        return ast.Dataset(children[0], self._span(meta))

    def block(self, meta: Meta, children: list[Any]) -> ast.Block:
        names = [self._name(c) for c in children if isinstance(c, Token)]
        name = names[1] if len(names) > 1 else None
        body = children[len(names) :]
        extends = body.pop(0) if body and isinstance(body[0], ast.Name) else None
        return ast.Block(names[0], name, extends, tuple(body), self._span(meta))

    def inherits(self, meta: Meta, children: list[Any]) -> ast.Name:
        return self._name(children[0])

    def attribute(self, meta: Meta, children: list[Any]) -> ast.Setting:
        return ast.Setting((children[0],), "=", children[1], self._span(meta))

    def axis(self, meta: Meta, children: list[Any]) -> ast.Setting:
        return ast.Setting((children[0],), "in", children[-1], self._span(meta))

    def zip_axis(self, meta: Meta, children: list[Any]) -> ast.Setting:
        paths = tuple(c for c in children[:-1] if isinstance(c, ast.Path))
        return ast.Setting(paths, "in", children[-1], self._span(meta))

    def bound(self, meta: Meta, children: list[Any]) -> ast.Setting:
        return ast.Setting((children[0],), "<=", children[-1], self._span(meta))

    def where(self, meta: Meta, children: list[Any]) -> ast.Where:
        return ast.Where(children[0], self._span(meta))

    # Expressions.

    def every(self, meta: Meta, children: list[Any]) -> ast.Every:
        return ast.Every(children[0], children[1], self._span(meta))

    def conditional(self, meta: Meta, children: list[Any]) -> ast.IfElse:
        return ast.IfElse(children[0], children[1], children[2], self._span(meta))

    def gap(self, meta: Meta, children: list[Any]) -> ast.IfElse:
        return ast.IfElse(children[0], children[1], None, self._span(meta))

    def _binary(self, meta: Meta, children: list[Any]) -> ast.Binary:
        left, operator, right = children
        return ast.Binary(str(operator), left, right, self._span(meta))

    disjunction = conjunction = comparison = summed = product = power = _binary

    def _unary(self, meta: Meta, children: list[Any]) -> ast.Unary:
        return ast.Unary(str(children[0]), children[1], self._span(meta))

    negation = signed = _unary

    def interval(self, meta: Meta, children: list[Any]) -> ast.Interval:
        return ast.Interval(children[0], children[1], self._span(meta))

    def number(self, meta: Meta, children: list[Any]) -> ast.Number:
        unit = str(children[1]) if len(children) > 1 else ""
        return ast.Number(str(children[0]), unit, self._span(meta))

    def unit(self, meta: Meta, children: list[Any]) -> ast.Unit:
        return ast.Unit(str(children[0]), self._span(meta))

    def devices(self, meta: Meta, children: list[Any]) -> ast.DeviceCount:
        count = ast.Number(str(children[0]), "", self._span(children[0]))
        return ast.DeviceCount(count, self._name(children[1]), self._span(meta))

    def path(self, meta: Meta, children: list[Any]) -> ast.Path:
        return ast.Path(tuple(self._name(c) for c in children), self._span(meta))

    def call(self, meta: Meta, children: list[Any]) -> ast.CallExpression:
        return ast.CallExpression(self._name(children[0]), tuple(children[1:]), self._span(meta))

    def named(self, meta: Meta, children: list[Any]) -> ast.Argument:
        return ast.Argument(self._name(children[0]), children[1], self._span(meta))

    def positional(self, meta: Meta, children: list[Any]) -> ast.Argument:
        return ast.Argument(None, children[0], self._span(meta))

    def sequence(self, meta: Meta, children: list[Any]) -> ast.Sequence:
        return ast.Sequence(tuple(children), "[", self._span(meta))

    def zipped(self, meta: Meta, children: list[Any]) -> ast.Sequence:
        return ast.Sequence(tuple(children), "(", self._span(meta))

    def filtered(self, meta: Meta, children: list[Any]) -> ast.Filtered:
        grid = self._name(children[0])
        return ast.Filtered(grid, children[-1], self._span(meta))

    def text(self, meta: Meta, children: list[Any]) -> ast.Text:
        return ast.Text(children[0][1:-1], self._span(meta))

    def boolean(self, meta: Meta, children: list[Any]) -> ast.Boolean:
        return ast.Boolean(children[0] == "true", self._span(meta))
