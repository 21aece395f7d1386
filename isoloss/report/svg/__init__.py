"""A small plotting room for the report: data -> inline SVG text, coloured by the page's CSS variables.

Own code because a page that follows the reader's light or dark scheme, prints, and stays a few kB a figure
needs colours as CSS classes and text as text; plotting libraries bake both in."""

from __future__ import annotations

from isoloss.report.svg.axes import Axis
from isoloss.report.svg.figure import Figure
from isoloss.report.svg.marks import SHAPES, category, sequence

__all__ = ["SHAPES", "Axis", "Figure", "category", "sequence"]
