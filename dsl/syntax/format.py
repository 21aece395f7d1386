"""StudyAst + its comments -> canonical text. Idempotent; what the study says never changes.

Two blanks of indentation, one statement a line, `=` aligned among neighbours, at most one empty line kept
between statements. Blocks that were written on one line stay so where they fit, and rows of them line up."""

from __future__ import annotations

from dataclasses import dataclass, field

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.comments import Comment, Comments
from isoloss.dsl.syntax.format_expression import argument_text, text_of
from isoloss.dsl.syntax.parse import parse_study

#: Longest line that lists and one-line blocks may make.
WIDTH = 120
#: Between the settings of a block on one line.
_BETWEEN = " " * 3


@dataclass
class Line:
    """One statement on its way to text. `key` is what neighbours are aligned by, `cells` the settings of a
    block on one line."""

    indent: int
    text: str
    comment: str = ""
    gap: bool = False  # an empty line before it
    key: str = ""
    rest: str = ""
    group: str = ""  # lines next to each other with equal groups are aligned
    cells: list[tuple[str, str]] = field(default_factory=list)


def format_text(text: str, file: str, report: Report) -> str | None:
    """The canonical form of a study text; None, with S diagnostics, where it is none."""
    clean = text.replace("\r\n", "\n").replace("\r", "\n")
    parsed = parse_study(clean, file, report)
    return None if parsed is None else format_study(parsed, clean)


def format_study(study: ast.StudyAst, text: str = "") -> str:
    """A study as text; `text` is where it was read from, for its comments and empty lines."""
    return _Formatter(Comments(text)).study(study)


class _Formatter:
    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self._lines: list[Line] = []
        self._last = 0  # line of the original text up to which everything is written

    def study(self, study: ast.StudyAst) -> str:
        for item in study.imports:
            self._leading(item.span, 0)
            self._add(Line(0, f'import "{item.path.text}"'), item.span)
        block = study.study
        self._leading(block.span, 0)
        self._block(
            f"study {block.name.text}{_extends(block)}", block.body, block.span, _header_end(block), 0
        )
        for comment in self._comments.rest():
            self._comment(comment, 0)
        return _render(self._lines)

    # Comments and empty lines.

    def _comment(self, comment: Comment, indent: int) -> None:
        gap = bool(self._lines) and comment.line > self._last + 1
        self._lines.append(Line(indent, comment.text, gap=gap))
        self._last = comment.line

    def _leading(self, span: Span, indent: int) -> None:
        for comment in self._comments.before(span.line, span.column):
            self._comment(comment, indent)

    def _add(self, line: Line, span: Span, trailing: bool = True) -> None:
        line.gap = bool(self._lines) and span.line > self._last + 1
        self._last = span.end_line
        if trailing and (comment := self._comments.on(span.end_line)):
            line.comment = comment.text
        self._lines.append(line)

    # Statements.

    def _block(
        self, header: str, body: tuple[ast.Statement, ...], span: Span, opened: int, indent: int
    ) -> None:
        first = Span(span.file, span.line, span.column, opened, span.column)
        self._add(Line(indent, f"{header} {{"), first, trailing=not body or body[0].span.line > opened)
        for position, statement in enumerate(body):
            following = body[position + 1].span.line if position + 1 < len(body) else span.end_line
            self._statement(statement, indent + 2, alone=following > statement.span.end_line)
        for comment in self._comments.before(span.end_line, span.end_column):
            self._comment(comment, indent + 2)
        closing = Span(span.file, span.end_line, span.end_column, span.end_line, span.end_column)
        self._add(Line(indent, "}"), closing)

    def _statement(self, statement: ast.Statement, indent: int, alone: bool) -> None:
        """`alone`: nothing follows on its last line, so a comment there is its own."""
        span = statement.span
        self._leading(span, indent)
        if isinstance(statement, ast.Block):
            cells = _cells(statement, indent)
            if cells is None:
                name = f" {statement.name.text}" if statement.name else ""
                header = f"{statement.kind.text}{name}{_extends(statement)}"
                self._block(header, statement.body, span, _header_end(statement), indent)
                return
            name = f"{statement.name.text if statement.name else ''}{_extends(statement)}".strip()
            line = Line(indent, "", key=name, group=f"block {statement.kind.text}", cells=cells)
            self._add(line, span, alone)
            return
        for comment in self._comments.within(span):
            self._comment(comment, indent)
        self._add(_simple(statement, indent), span, alone)


def _header_end(block: ast.Block | ast.StudyBlock) -> int:
    """The line that a block's `{` is taken to stand on: that of its last word."""
    kind = block.name if isinstance(block, ast.StudyBlock) else block.kind
    word = block.extends or block.name or kind
    return word.span.end_line


def _extends(block: ast.Block | ast.StudyBlock) -> str:
    return f" extends {block.extends.text}" if block.extends else ""


