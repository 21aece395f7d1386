"""Text -> StudyAst + diagnostics. Only syntax is decided here.

A syntax error is reported once per top-level block: the block is blanked and the rest is read again, so that
one mistake makes no noise further down and a second one is still found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lark import Tree, UnexpectedInput

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.build import Builder
from isoloss.dsl.syntax.grammar import parser, tokens
from isoloss.dsl.syntax.syntax_errors import report_syntax_error

#: Deeper expressions are refused: nobody writes them, and the checks walk them recursively.
MAX_DEPTH = 60
#: The same for the parser's tree, which has up to two levels for one of ours.
MAX_TREE_DEPTH = 150
#: Syntax errors shown for one file; each is found by reading the file again, so that a huge one is told two.
MAX_ERRORS, HUGE = 20, 100_000
#: The largest study that is read, in bytes.
MAX_BYTES = 2_000_000


def parse_study(text: str, file: str, report: Report) -> ast.StudyAst | None:
    """Read one file. Returns None and reports S codes where it is not a study."""
    report.add_source(file, text)
    remaining, failed = text, False
    for _ in range(MAX_ERRORS if len(text) < HUGE else 2):
        try:
            tree = parser().parse(remaining, start="start")
        except UnexpectedInput as error:
            failed = True
            mistake = report_syntax_error(error, remaining, file, report)
            blanked = _with_study_named(remaining, error) or _without_block_at(remaining, mistake)
            if blanked is None:
                return None
            remaining = blanked
            continue
        if _report_deep_tree(tree, file, report):
            return None
        study: ast.StudyAst = Builder(file).build(tree)
        too_deep = _report_depth(study, report)
        return None if failed or too_deep else study
    return None


def parse_value(text: str, file: str, report: Report) -> ast.Expression | None:
    """Read the value of a `--set` or a default of the vocabulary."""
    report.add_source(file, text)
    try:
        tree = parser().parse(text, start="_value").children[0]
    except UnexpectedInput as error:
        report_syntax_error(error, text, file, report)
        return None
    if _report_deep_tree(tree, file, report):
        return None
    node: ast.Expression = Builder(file).build(tree)
    if _depth(node) > MAX_DEPTH:
        report.add("S105", "an expression is nested too deeply", node.span, f"deeper than {MAX_DEPTH} levels")
        return None
    return node


def _with_study_named(text: str, error: UnexpectedInput) -> str | None:
    """The text with a name that may stand for the study's, where a reserved word stands for it: everything
    after it can still be read."""
    last: list[str] = []
    for token in tokens(text):
        if token.start_pos == error.pos_in_stream:
            reserved = last == ["STUDY"] and token.isidentifier()
            return text[: token.start_pos] + "_" * len(token) + text[token.end_pos :] if reserved else None
        last = [token.type]
    return None


def _without_block_at(text: str, position: int) -> str | None:
    """The text with the study's own statement around `position` blanked, or None where that is not clear.

    A statement begins with a line, between the braces of the study."""
    depth, start = 0, None
    for token in tokens(text):
        place = token.start_pos
        if depth == 1 and not text[text.rfind("\n", 0, place) + 1 : place].strip():
            if place > position:
                return None if start is None else _blank(text, start, place)
            start = place
        depth += (token.type == "LBRACE") - (token.type == "RBRACE")
    return None


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + "".join(c if c == "\n" else " " for c in text[start:end]) + text[end:]


def _report_deep_tree(root: Tree[Any], file: str, report: Report) -> bool:
    """Guards the builder, which recurses: blocks in blocks, and parentheses that leave no node."""
    pending = [(root, 1)]
    while pending:
        node, level = pending.pop()
        if level > MAX_TREE_DEPTH:
            span = Span(file, node.meta.line, node.meta.column, node.meta.line, node.meta.column + 1)
            report.add("S105", "this is nested too deeply", span, f"deeper than {MAX_DEPTH} levels")
            return True
        pending.extend((child, level + 1) for child in node.children if isinstance(child, Tree))
    return False


def _report_depth(study: ast.StudyAst, report: Report) -> bool:
    found = False
    for node in _expressions(study.study.body):
        if _depth(node) > MAX_DEPTH:
            span = Span(
                node.span.file, node.span.line, node.span.column, node.span.line, node.span.column + 1
            )
            report.add("S105", "an expression is nested too deeply", span, f"deeper than {MAX_DEPTH} levels")
            found = True
    return found


def _expressions(body: tuple[ast.Statement, ...]) -> Iterator[ast.Expression]:
    pending: list[Any] = list(body)
    while pending:
        statement = pending.pop()
        if isinstance(statement, ast.Block):
            pending.extend(statement.body)
        else:
            yield statement.test if isinstance(statement, ast.Where) else statement.value


def _depth(root: ast.Expression) -> int:
    """Levels of nesting, found without recursion: it guards the code that recurses."""
    deepest, pending = 0, [(root, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        pending.extend((child, level + 1) for child in ast.children(node))
    return deepest
