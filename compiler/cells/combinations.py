"""All combinations of a grid's axes, as columns: what is known of each, without a step of Python per cell.

A quantity is a table over the axes it hangs on: `params` over that of the models, a batch rule on images over
that of the images. It is computed once per entry of its table, and spread over the grid when a column is asked
for. Combinations stand in the order of `itertools.product`. Plain lists: `check` counts cells, without numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from math import prod
from typing import Any, NamedTuple


class Table(NamedTuple):
    """`values` of a quantity over `axes` (their numbers, ascending), the last axis fastest."""

    axes: tuple[int, ...]
    values: Sequence[Any]


class Combinations:
    """Quantities by name over axes of these sizes. A quantity that no one has put is unknown everywhere."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)
        self._all = tuple(range(len(sizes)))
        self._tables: dict[str, Table] = {}
        self._places: dict[tuple[tuple[int, ...], tuple[int, ...]], Sequence[int]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def put(self, name: str, axes: tuple[int, ...], values: Sequence[Any]) -> None:
        """A quantity from its table."""
        self._tables[name] = Table(axes, values)

    def derive(self, name: str, of: Sequence[str], function: Callable[..., Any]) -> None:
        """A quantity from others: `function` is called with theirs, once per entry of the new table."""
        axes = self._union(of)
        self.put(name, axes, list(map(function, *(self._spread(each, axes) for each in of))))

    def derive_from_known(
        self, name: str, of: Iterable[str], function: Callable[[Mapping[str, Any]], Any]
    ) -> None:
        """The same for a function of a mapping, which lacks the quantities that are unknown."""
        known = tuple(each for each in of if each in self._tables)
        axes = self._union(known)
        columns = [self._spread(each, axes) for each in known]
        rows = zip(*columns, strict=True) if columns else repeat((), prod(self._sizes[a] for a in axes))
        self.put(name, axes, [function(dict(zip(known, row, strict=True))) for row in rows])

    def values(self, name: str) -> Sequence[Any]:
        """The entries of a quantity's table."""
        return self._tables[name].values

    def column(self, name: str) -> Sequence[Any]:
        """A quantity of every combination."""
        return self._spread(name, self._all)

    def row(self, names: Iterable[str], index: int) -> dict[str, Any]:
        """What is known of one combination."""
        tables = {name: self._tables[name] for name in names if name in self._tables}
        return {name: values[self._place(axes, self._all)[index]] for name, (axes, values) in tables.items()}

    def _union(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted(set(chain.from_iterable(self._tables[name].axes for name in names))))

    def _spread(self, name: str, axes: tuple[int, ...]) -> Sequence[Any]:
        """A quantity over more axes than its own."""
        own, values = self._tables[name]
        return values if own == axes else list(map(values.__getitem__, self._place(own, axes)))

    def _place(self, own: tuple[int, ...], axes: tuple[int, ...]) -> Sequence[int]:
        """For every combination of `axes`, the place of its entry in a table over `own`."""
        known = self._places.get((own, axes))
        if known is None:
            places = [0]
            for axis in axes:
                size, steps = self._sizes[axis], range(self._sizes[axis])
                if size == 1:
                    continue
                if axis in own:
                    places = [place * size + step for place in places for step in steps]
                else:
                    places = list(chain.from_iterable(map(repeat, places, repeat(size))))
            known = self._places[own, axes] = places
        return known