def _simple(statement: ast.Statement, indent: int) -> Line:
    match statement:
        case ast.Let(name=name, value=value):
            return Line(indent, "", key=f"let {name.text}", rest=f"= {text_of(value)}", group="let")
        case ast.Dataset(value=value):
            return Line(indent, f"dataset {text_of(value)}")
        case ast.Where(test=test):
            return Line(indent, f"where {text_of(test)}", group="setting")
        case ast.Setting():
            key = _setting_key(statement)
            written = text_of(statement.value)
            if indent + len(key) + len(written) + 5 > WIDTH:
                written = _broken(statement.value, indent) or written
            return Line(indent, "", key=key, rest=f"{statement.operator} {written}", group="setting")
        case _:
            raise AssertionError("blocks are laid out by their own function")


def _setting_key(setting: ast.Setting) -> str:
    words = ", ".join(path.text for path in setting.paths)
    return f"zip ({words})" if len(setting.paths) > 1 else words


def _broken(node: ast.Expression, indent: int) -> str | None:
    """A list or call over several lines, an item each; None for what isn't one."""
    if isinstance(node, ast.Sequence) and node.bracket == "[" and node.items:
        opening, items, closing = "[", [text_of(item) for item in node.items], "]"
    elif isinstance(node, ast.CallExpression) and node.arguments:
        opening, items, closing = f"{node.name.text}(", [argument_text(a) for a in node.arguments], ")"
    else:
        return None
    pad = " " * (indent + 2)
    return "\n".join([opening, *(f"{pad}{item}," for item in items), " " * indent + closing])


def _cells(block: ast.Block, indent: int) -> list[tuple[str, str]] | None:
    """The settings of a block that goes on one line, as (key, text); None where it gets lines of its own."""
    if block.span.line != block.span.end_line:
        return None
    cells: list[tuple[str, str]] = []
    for statement in block.body:
        if isinstance(statement, ast.Where):
            cells.append(("where", f"where {text_of(statement.test)}"))
        elif isinstance(statement, ast.Setting):
            key = _setting_key(statement)
            cells.append((key, f"{key} {statement.operator} {text_of(statement.value)}"))
        else:
            return None
    name = (len(block.name.text) + 1 if block.name else 0) + len(_extends(block))
    length = indent + len(block.kind.text) + name + 4 + sum(len(text) + len(_BETWEEN) for _, text in cells)
    return cells if length <= WIDTH else None


# Lines -> text.


def _render(lines: list[Line]) -> str:
    for group in _groups(lines):
        if group[0].group.startswith("block "):
            _align_blocks(group)
        elif group[0].group:
            _align_keys(group)
    for run in _runs_of_comments(lines):
        width = max(line.indent + len(line.text) for line in run)
        for line in run:
            line.text = f"{line.text:<{width - line.indent}}  {line.comment}"
    written = []
    for line in lines:
        if line.gap:
            written.append("")
        written.append(f"{' ' * line.indent}{line.text}".rstrip())
    return "\n".join(written) + "\n"


def _groups(lines: list[Line]) -> list[list[Line]]:
    groups: list[list[Line]] = []
    for before, line in zip([None, *lines], lines, strict=False):
        joins = before is not None and not line.gap and before.indent == line.indent
        if joins and before is not None and before.group == line.group:
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _align_keys(group: list[Line]) -> None:
    width = max((len(line.key) for line in group if line.key), default=0)
    for line in group:
        if line.key:
            line.text = f"{line.key:<{width}} {line.rest}"


def _align_blocks(group: list[Line]) -> None:
    kind = group[0].group.removeprefix("block ")
    names = max(len(line.key) for line in group)
    columns = _columns(group)
    for line in group:
        head = f"{kind} {line.key:<{names}}" if names else kind
        texts = [text for _, text in line.cells]
        if columns:
            texts = [f"{text:<{width}}" for text, width in zip(texts, columns, strict=True)]
        inner = _BETWEEN.join(texts)
        line.text = f"{head} {{ {inner} }}" if inner else f"{head} {{ }}"


def _columns(group: list[Line]) -> list[int]:
    """Widths of the columns of a table of blocks, or none where its rows differ or would get too long."""
    keys = [key for key, _ in group[0].cells]
    if len(group) < 2 or any([key for key, _ in line.cells] != keys for line in group):
        return []
    widths = [max(len(line.cells[i][1]) for line in group) for i in range(len(keys))]
    head = group[0].indent + len(group[0].group) - len("block ") + max(len(line.key) for line in group) + 5
    return widths if head + sum(widths) + len(_BETWEEN) * len(widths) <= WIDTH else []


def _runs_of_comments(lines: list[Line]) -> list[list[Line]]:
    """Lines with a comment at their end, grouped while they are neighbours at one indentation with at most
    one line between."""
    runs: list[list[Line]] = [[]]
    previous: Line | None = None
    bare = 0
    for line in lines:
        near = previous is not None and not line.gap and previous.indent == line.indent
        bare = 0 if line.comment or not near else bare + 1
        if not near or bare > 1:
            runs.append([])
        if line.comment:
            runs[-1].append(line)
        previous = line
    return [run for run in runs if run]
