"""The shapes of the vocabulary's rows. A row is the one description of a construct: checks, help, docs and
third parties' descriptors all read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class By:
    """A default that depends on where it is needed. `key` is one of: dataset, loss (of the recipe around it,
    or `evaluate` outside a recipe), law, from (of the generator: real, files), measured (the dataset, for a generator
    whose fid is measured); `table` maps its value to study text, `*` for the others."""

    key: str
    table: Mapping[str, str]

    def text(self, context: Mapping[str, str]) -> str | None:
        return self.table.get(context.get(self.key, ""), self.table.get("*"))


@dataclass(frozen=True)
class Slot:
    """A setting of a block or a parameter of a call.

    `type` is one of TYPES; `default` is study text (it may name earlier settings of the same call), None where
    the setting is required. `absent` is the word that stands for "no value"."""

    name: str
    type: str
    doc: str
    example: str
    default: str | By | None = None
    dimension: str = "plain"
    family: str = ""
    choices: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None
    exclusive: bool = False  # whether `low` itself is out of range
    exact: bool = False  # a number that stays a fraction
    ceiling: str = ""  # an earlier number of the same call that this one may not exceed
    residue: tuple[int, int] | None = None  # (4, 6): the number is 4 more than a multiple of 6
    absent: str = ""
    form: str = "="  # how it is written: `=`, `in` (an axis; `=` fixes it), `<=` (a bound)
    optional_when: str = ""  # said in the docs: when a setting without default may be left out
    source: str = ""


TYPES: Mapping[str, str] = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "choice": "one of the listed words",
    "file": "a file below the data root, in quotes",
    "digest": "64 hex digits, in quotes",
    "numbers": "a list of numbers",
    "integers": "a list of whole numbers",
    "text": "a text in quotes",
    "digests": "64 hex digits in quotes, or a list of such",
    "source": "a file below the data root, in quotes, or `real`",
    "call": "a registered thing with its settings",
    "reference": "the name of a block",
    "term": "the name of a registered thing, without settings",
    "rule": "a number, or an expression over the cell's quantities",
    "axis": "the name of an axis, as the grid writes it",
    "runs": "a grid, or `(grid where …)`",
    "devices": "`COUNT of DEVICE`",
    "laws": "the name of a fit, or `any(fit, fit, …)`",
    "evaluations": "a list of evaluations: names of `evaluate` blocks, or attacks",
    "periodic": "`EVALUATION at every FRACTION`",
}


@dataclass(frozen=True)
class Term:
    """A registered thing: an attack, a loss, a model family …; `slots` are its settings in positional order."""

    name: str
    family: str
    doc: str
    example: str
    slots: tuple[Slot, ...] = ()
    source: str = ""
    trains: bool = True  # an attack that may be the inner attack of a recipe

    def slot(self, name: str) -> Slot | None:
        return next((s for s in self.slots if s.name == name), None)


@dataclass(frozen=True)
class BlockRow:
    """A block of a study. `named` blocks are declared any number of times under different names."""

    name: str
    doc: str
    example: str
    slots: tuple[Slot, ...]
    named: bool = True
    plural: str = ""

    def slot(self, name: str) -> Slot | None:
        return next((s for s in self.slots if s.name == name), None)


@dataclass(frozen=True)
class QuantityRow:
    """A name that every expression over cells may use."""

    name: str
    type: str  # a dimension of units.py, or generator, model, recipe
    doc: str
    example: str


@dataclass(frozen=True)
class WordRow:
    """A reserved word or construct that is neither block nor setting: `let`, `where`, `zip` …"""

    name: str
    doc: str
    example: str
