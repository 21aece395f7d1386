"""Model families counted in plain Python: a model Component and a dataset -> parameters and FLOPs.

One row per family in `FAMILIES`; tests/runtime hold every row equal to torch's own counts. No torch here:
planning needs the numbers, not the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoloss.compiler.cost.architectures.cnn import cnn_members, count_cnn
from isoloss.compiler.cost.architectures.tally import Architecture
from isoloss.compiler.cost.architectures.wrn import count_wrn, wrn_members
from isoloss.compiler.facts.datasets import DatasetShape, shape

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component

__all__ = ["FAMILIES", "Architecture", "Family", "count", "members"]


@dataclass(frozen=True, slots=True)
class Family:
    """`count(arguments, shape)` counts one network; `members()` yields the arguments of real networks of the
    family, the candidates for a "nearest buildable" one, in no particular order."""

    count: Callable[[Mapping[str, int], DatasetShape], Architecture]
    members: Callable[[], Iterator[Mapping[str, int]]]


FAMILIES: Mapping[str, Family] = {
    "wrn": Family(count_wrn, wrn_members),
    "cnn": Family(count_cnn, cnn_members),
}


def count(model: Component, dataset: Component) -> Architecture:
    """Parameters, forward FLOPs and activations of one network on one dataset's images.

    Raises KeyError for a family or dataset without a row, ValueError for arguments no network has."""
    arguments = {name: value for name, value in model.items() if name != "kind"}
    return FAMILIES[model["kind"]].count(arguments, shape(dataset))


def members(kind: str) -> Iterator[Component]:
    """Every network of a family that is worth proposing, as model Components."""
    for arguments in FAMILIES[kind].members():
        yield {"kind": kind, **arguments}
