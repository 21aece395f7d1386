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

    def within(self, **context: str) -> Scope:
        return replace(self, context={**self.context, **context})

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
