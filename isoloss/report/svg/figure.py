"""A figure: axes, marks in data coordinates -> one `<svg>` string.

Add marks in any order; ranges, ticks and label places are settled in `render`. Drawn for a 480-pixel column
so that its 12-pixel text stays readable on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from isoloss.report.svg.axes import Axis, Span, Tick, span_of, ticks
from isoloss.report.svg.labels import text_width
from isoloss.report.svg.marks import marker, xy
from isoloss.report.svg.shapes import (
    Band,
    Box,
    Line,
    Mark,
    Numbers,
    Picture,
    Points,
    Rule,
    Text,
    draw,
    end_labels,
)

#: What lies under what.
_LAYERS: tuple[type, ...] = (Picture, Band, Rule, Line, Points, Text)


@dataclass(slots=True)
class Figure:
    """`title` and `description` are what a screen reader says; the visible caption is the page's."""

    title: str
    x: Axis
    y: Axis
    description: str = ""
    width: int = 480
    height: int = 340
    heading: str = ""  # visible, inside the figure: what tells one panel from another
    legend: list[tuple[str, str, str]] = field(default_factory=list)  # (colour, shape or "line", text)
    _marks: list[Mark] = field(default_factory=list)

    def line(self, xs: Numbers, ys: Numbers, colour: str, *, style: str = "", label: str = "") -> None:
        """A curve; `style` is any of "dash", "dot", "thin"; `label` is written at its right end."""
        self._marks.append(Line(xs, ys, colour, style, label))

    def band(self, xs: Numbers, lows: Numbers, highs: Numbers, colour: str) -> None:
        """The area between two curves over the same xs; left out where an end is NaN."""
        self._marks.append(Band(xs, lows, highs, colour))

    def points(
        self,
        xs: Numbers,
        ys: Numbers,
        colour: str,
        *,
        shape: str = "circle",
        tips: Sequence[str] = (),
        lows: Sequence[float | None] = (),
        highs: Sequence[float | None] = (),
        hollow: bool = False,
        radius: float = 4.0,
    ) -> None:
        """Markers, each with what hovering tells and, where `lows`/`highs` are known, a vertical interval."""
        self._marks.append(Points(xs, ys, colour, shape, tips, lows, highs, hollow, radius))

    def picture(self, uri: str, x0: float, x1: float, y0: float, y1: float) -> None:
        """An image as a data URI stretched over a box whose axes' scales it was made for."""
        self._marks.append(Picture(uri, (x0, x1, y0, y1)))

    def rule(self, value: float, label: str = "", *, vertical: bool = True) -> None:
        """A thin straight line across the plot at x (or y) = value."""
        self._marks.append(Rule(value, vertical, label))

    def text(self, x: float, y: float, content: str, colour: str) -> None:
        """A word on the plot, centred at (x, y), with a halo that keeps it readable over lines."""
        self._marks.append(Text(x, y, content, colour))

    @property
    def empty(self) -> bool:
        return not self._marks

    def render(self) -> str:
        """The SVG, without ids: any number of figures share a page."""
        spans = self._spans()
        ends = [m for m in self._marks if isinstance(m, Line) and m.label]
        right = 14.0 + max((text_width(m.label, 11.5) + 6 for m in ends), default=0.0)
        y_ticks, y_minor = ticks(spans[1], self.y, 7)
        left = 12.0 + (18 if self.y.label else 0) + max((text_width(t, 11) for _, t in y_ticks), default=20.0)
        legend, legend_height = self._legend(left)
        top = 10.0 + (18 if self.heading else 0) + legend_height
        box = Box(left, top, self.width - left - right, self.height - top - 42, *spans)
        x_ticks, x_minor = ticks(spans[0], self.x, max(3, int(box.width / 62)))
        parts = [self._open(), legend, self._words(box)]
        parts += _grid(box, x_ticks, x_minor, y_ticks, y_minor)
        # A nested svg clips to the plot area without ids.
        place = f"{xy(box.left)} {xy(box.top)} {xy(box.width)} {xy(box.height)}"
        parts.append(
            f'<svg x="{xy(box.left)}" y="{xy(box.top)}" width="{xy(box.width)}" height="{xy(box.height)}" '
            f'viewBox="{place}">'
        )
        parts += [draw(mark, box) for layer in _LAYERS for mark in self._marks if type(mark) is layer]
        parts.append("</svg>")
        parts += end_labels(ends, box)
        parts.append("</svg>")
        return "".join(parts)

    def _open(self) -> str:
        name = escape(self.title, quote=True)
        more = f"<desc>{escape(self.description)}</desc>" if self.description else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="{name}" '
            f'viewBox="0 0 {self.width} {self.height}">{more}'
        )

    def _words(self, box: Box) -> str:
        head = (
            f'<text class="head" x="{xy(box.left)}" y="15">{escape(self.heading)}</text>'
            if self.heading
            else ""
        )
        below = f'x="{xy(box.left + box.width / 2)}" y="{self.height - 6}"'
        beside = f'transform="translate(12 {xy(box.top + box.height / 2)}) rotate(-90)"'
        return (
            f'{head}<text class="axis" {below}>{escape(self.x.label)}</text>'
            f'<text class="axis" {beside}>{escape(self.y.label)}</text>'
        )

    def _spans(self) -> tuple[Span, Span]:
        extents = [mark.extent() for mark in self._marks]
        return (
            span_of(self.x, [v for xs, _ in extents for v in xs]),
            span_of(self.y, [v for _, ys in extents for v in ys]),
        )

    def _legend(self, left: float) -> tuple[str, float]:
        """Entries in rows above the plot, and the height they take."""
        if not self.legend:
            return "", 0.0
        x, row, parts = left, 0, []
        y0 = 10.0 + (18 if self.heading else 0)
        for colour, shape, text in self.legend:
            width = 24 + text_width(text, 11.5)
            if x > left and x + width > self.width - 8:
                x, row = left, row + 1
            y = y0 + 17 * row
            if shape in ("line", "dash", "dot"):
                style = f" {shape}" if shape != "line" else ""
                parts.append(f'<path class="ln {colour}{style}" d="M{xy(x)} {xy(y)}h15"/>')
            else:
                parts.append(f'<path class="pt {colour}" d="{marker(shape, x + 7, y, 4)}"/>')
            parts.append(f'<text class="lg" x="{xy(x + 19)}" y="{xy(y + 4)}">{escape(text)}</text>')
            x += width + 8
        return "".join(parts), 17.0 * (row + 1) + 2


