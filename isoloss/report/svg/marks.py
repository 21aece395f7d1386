"""Marks: points, lines, bands and their colours as SVG fragments in pixel coordinates.

Colours are classes (`c0`…`c7` categories, `s0`…`s9` a sequence from low to high) that set `--c`; the page's
style defines them for light, dark and print. Shape repeats what colour says, for those who see none."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHAPES = ("circle", "square", "triangle", "diamond", "down", "cross", "plus", "star")
NUM_CATEGORIES, NUM_STEPS = 8, 10


def category(index: int) -> str:
    """Class of the index-th category; after eight colours they come again (with other shapes)."""
    return f"c{index % NUM_CATEGORIES}"


def sequence(index: int, total: int) -> str:
    """Class of the index-th of `total` ordered things, spread over the sequential palette."""
    return f"s{round(index * (NUM_STEPS - 1) / max(1, total - 1))}"


def xy(value: float) -> str:
    """A pixel coordinate, one decimal, without a trailing zero."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def path(points: Sequence[tuple[float, float]], *, close: bool = False) -> str:
    """SVG path data through the points; a NaN lifts the pen."""
    parts: list[str] = []
    pen = "M"
    for x, y in points:
        if math.isnan(x) or math.isnan(y):
            pen = "M"
            continue
        parts.append(f"{pen}{xy(x)} {xy(y)}")
        pen = "L"
    return "".join(parts) + ("Z" if close and parts else "")


def marker(shape: str, x: float, y: float, radius: float) -> str:
    """Path data of a marker centred at (x, y), drawn so that all shapes look equally large."""
    r = radius
    if shape == "circle":
        return (
            f"M{xy(x - r)} {xy(y)}a{xy(r)} {xy(r)} 0 1 0 {xy(2 * r)} 0a{xy(r)} {xy(r)} 0 1 0 {xy(-2 * r)} 0Z"
        )
    if shape == "square":
        s = 0.88 * r
        return path([(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)], close=True)
    if shape in ("cross", "plus"):
        turn = math.pi / 4 if shape == "cross" else 0.0
        return path(_spokes(x, y, 1.15 * r, 0.34 * r, turn), close=True)
    if shape == "star":
        spikes = [
            (x + q * math.sin(k * math.pi / 5), y - q * math.cos(k * math.pi / 5))
            for k, q in ((k, 1.45 * r if k % 2 == 0 else 0.62 * r) for k in range(10))
        ]
        return path(spikes, close=True)
    sides, turn, grow = {"triangle": (3, 0.0, 1.25), "diamond": (4, 0.0, 1.2), "down": (3, math.pi, 1.25)}[
        shape
    ]
    angles = [turn + 2 * math.pi * k / sides for k in range(sides)]
    return path([(x + grow * r * math.sin(a), y - grow * r * math.cos(a)) for a in angles], close=True)


def _spokes(x: float, y: float, arm: float, half: float, turn: float) -> list[tuple[float, float]]:
    """The twelve corners of a plus sign, turned by `turn`."""
    corners: list[tuple[float, float]] = []
    for k in range(4):
        a = turn + k * math.pi / 2
        along, across = (math.sin(a), -math.cos(a)), (math.cos(a), math.sin(a))
        corners.append((x + arm * along[0] - half * across[0], y + arm * along[1] - half * across[1]))
        corners.append((x + arm * along[0] + half * across[0], y + arm * along[1] + half * across[1]))
        corners.append((x + half * (along[0] + across[0]), y + half * (along[1] + across[1])))
    return corners
