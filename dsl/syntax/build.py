"""The parser's tree -> AST, one method per grammar rule; called by parse.py."""

from __future__ import annotations

from typing import Any

from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.lalr import Node, Token


class Builder:
    """Methods are called with the node of their rule, and its children built."""

    def __init__(self, file: str) -> None:
        self._file = file

    def build(self, node: Node) -> Any:
        children = [self.build(child) if type(child) is Node else child for child in node.children]
        return getattr(self, node.rule)(node, children)

    def _span(self, place: Node | Token) -> Span:
        return Span(self._file, place.line, place.column, place.end_line, place.end_column)

    def _name(self, token: Token) -> ast.Name:
        return ast.Name(str(token), self._span(token))

    # Files and statements.

    def start(self, node: Node, children: list[Any]) -> ast.StudyAst:
        return ast.StudyAst(tuple(children[:-1]), children[-1])

    def import_(self, node: Node, children: list[Any]) -> ast.Import:
        return ast.Import(ast.Text(children[0][1:-1], self._span(children[0])), self._span(node))

    def study(self, node: Node, children: list[Any]) -> ast.StudyBlock:
        names = [self._name(c) for c in children if isinstance(c, Token)]
        extends = names[1] if len(names) > 1 else None
        return ast.StudyBlock(names[0], extends, tuple(children[len(names) :]), self._span(node))

    def let(self, node: Node, children: list[Any]) -> ast.Let:
        return ast.Let(self._name(children[0]), children[1], self._span(node))

    def dataset(self, node: Node, children: list[Any]) -> ast.Dataset:
        return ast.Dataset(children[0], self._span(node))

    def block(self, node: Node, children: list[Any]) -> ast.Block:
        names = [self._name(c) for c in children if isinstance(c, Token)]
        name = names[1] if len(names) > 1 else None
        return ast.Block(names[0], name, tuple(children[len(names) :]), self._span(node))

    def attribute(self, node: Node, children: list[Any]) -> ast.Setting:
        return ast.Setting((children[0],), "=", children[1], self._span(node))

    def axis(self, node: Node, children: list[Any]) -> ast.Setting:
        return ast.Setting((children[0],), "in", children[-1], self._span(node))

    def zip_axis(self, node: Node, children: list[Any]) -> ast.Setting:
        paths = tuple(c for c in children[:-1] if isinstance(c, ast.Path))
        return ast.Setting(paths, "in", children[-1], self._span(node))

    def bound(self, node: Node, children: list[Any]) -> ast.Setting:
        return ast.Setting((children[0],), "<=", children[-1], self._span(node))

    def where(self, node: Node, children: list[Any]) -> ast.Where:
        return ast.Where(children[0], self._span(node))

    # Expressions.

    def every(self, node: Node, children: list[Any]) -> ast.Every:
        return ast.Every(children[0], children[1], self._span(node))

    def conditional(self, node: Node, children: list[Any]) -> ast.IfElse:
        return ast.IfElse(children[0], children[1], children[2], self._span(node))

    def gap(self, node: Node, children: list[Any]) -> ast.IfElse:
        return ast.IfElse(children[0], children[1], None, self._span(node))

    def _binary(self, node: Node, children: list[Any]) -> ast.Binary:
        left, operator, right = children
        return ast.Binary(str(operator), left, right, self._span(node))

    disjunction = conjunction = comparison = summed = product = power = _binary

    def _unary(self, node: Node, children: list[Any]) -> ast.Unary:
        return ast.Unary(str(children[0]), children[1], self._span(node))

    negation = signed = _unary

    def interval(self, node: Node, children: list[Any]) -> ast.Interval:
        return ast.Interval(children[0], children[1], self._span(node))

    def number(self, node: Node, children: list[Any]) -> ast.Number:
        unit = str(children[1]) if len(children) > 1 else ""
        return ast.Number(str(children[0]), unit, self._span(node))

    def unit(self, node: Node, children: list[Any]) -> ast.Unit:
        return ast.Unit(str(children[0]), self._span(node))

    def devices(self, node: Node, children: list[Any]) -> ast.DeviceCount:
        count = ast.Number(str(children[0]), "", self._span(children[0]))
        return ast.DeviceCount(count, self._name(children[1]), self._span(node))

    def path(self, node: Node, children: list[Any]) -> ast.Path:
        return ast.Path(tuple(self._name(c) for c in children), self._span(node))

    def call(self, node: Node, children: list[Any]) -> ast.CallExpression:
        return ast.CallExpression(self._name(children[0]), tuple(children[1:]), self._span(node))

    def named(self, node: Node, children: list[Any]) -> ast.Argument:
        return ast.Argument(self._name(children[0]), children[1], self._span(node))

    def positional(self, node: Node, children: list[Any]) -> ast.Argument:
        return ast.Argument(None, children[0], self._span(node))

    def sequence(self, node: Node, children: list[Any]) -> ast.Sequence:
        return ast.Sequence(tuple(children), "[", self._span(node))

    def zipped(self, node: Node, children: list[Any]) -> ast.Sequence:
        return ast.Sequence(tuple(children), "(", self._span(node))

    def filtered(self, node: Node, children: list[Any]) -> ast.Filtered:
        grid = self._name(children[0])
        return ast.Filtered(grid, children[-1], self._span(node))

    def text(self, node: Node, children: list[Any]) -> ast.Text:
        return ast.Text(children[0][1:-1], self._span(node))

    def boolean(self, node: Node, children: list[Any]) -> ast.Boolean:
        return ast.Boolean(children[0] == "true", self._span(node))