def _grid(
    box: Box, x_ticks: list[Tick], x_minor: list[float], y_ticks: list[Tick], y_minor: list[float]
) -> list[str]:
    bottom, right = box.top + box.height, box.left + box.width
    across = "".join(f"M{xy(box.left)} {xy(box.at(box.x.low, v)[1])}H{xy(right)}" for v, _ in y_ticks)
    up = "".join(f"M{xy(box.at(v, box.y.low)[0])} {xy(box.top)}V{xy(bottom)}" for v, _ in x_ticks)
    small = "".join(f"M{xy(box.at(v, box.y.low)[0])} {xy(bottom)}v3" for v in x_minor)
    small += "".join(f"M{xy(box.left)} {xy(box.at(box.x.low, v)[1])}h-3" for v in y_minor)
    parts = [f'<path class="grid" d="{across}{up}"/>', f'<path class="tick" d="{small}"/>']
    parts.append(f'<path class="frame" d="M{xy(box.left)} {xy(box.top)}V{xy(bottom)}H{xy(right)}"/>')
    parts += [
        f'<text class="tx" x="{xy(box.at(v, box.y.low)[0])}" y="{xy(bottom + 15)}">{escape(t)}</text>'
        for v, t in x_ticks
    ]
    parts += [
        f'<text class="ty" x="{xy(box.left - 6)}" y="{xy(box.at(box.x.low, v)[1] + 4)}">{escape(t)}</text>'
        for v, t in y_ticks
    ]
    return parts
