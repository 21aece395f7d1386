"""Labels beside curves: wanted heights -> heights that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """`x`, `y`: the pixel the text belongs to."""

    x: float
    y: float
    text: str
    colour: str


def text_width(text: str, font_pixels: float) -> float:
    """About how wide `text` is in a sans-serif font: an upper-side estimate, no font is consulted."""
    narrow = sum(c in " .,;:!il|'()[]·" for c in text)
    return font_pixels * (0.32 * narrow + 0.6 * (len(text) - narrow))


def spread(labels: list[Label], top: float, bottom: float, gap: float) -> list[tuple[Label, float]]:
    """Each label with a height at least `gap` from its neighbours', in the order of their wanted heights.

    Labels that collide form a block centred on the mean of what its members want (isotonic regression by
    pooling), then the whole is shifted into [top, bottom] where it fits."""
    ordered = sorted(labels, key=lambda label: label.y)
    # With equal gaps taken out, "at least gap apart" is "not decreasing".
    blocks: list[tuple[float, int]] = []  # (sum of wanted, size)
    for i, label in enumerate(ordered):
        total, size = label.y - i * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / size:
            before, members = blocks.pop()
            total, size = total + before, size + members
        blocks.append((total, size))
    heights = [total / size for total, size in blocks for _ in range(size)]
    highest = max(top, bottom - (len(ordered) - 1) * gap)
    return [
        (label, min(max(h, top), highest) + i * gap)
        for i, (label, h) in enumerate(zip(ordered, heights, strict=True))
    ]
