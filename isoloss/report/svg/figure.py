"""A figure: axes, marks in data coordinates -> one `<svg>` string.

Add marks in any order; ranges, ticks and label places are settled in `render`. Drawn for a 480-pixel column
so that its 12-pixel text stays readable on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import count as counter

from isoloss.report.svg.axes import Axis, Span, span_of, ticks
from isoloss.report.svg.labels import Label, spread, text_width
from isoloss.report.svg.marks import marker, path, xy

Numbers = Sequence[float]


@dataclass(frozen=True, slots=True)
class _Line:
    xs: Numbers
    ys: Numbers
    colour: str
    style: str
    label: str


@dataclass(frozen=True, slots=True)
class _Band:
    xs: Numbers
    lows: Numbers
    highs: Numbers
    colour: str


@dataclass(frozen=True, slots=True)
class _Points:
    xs: Numbers
    ys: Numbers
    colour: str
    shape: str
    tips: Sequence[str]
    lows: Sequence[float | None]
    highs: Sequence[float | None]
    hollow: bool
    radius: float


@dataclass(frozen=True, slots=True)
class _Picture:
    uri: str
    box: tuple[float, float, float, float]  # x0, x1, y0, y1 in data coordinates


@dataclass(frozen=True, slots=True)
class _Rule:
    value: float
    vertical: bool
    label: str


Mark = _Line | _Band | _Points | _Picture | _Rule


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
        """A curve; `style` is "", "dash", "dot" or "thin"; `label` is written at its right end."""
        self._marks.append(_Line(xs, ys, colour, style, label))

    def band(self, xs: Numbers, lows: Numbers, highs: Numbers, colour: str) -> None:
        """The area between two curves over the same xs."""
        self._marks.append(_Band(xs, lows, highs, colour))

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
        self._marks.append(_Points(xs, ys, colour, shape, tips, lows, highs, hollow, radius))

    def picture(self, uri: str, x0: float, x1: float, y0: float, y1: float) -> None:
        """An image as a data URI stretched over a box whose axes' scales it was made for."""
        self._marks.append(_Picture(uri, (x0, x1, y0, y1)))

    def rule(self, value: float, label: str = "", *, vertical: bool = True) -> None:
        """A thin straight line across the plot at x (or y) = value."""
        self._marks.append(_Rule(value, vertical, label))

    @property
    def empty(self) -> bool:
        return not self._marks

    def render(self) -> str:
        """The SVG. Its ids come from its title, so equal figures are equal bytes."""
        spans = self._spans()
        ends = [m for m in self._marks if isinstance(m, _Line) and m.label]
        right = 14.0 + max((text_width(m.label, 11.5) + 6 for m in ends), default=0.0)
        y_ticks, y_minor = ticks(spans[1], self.y.write, 7)
        left = 30.0 + max((text_width(t, 11) for _, t in y_ticks), default=20.0)
        legend, legend_height = self._legend(left)
        top = 10.0 + (18 if self.heading else 0) + legend_height
        box = _Box(left, top, self.width - left - right, self.height - top - 42, *spans)
        x_ticks, x_minor = ticks(spans[0], self.x.write, max(3, int(box.width / 62)))
        parts = [self._open(), legend]
        if self.heading:
            parts.append(f'<text class="head" x="{xy(left)}" y="15">{escape(self.heading)}</text>')
        parts += _grid(box, x_ticks, x_minor, y_ticks, y_minor)
        below = f'x="{xy(left + box.width / 2)}" y="{self.height - 6}"'
        beside = f'transform="translate(12 {xy(top + box.height / 2)}) rotate(-90)"'
        parts += [
            f'<text class="axis" {below}>{escape(self.x.label)}</text>',
            f'<text class="axis" {beside}>{escape(self.y.label)}</text>',
        ]
        # A nested svg clips to the plot area without ids.
        parts.append(
            f'<svg x="{xy(box.left)}" y="{xy(box.top)}" width="{xy(box.width)}" height="{xy(box.height)}" '
            f'viewBox="{xy(box.left)} {xy(box.top)} {xy(box.width)} {xy(box.height)}">'
        )
        order = {_Picture: 0, _Band: 1, _Rule: 2, _Line: 3, _Points: 4}
        parts += [_draw(mark, box) for mark in sorted(self._marks, key=lambda m: order[type(m)])]
        parts.append("</svg>")
        parts += _end_labels(ends, box)
        parts.append("</svg>")
        return "".join(parts)

    def _open(self) -> str:
        name = escape(self.title, quote=True)
        more = f"<desc>{escape(self.description)}</desc>" if self.description else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="{name}" '
            f'viewBox="0 0 {self.width} {self.height}">{more}'
        )

    def _spans(self) -> tuple[Span, Span]:
        xs: list[float] = []
        ys: list[float] = []
        for mark in self._marks:
            if isinstance(mark, _Picture):
                xs += mark.box[:2]
                ys += mark.box[2:]
            elif isinstance(mark, _Rule):
                (xs if mark.vertical else ys).append(mark.value)
            else:
                xs += mark.xs
                if isinstance(mark, _Band):
                    ys += [*mark.lows, *mark.highs]
                else:
                    ys += mark.ys
                if isinstance(mark, _Points):
                    ys += [v for v in (*mark.lows, *mark.highs) if v is not None]
        return span_of(self.x, xs), span_of(self.y, ys)

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
            elif shape == "band":
                parts.append(f'<path class="bd {colour}" d="M{xy(x)} {xy(y - 5)}h15v10h-15Z"/>')
            else:
                parts.append(f'<path class="pt {colour}" d="{marker(shape, x + 7, y, 4)}"/>')
            parts.append(f'<text class="lg" x="{xy(x + 19)}" y="{xy(y + 4)}">{escape(text)}</text>')
            x += width + 8
        return "".join(parts), 17.0 * (row + 1) + 2


