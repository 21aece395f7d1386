"""What can stand on a figure, and how each is drawn in a plot area: marks in data coordinates -> SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from isoloss.report.svg.axes import Span
from isoloss.report.svg.labels import Label, spread
from isoloss.report.svg.marks import marker, path, xy

Numbers = Sequence[float]
#: x and y values a mark wants in range.
Extent = tuple[Numbers, Numbers]


@dataclass(frozen=True, slots=True)
class Line:
    xs: Numbers
    ys: Numbers
    colour: str
    style: str
    label: str

    def extent(self) -> Extent:
        return self.xs, self.ys


@dataclass(frozen=True, slots=True)
class Band:
    xs: Numbers
    lows: Numbers
    highs: Numbers
    colour: str

    def extent(self) -> Extent:
        return self.xs, [*self.lows, *self.highs]


@dataclass(frozen=True, slots=True)
class Points:
    xs: Numbers
    ys: Numbers
    colour: str
    shape: str
    tips: Sequence[str]
    lows: Sequence[float | None]
    highs: Sequence[float | None]
    hollow: bool
    radius: float

    def extent(self) -> Extent:
        return self.xs, [*self.ys, *(v for v in (*self.lows, *self.highs) if v is not None)]


@dataclass(frozen=True, slots=True)
class Picture:
    uri: str
    box: tuple[float, float, float, float]  # x0, x1, y0, y1 in data coordinates

    def extent(self) -> Extent:
        return self.box[:2], self.box[2:]


@dataclass(frozen=True, slots=True)
class Rule:
    value: float
    vertical: bool
    label: str

    def extent(self) -> Extent:
        return ((self.value,), ()) if self.vertical else ((), (self.value,))


@dataclass(frozen=True, slots=True)
class Text:
    x: float
    y: float
    content: str
    colour: str

    def extent(self) -> Extent:
        return (self.x,), (self.y,)


Mark = Line | Band | Points | Picture | Rule | Text


@dataclass(frozen=True, slots=True)
class Box:
    """The plot area in pixels and what it spans."""

    left: float
    top: float
    width: float
    height: float
    x: Span
    y: Span

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a place in data coordinates; NaN where it has none."""
        # Far outside points are pulled in to where they are still clipped: browsers choke on 1e9 pixels.
        u, v = self.x.at(x), self.y.at(y)
        u = u if math.isnan(u) else min(max(u, -8.0), 9.0)
        v = v if math.isnan(v) else min(max(v, -8.0), 9.0)
        return self.left + u * self.width, self.top + (1 - v) * self.height


def draw(mark: Mark, box: Box) -> str:
    """One mark as SVG; empty where nothing of it has a place."""
    match mark:
        case Line():
            data = path([box.at(x, y) for x, y in zip(mark.xs, mark.ys, strict=True)])
            return f'<path class="ln {mark.colour} {mark.style}" d="{data}"/>' if data else ""
        case Band():
            return _band(mark, box)
        case Points():
            return _points(mark, box)
        case Picture():
            (x0, y1), (x1, y0) = box.at(mark.box[0], mark.box[2]), box.at(mark.box[1], mark.box[3])
            return (
                f'<image href="{mark.uri}" x="{xy(x0)}" y="{xy(y0)}" width="{xy(x1 - x0)}" '
                f'height="{xy(y1 - y0)}" preserveAspectRatio="none"/>'
            )
        case Rule():
            return _rule(mark, box)
        case Text():
            px, py = box.at(mark.x, mark.y)
            return (
                f'<text class="on {mark.colour}" x="{xy(px)}" y="{xy(py + 4)}">{escape(mark.content)}</text>'
            )


def _band(mark: Band, box: Box) -> str:
    sides = list(zip(mark.xs, mark.lows, mark.highs, strict=True))
    known = [(x, low, high) for x, low, high in sides if not (math.isnan(low) or math.isnan(high))]
    outline = [box.at(x, high) for x, _, high in known] + [box.at(x, low) for x, low, _ in reversed(known)]
    data = path(outline, close=True)
    return f'<path class="bd {mark.colour}" d="{data}"/>' if data else ""


def _rule(mark: Rule, box: Box) -> str:
    if mark.vertical:
        x = box.at(mark.value, box.y.low)[0]
        label_x, label_y = x + 4, box.top + 11
        data = f"M{xy(x)} {xy(box.top)}v{xy(box.height)}"
    else:
        y = box.at(box.x.low, mark.value)[1]
        label_x, label_y = box.left + 5, y - 4
        data = f"M{xy(box.left)} {xy(y)}h{xy(box.width)}"
    label = escape(mark.label)
    text = f'<text class="rl" x="{xy(label_x)}" y="{xy(label_y)}">{label}</text>' if label else ""
    return f'<path class="rule" d="{data}"/>{text}'


def _points(mark: Points, box: Box) -> str:
    kind = f"pt {mark.colour}{' hollow' if mark.hollow else ''}"
    parts: list[str] = []
    for i, (x, y) in enumerate(zip(mark.xs, mark.ys, strict=True)):
        px, py = box.at(x, y)
        if math.isnan(px) or math.isnan(py):
            continue
        low = mark.lows[i] if i < len(mark.lows) else None
        high = mark.highs[i] if i < len(mark.highs) else None
        if low is not None and high is not None:
            bottom, top = box.at(x, low)[1], box.at(x, high)[1]
            parts.append(f'<path class="eb {mark.colour}" d="M{xy(px)} {xy(bottom)}V{xy(top)}"/>')
        data = marker(mark.shape, px, py, mark.radius)
        tip = f"<title>{escape(mark.tips[i])}</title>" if i < len(mark.tips) and mark.tips[i] else ""
        parts.append(
            f'<path class="{kind}" d="{data}">{tip}</path>' if tip else f'<path class="{kind}" d="{data}"/>'
        )
    return "".join(parts)


def end_labels(lines: list[Line], box: Box) -> list[str]:
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
