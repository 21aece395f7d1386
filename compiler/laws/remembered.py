"""Results that are expensive and asked for again: the loop compiles again and again while most laws have no new points.

Whoever compiles several times owns one `Remembered` of each kind. The same inputs give the same result, so remembering
changes no plan."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Remembered(Generic[Result]):
    """The last `KEPT` results by the values that they follow from; the oldest goes first."""

    KEPT = 64

    def __init__(self) -> None:
        self._results: dict[Hashable, Result] = {}

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The result under this key, made where it isn't known."""
        if key not in self._results:
            while len(self._results) >= self.KEPT:
                del self._results[next(iter(self._results))]
            self._results[key] = make()
        return self._results[key]
