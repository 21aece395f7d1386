"""Level lines of a function on a grid: marching squares, segments joined into polylines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Place = tuple[float, float]  # in grid steps: (column, row)
_Edge = tuple[int, int, bool]  # the edge from (column, row) to the right (True) or up (False)

#: Corners (column, row offsets) of a cell in order, and the edges between neighbours.
_CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))


def contour(values: Floats, level: float) -> list[list[Place]]:
    """Polylines along which `values` [rows, columns] cross `level`, in grid steps, past cells with a NaN.

    Points lie on grid edges, placed by linear interpolation, so neighbours share them exactly and join."""
    segments: list[tuple[_Edge, _Edge]] = []
    low = np.minimum.reduce([values[:-1, :-1], values[1:, :-1], values[:-1, 1:], values[1:, 1:]])
    high = np.maximum.reduce([values[:-1, :-1], values[1:, :-1], values[:-1, 1:], values[1:, 1:]])
    # NaN compares false: such cells fall out here.
    for row, column in np.argwhere((low <= level) & (high > level)):
        segments += _cell(values, int(column), int(row), level)
    return [[_place(values, edge, level) for edge in chain] for chain in _join(segments)]


def _cell(values: Floats, column: int, row: int, level: float) -> list[tuple[_Edge, _Edge]]:
    edges: tuple[_Edge, ...] = (
        (column, row, True),
        (column + 1, row, False),
        (column, row + 1, True),
        (column, row, False),
    )
    above = [values[row + dy, column + dx] > level for dx, dy in _CORNERS]
    crossed = [edges[i] for i in range(4) if above[i] != above[(i + 1) % 4]]
    if len(crossed) == 2:
        return [(crossed[0], crossed[1])]
    if len(crossed) == 4:  # a saddle: the middle's side decides which corners belong together
        middle = values[row : row + 2, column : column + 2].mean() > level
        first = 1 if middle == above[0] else 3
        return [(edges[0], edges[first]), (edges[2], edges[4 - first])]
    return []


def _place(values: Floats, edge: _Edge, level: float) -> Place:
    column, row, across = edge
    start = values[row, column]
    end = values[row, column + 1] if across else values[row + 1, column]
    t = float((level - start) / (end - start))
    return (column + t, float(row)) if across else (float(column), row + t)


def _join(segments: list[tuple[_Edge, _Edge]]) -> list[list[_Edge]]:
    """Chains of edges: each segment is used once, walked from its chain's ends."""
    touching: dict[_Edge, list[int]] = {}
    for i, segment in enumerate(segments):
        for edge in segment:
            touching.setdefault(edge, []).append(i)
    unused = set(range(len(segments)))
    chains = []
    while unused:
        first = min(unused)
        unused.discard(first)
        chain = list(segments[first])
        for _ in range(2):
            while True:
                following = next((i for i in touching[chain[-1]] if i in unused), None)
                if following is None:
                    break
                unused.discard(following)
                a, b = segments[following]
                chain.append(b if a == chain[-1] else a)
            chain.reverse()
        chains.append(chain)
    return chains
