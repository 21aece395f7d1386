"""The same loss with smaller or larger networks (Eq. 6 of Bartoldson et al. 2024) -> a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoloss.dsl.vocabulary.quantity_text import count_text

if TYPE_CHECKING:
    from isoloss.compiler.laws.fitting.fitted import Optimum, Tradeoff


def _signed(overhead: float) -> str:
    """+14.5%, and +0.0% for what rounding made a negative zero."""
    return f"{round(100 * overhead, 1) + 0.0:+.1f}%"


def tradeoff_table(sizes: Sequence[float], tradeoffs: Sequence[Tradeoff | None], optimum: Optimum) -> str:
    """The same loss with another size (Eq. 6)."""
    if optimum.params is None or optimum.images is None or not any(tradeoffs):
        return ""
    lines = ["", "  the same loss with another size", "    size     params     images   training FLOPs"]
    for size, tradeoff in zip(sizes, tradeoffs, strict=True):
        params = count_text(optimum.params.mid * size)
        if tradeoff is None:
            lines.append(f"    {size:>4g}x {params:>10}   out of reach: no number of images makes up for it")
            continue
        images = count_text(optimum.images.mid * tradeoff.images.mid)
        lines.append(f"    {size:>4g}x {params:>10} {images:>10}   {_signed(tradeoff.overhead.mid)}")
    return "\n".join(lines)
