"""What names mean at one place of a study: lets, declared blocks, context for defaults.

Made by check.py for each variant (profile) of a study; read by values.py and rules.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.study.study import Evaluation
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import Slot
from isoloss.dsl.vocabulary.units import Amount


class Bad:
    """A value whose mistake has been reported: whoever meets it says nothing more."""


BAD: Final = Bad()


@dataclass(frozen=True)
class Scope:
    report: Report
    lets: Mapping[str, ast.Let] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()  # lets without a usable value, reported
    declared: Mapping[str, Mapping[str, Span]] = field(default_factory=dict)  # kind -> name -> where
    context: Mapping[str, str] = field(default_factory=dict)  # what `By` defaults look at
    siblings: Mapping[str, Amount] = field(default_factory=dict)  # earlier settings, for default texts only
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    real: frozenset[str] = frozenset()  # generators of the dataset's own images
    #: grid -> what its axes sweep inside other blocks: paths of recipes, and `let`s, with the slots of their values
    swept: Mapping[str, Mapping[str, Slot]] = field(default_factory=dict)
    curves: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # evaluate block -> its several evaluations
    quantities: Mapping[str, Slot] = field(
        default_factory=dict
    )  # those of `swept` that an expression may name here

    def within(self, **context: str) -> Scope:
        return replace(self, context={**self.context, **context})

    def of_grid(self, grid: str) -> Scope:
        """For conditions on a grid's cells: what the grid sweeps is a quantity of the cell, no constant."""
        swept = self.swept.get(grid, {})
        lets = {name: let for name, let in self.lets.items() if name not in swept} if swept else self.lets
        return replace(self, lets=lets, quantities=swept)

    def for_defaults(self, siblings: Mapping[str, Amount]) -> Scope:
        """Defaults are ours: a study's `let` must not change what they mean."""
        return replace(self, lets={}, siblings=siblings)

    def names(self, kind: str) -> tuple[str, ...]:
        return tuple(self.declared.get(kind, {}))

    def unfold(self, node: ast.Expression) -> ast.Expression | Bad:
        """A name given by `let` replaced by its value, through any number of lets."""
        seen: set[str] = set()
        while isinstance(node, ast.Path) and len(node.parts) == 1 and node.text in self.lets:
            # Broken lets have been reported; `seen` guards whoever asks before that.
            if node.text in self.broken or node.text in seen:
                return BAD
            seen.add(node.text)
            node = self.lets[node.text].value
        return node