@dataclass(frozen=True, slots=True)
class _Box:
    """The plot area in pixels and what it spans."""

    left: float
    top: float
    width: float
    height: float
    x: Span
    y: Span

    def at(self, x: float, y: float) -> tuple[float, float]:
        # Far outside points are pulled in to where they are still clipped: browsers choke on 1e9 pixels.
        u, v = self.x.at(x), self.y.at(y)
        u = u if math.isnan(u) else min(max(u, -8.0), 9.0)
        v = v if math.isnan(v) else min(max(v, -8.0), 9.0)
        return self.left + u * self.width, self.top + (1 - v) * self.height


def _grid(
    box: _Box,
    x_ticks: list[tuple[float, str]],
    x_minor: list[float],
    y_ticks: list[tuple[float, str]],
    y_minor: list[float],
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


def _draw(mark: Mark, box: _Box) -> str:
    if isinstance(mark, _Line):
        data = path([box.at(x, y) for x, y in zip(mark.xs, mark.ys, strict=True)])
        return f'<path class="ln {mark.colour} {mark.style}" d="{data}"/>' if data else ""
    if isinstance(mark, _Band):
        return _draw_band(mark, box)
    if isinstance(mark, _Picture):
        (x0, y1), (x1, y0) = box.at(mark.box[0], mark.box[2]), box.at(mark.box[1], mark.box[3])
        return (
            f'<image href="{mark.uri}" x="{xy(x0)}" y="{xy(y0)}" width="{xy(x1 - x0)}" '
            f'height="{xy(y1 - y0)}" preserveAspectRatio="none"/>'
        )
    if isinstance(mark, _Rule):
        return _draw_rule(mark, box)
    return _draw_points(mark, box)


def _draw_band(mark: _Band, box: _Box) -> str:
    sides = list(zip(mark.xs, mark.lows, mark.highs, strict=True))
    known = [(x, low, high) for x, low, high in sides if not (math.isnan(low) or math.isnan(high))]
    outline = [box.at(x, high) for x, _, high in known] + [box.at(x, low) for x, low, _ in reversed(known)]
    data = path(outline, close=True)
    return f'<path class="bd {mark.colour}" d="{data}"/>' if data else ""


def _draw_rule(mark: _Rule, box: _Box) -> str:
    if mark.vertical:
        x = box.at(mark.value, box.y.low)[0]
        label_x, label_y = x + 4, box.top + 11
        data = f"M{xy(x)} {xy(box.top)}v{xy(box.height)}"
    else:
        y = box.at(box.x.low, mark.value)[1]
        label_x, label_y = box.left + 5, y - 4
        data = f"M{xy(box.left)} {xy(y)}h{xy(box.width)}"
    text = (
        f'<text class="rl" x="{xy(label_x)}" y="{xy(label_y)}">{escape(mark.label)}</text>'
        if mark.label
        else ""
    )
    return f'<path class="rule" d="{data}"/>{text}'


def _draw_points(mark: _Points, box: _Box) -> str:
    kind = f"pt {mark.colour}{' hollow' if mark.hollow else ''}"
    parts: list[str] = []
    for i, x, y in zip(counter(), mark.xs, mark.ys, strict=False):
        px, py = box.at(x, y)
        if math.isnan(px) or math.isnan(py):
            continue
        low = mark.lows[i] if i < len(mark.lows) else None
        high = mark.highs[i] if i < len(mark.highs) else None
        if low is not None and high is not None:
            bottom, top = box.at(x, low)[1], box.at(x, high)[1]
            parts.append(f'<path class="eb {mark.colour}" d="M{xy(px)} {xy(bottom)}V{xy(top)}"/>')
        tip = f"<title>{escape(mark.tips[i])}</title>" if i < len(mark.tips) and mark.tips[i] else ""
        shape = marker(mark.shape, px, py, mark.radius)
        parts.append(
            f'<path class="{kind}" d="{shape}">{tip}</path>' if tip else f'<path class="{kind}" d="{shape}"/>'
        )
    return "".join(parts)


def _end_labels(lines: list[_Line], box: _Box) -> list[str]:
    """Labels at the right ends of curves, pushed apart where they would overlap."""
    labels: list[Label] = []
    for line in lines:
        inside = [
            box.at(x, y)
            for x, y in zip(line.xs, line.ys, strict=True)
            if 0 <= box.x.at(x) <= 1.0001 and 0 <= box.y.at(y) <= 1
        ]
        if inside:
            labels.append(Label(inside[-1][0], inside[-1][1], line.label, line.colour))
    parts = []
    for label, y in spread(labels, box.top + 4, box.top + box.height, 13.0):
        x = box.left + box.width + 6
        if abs(y - label.y) > 3 or x - label.x > 10:
            parts.append(f'<path class="lead" d="M{xy(label.x + 1)} {xy(label.y)}L{xy(x - 2)} {xy(y)}"/>')
        parts.append(
            f'<text class="el {label.colour}" x="{xy(x)}" y="{xy(y + 4)}">{escape(label.text)}</text>'
        )
    return parts
