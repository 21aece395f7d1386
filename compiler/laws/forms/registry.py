"""Every law form by name: ours, and those that installed packages register under `isoloss.laws`.

An entry point yields a `Law` subclass; an own name never hides one of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points

from isoloss.compiler.laws.forms.approach1 import Approach1
from isoloss.compiler.laws.forms.approach2 import Approach2
from isoloss.compiler.laws.forms.approach3 import Approach3
from isoloss.compiler.laws.forms.chinchilla import Chinchilla
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.forms.powerlaw import PowerLaw
from isoloss.compiler.laws.forms.powersum import PowerSum


class _Registry(Mapping[str, Law]):
    """Read-only; third parties are loaded when first asked for."""

    def __getitem__(self, name: str) -> Law:
        ours = _ours()
        return ours[name] if name in ours else _third_parties()[name]

    def __iter__(self) -> Iterator[str]:
        yield from _ours()
        yield from (name for name in _third_parties() if name not in _ours())

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _ours() -> dict[str, Law]:
    laws: tuple[Law, ...] = (Chinchilla(), Approach1(), Approach2(), Approach3(), PowerLaw(), PowerSum())
    return {law.name: law for law in laws}


@cache
def _third_parties() -> dict[str, Law]:
    """Raises TypeError for an entry point that yields no Law: a fault of that package, named."""
    found: dict[str, Law] = {}
    for point in entry_points(group="isoloss.laws"):
        made = point.load()()
        if not isinstance(made, Law):
            raise TypeError(
                f"entry point {point.value} of isoloss.laws yields {type(made).__name__}, not a Law"
            )
        found[made.name] = made
    return found


LAWS: Mapping[str, Law] = _Registry()
