"""The one table of every construct of the language: look-ups over its rows.

Checks, `isoloss help`, docs/language.md and editors read this; nothing is described twice. Third parties add
terms through entry points, which load only when a name is unknown here or help is asked for."""

from __future__ import annotations

from functools import cache

from isoloss.dsl.vocabulary.blocks import BLOCKS, DEVICES, LATER, LAWS, QUANTITIES, ROWS, WORDS
from isoloss.dsl.vocabulary.row import TYPES, BlockRow, By, QuantityRow, Slot, Term, WordRow
from isoloss.dsl.vocabulary.terms import BUILT_IN

#: entry-point group -> families whose terms it may yield; "law" rows are names of laws.
GROUPS: dict[str, tuple[str, ...]] = {
    "isoloss.attacks": ("attack",),
    "isoloss.models": ("model",),
    "isoloss.losses": ("loss",),
    "isoloss.generators": ("sampler", "denoiser", "discriminator"),
    "isoloss.features": ("feature space",),
    "isoloss.datasets": ("dataset",),
    "isoloss.laws": ("law",),
}
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(term.family for term in BUILT_IN))

_BY_NAME = {(term.family, term.name): term for term in BUILT_IN}


@cache
def third_party() -> tuple[Term, ...]:
    """Terms of installed packages. One that fails to load or isn't a fitting Term is left out: a broken
    package must not break a study that doesn't use it."""
    from importlib.metadata import entry_points

    found: list[Term] = []
    for group, families in GROUPS.items():
        for entry in entry_points(group=group):
            try:
                term = entry.load()
            except Exception:
                continue
            term = term() if callable(term) and not isinstance(term, Term) else term
            for row in term if isinstance(term, tuple | list) else (term,):
                if isinstance(row, Term) and row.family in families:
                    found.append(row)
    return tuple(found)


def find_term(family: str, name: str) -> Term | None:
    """The row of a registered thing. Our own names win over third parties'."""
    if (family, name) in _BY_NAME:
        return _BY_NAME[family, name]
    return next((t for t in third_party() if (t.family, t.name) == (family, name)), None)


def terms(family: str) -> tuple[Term, ...]:
    """All registered things of a family, ours first."""
    return tuple(t for t in (*BUILT_IN, *third_party()) if t.family == family)


def law_names() -> tuple[str, ...]:
    return (*LAWS, *(t.name for t in third_party() if t.family == "law"))


__all__ = [
    "BLOCKS",
    "BUILT_IN",
    "DEVICES",
    "FAMILIES",
    "GROUPS",
    "LATER",
    "LAWS",
    "QUANTITIES",
    "ROWS",
    "TYPES",
    "WORDS",
    "BlockRow",
    "By",
    "QuantityRow",
    "Slot",
    "Term",
    "WordRow",
    "find_term",
    "law_names",
    "terms",
    "third_party",
]
