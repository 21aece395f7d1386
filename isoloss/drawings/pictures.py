"""The pictures of README: what commands print and draw, as SVG. Not a command of users.

`python -m isoloss.drawings.pictures` writes them (`make docs`); a test holds them to what the commands say now."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: picture below docs/ -> the command line that it shows, run in the repository's root with no store.
SCREENS = {"plan_screen.svg": ["plan", "examples/robustness_limits.study", "--store", "none"]}
DRAWINGS = {"plan.svg": ["graph", "examples/quickstart.study", "--store", "none"]}

#: Width of the terminal.
COLUMNS = 104
_SIZE, _ADVANCE, _LEADING, _MARGIN = 13, 7.83, 18, 18
#: ANSI codes -> attributes of a span: what paint.py and the diagnostics use.
_STYLES = {
    "1": 'font-weight="700"',
    "2": 'fill="#8b949e"',
    "31": 'fill="#ff7b72"',
    "33": 'fill="#e3b341"',
    "36": 'fill="#79c0ff"',
}
_CODE = re.compile(r"\033\[([0-9;]*)m")


def terminal_svg(command: str, text: str) -> str:
    """A terminal window that shows a command and what it printed, ANSI colours included."""
    printed = (part for line in text.rstrip("\n").split("\n") for part in _folded(line))
    lines = [f"\033[36m$\033[0m \033[1m{command}\033[0m", "", *printed]
    columns = max(len(_CODE.sub("", line)) for line in lines)
    width = round(2 * _MARGIN + columns * _ADVANCE)
    height = 2 * _MARGIN + len(lines) * _LEADING
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(command)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{_SIZE}" fill="#e6edf3">',
    ]
    for number, line in enumerate(lines):
        drawn.extend(_spans(line, _MARGIN + (number + 1) * _LEADING - 5))
    return "\n".join([*drawn, "</g>", "</svg>", ""])


def _spans(line: str, y: int) -> Iterator[str]:
    """A text element per word group of one style: groups stand two blanks or more apart, so that no reader
    folds their blanks. Each is told its place and length, so that columns stand in any font."""
    style, column = "", 0
    for index, part in enumerate(_CODE.split(line)):
        if index % 2:
            style = " ".join(_STYLES[code] for code in part.split(";") if code in _STYLES)
            continue
        for group in re.finditer(r"\S+(?: \S+)*", part):
            x, shown = _MARGIN + (column + group.start()) * _ADVANCE, group.group()
            length = f'textLength="{len(shown) * _ADVANCE:.2f}" lengthAdjust="spacingAndGlyphs"'
            yield f'<text x="{x:.2f}" y="{y}" {length} {style}>{escape(shown)}</text>'.replace(" >", ">")
        column += len(part)


def _folded(line: str) -> Iterator[str]:
    """The line as a terminal of COLUMNS shows it, cut at blanks, the style carried over."""
    style = ""
    while len(plain := _CODE.sub("", line)) > COLUMNS:
        cut = plain.rfind(" ", 0, COLUMNS)
        place = _place(line, cut if cut > 0 else COLUMNS)
        yield style + line[:place] + "\033[0m"
        style = "".join(f"\033[{code}m" for code in _CODE.findall(style + line[:place])[-1:])
        line = "    " + line[place:].lstrip()
    yield style + line


def _place(line: str, column: int) -> int:
    """Where in the line, codes included, the character of a column stands."""
    shown = 0
    for part in re.split(r"(\033\[[0-9;]*m)", line):
        if not part.startswith("\033") and shown + len(part) > column:
            return line.index(part, 0) + column - shown
        shown += 0 if part.startswith("\033") else len(part)
    return len(line)


def screen_of(arguments: list[str]) -> str:
    """What a command prints on a terminal, errors after the rest. Raises AssertionError where it fails."""
    from isoloss.cli import main
    from isoloss.screens import paint

    out, err = _Terminal(), _Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _without_no_color():
        assert paint.Paint.for_output().on
        status = main(arguments)
    assert status == 0, err.getvalue()
    return f"{out.getvalue()}\n{err.getvalue()}".rstrip() + "\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def _without_no_color() -> Iterator[None]:
    kept = os.environ.pop("NO_COLOR", None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ["NO_COLOR"] = kept


def pictures() -> dict[str, str]:
    """Every picture, by its name below docs/. Run in the repository's root."""
    drawn = {}
    for name, arguments in SCREENS.items():
        shown = " ".join(a for a in arguments if a not in ("--store", "none"))
        drawn[name] = terminal_svg(f"isoloss {shown}", screen_of(arguments))
    for name, arguments in DRAWINGS.items():
        out = io.StringIO()
        from isoloss.cli import main

        with contextlib.redirect_stdout(out):
            assert main(arguments) == 0
        drawn[name] = out.getvalue()
    return drawn


def write() -> None:
    os.chdir(ROOT)
    for name, text in pictures().items():
        (ROOT / "docs" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
