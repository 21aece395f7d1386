"""Two studies -> the settings in which they differ, by their names in the language. Pure.

Compared by meaning, as the checked Study has it: layout, comments and constants are not in it, and the order of
declarations, of the values of an axis, of conditions and of portfolios makes no difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from isoloss.dsl.study.study import Budget, Call, DeclaredDevice, Evaluation, Generator, Grid, Study
from isoloss.dsl.study.value_text import listed, number_text, rule_text, value_text
from isoloss.dsl.vocabulary import BLOCKS, Slot, find_term


@dataclass(frozen=True)
class Change:
    """A setting by its path, `recipe.trades.attack.steps`, with its values as a study writes them. None: the
    declaration that the path then names isn't in that study."""

    path: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"`{self.path}` is new"
        return (
            f"`{self.path}` is gone"
            if self.after is None
            else f"`{self.path}`: {self.before} -> {self.after}"
        )


def changes(before: Study, after: Study) -> list[Change]:
    """What turns the meaning of one into that of the other, in the order of the language; nothing for equal
    ones."""
    found: dict[str, Change] = {}
    for path, old, new in _paired(_declared(before), _declared(after)):
        if old is None or new is None:
            found[path] = Change(path, *("declared" if each is not None else None for each in (old, new)))
            continue
        block = path.partition(".")[0]
        for name, first, last in _paired(old, new):
            slot = BLOCKS[block].slot(name) if block in BLOCKS else None
            for change in _compared(f"{path}.{name}" if name else path, slot, first, last):
                found.setdefault(change.path, change)
    return list(found.values())


def _paired(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*old, *new)):
        yield name, old.get(name), new.get(name)


# A study as settings.


@dataclass(frozen=True)
class _Words:
    """Texts whose order means nothing, and how a study shows them."""

    texts: tuple[str, ...]
    shown: str


def _one(text: str) -> _Words:
    return _Words((text,), text)


def _several(texts: tuple[str, ...]) -> _Words:
    return _Words(texts, texts[0] if len(texts) == 1 else listed(texts))


def _declared(study: Study) -> dict[str, dict[str, Any]]:
    """`kind.name` of every declaration -> its settings by the vocabulary's names. Of the study's own lines the
    setting has no name."""
    tested = {e.name: e for e in study.evaluations}
    found: dict[str, dict[str, Any]] = {
        "study": {"": study.name},
        "dataset": {"": study.dataset},
        "profile": {"": study.profile},
    }
    for generator in study.generators:
        mix = generator.source is not None and generator.source.kind == "mix"
        found[f"{'mix' if mix else 'generator'}.{generator.name}"] = _of_generator(generator)
    for kind, blocks in (
        ("recipe", study.recipes),
        ("evaluate", study.evaluations),
        ("fit", study.fits),
        ("forecast", study.forecasts),
        ("allocate", study.allocations),
        ("compare", study.comparisons),
    ):
        found |= {f"{kind}.{block.name}": _settings(block, tested) for block in blocks}
    found |= {f"grid.{grid.name}": _of_grid(grid) for grid in study.grids}
    found |= {f"device.{device.name}": _of_device(device) for device in study.devices}
    return {**found, "budget": _of_budget(study.budget)}


#: Fields of the Study that are named otherwise in the language.
_NAMES = {
    "compute_flops": "compute",
    "time_seconds": "time",
    "laws": "law",
    "generators": "generator",
    "families": "family",
}


def _settings(block: Any, tested: Mapping[str, Evaluation]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in block.__match_args__:
        value = getattr(block, field)
        match field:
            case "name" | "origin" | "curve" | "settings":
                continue
            case "laws":
                value = _Words(value, value[0] if len(value) == 1 else f"any({', '.join(value)})")
            case "generators" | "families":
                value = _several(value) if value else None
            case "evaluate" if isinstance(value, tuple):
                texts = tuple(_test(each, tested) for each in value)
                value = _Words(texts, listed(texts))
            case "compete":
                # A list of one is no plain name: its images are paid for.
                if value and len(block.generators) == 1:
                    found["generator"] = _one(listed(block.generators))
                continue
        found[_NAMES.get(field, field)] = value
    return found


def _test(evaluation: Evaluation, tested: Mapping[str, Evaluation]) -> str:
    """A declared evaluation by its name: what it is, is its own block's. One written in place in full."""
    declared = tested.get(evaluation.name) == evaluation
    return evaluation.name if declared else value_text(evaluation.attack, BLOCKS["evaluate"].slot("attack"))


def _of_generator(generator: Generator) -> dict[str, Any]:
    found = _settings(generator, {})
    source = found.pop("source")
    if source is None:
        return found
    given = dict(source.arguments)
    if source.kind == "files":
        return {"from": given["pattern"], "sha256": given["sha256"] or None, **found}
    return {**(given if source.kind == "mix" else {"from": source.kind}), **found}


def _of_grid(grid: Grid) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axis in grid.axes:
        slots = [BLOCKS["grid"].slot(name) for name in axis.names]
        rows = [[value_text(v, slot) for v, slot in zip(row, slots, strict=True)] for row in axis.values]
        if len(axis.names) == 1:
            found[axis.names[0]] = _several(tuple(row[0] for row in rows))
            continue
        # Told of the first of those that move together.
        texts = tuple(listed(row) for row in rows)
        found[axis.names[0]] = _Words(texts, f"zip ({', '.join(axis.names)}) in {listed(texts)}")
    conditions = tuple(map(rule_text, grid.where))
    found["where"] = _Words(conditions, " and ".join(conditions) or "none")
    return found


def _of_device(device: DeclaredDevice) -> dict[str, Any]:
    def per_second(value: float | None, dimension: str) -> _Words | None:
        return None if value is None else _one(f"{number_text(value, dimension)}/s")

    hourly = device.price_per_hour
    return {
        "memory": device.memory_bytes,
        **{name: per_second(getattr(device, name), "compute") for name in ("fp32", "tf32", "bf16")},
        "bandwidth": per_second(device.bandwidth, "storage"),
        "watts": device.watts,
        "price": None if hourly is None else _one(f"{number_text(hourly)} {device.currency}/h"),
    }


def _of_budget(budget: Budget) -> dict[str, Any]:
    hourly, per_byte = budget.price_per_device_hour, budget.price_per_byte
    tariff = None if per_byte is None else number_text(Fraction(repr(per_byte)) * 10**9)
    return {
        "compute": budget.compute_flops,
        "devices": budget.devices,
        "walltime": budget.walltime_seconds,
        "price": None if hourly is None else _one(f"{number_text(hourly)} {budget.currency}/h"),
        "transfer": None if tariff is None else _one(f"{tariff} {budget.currency}/GB"),
        "storage": budget.storage_bytes,
        "choose": budget.choose,
        "pin": budget.pin,
    }


# Two values of one setting.

#: Lists that are longer together are told by what came and went.
_WIDTH = 100


def _compared(path: str, slot: Slot | None, old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, Call) and isinstance(new, Call) and old.kind == new.kind:
        family = slot.family if slot is not None else "dataset"
        term = find_term(family, old.kind)
        for name, first, last in _paired(dict(old.arguments), dict(new.arguments)):
            yield from _compared(f"{path}.{name}", term.slot(name) if term else None, first, last)
        return
    if isinstance(old, _Words) and isinstance(new, _Words):
        if sorted(old.texts) == sorted(new.texts):
            return
        if len(old.shown) + len(new.shown) > _WIDTH and len(old.texts) + len(new.texts) > 2:
            yield Change(path, *_came_and_went(old, new))
            return
    shown = (each.shown if isinstance(each, _Words) else value_text(each, slot) for each in (old, new))
    yield Change(path, *shown)


def _came_and_went(old: _Words, new: _Words) -> tuple[str, str]:
    gone, come = ([t for t in a.texts if t not in b.texts] for a, b in ((old, new), (new, old)))
    parts = [f"{word} {', '.join(texts)}" for word, texts in (("with", come), ("without", gone)) if texts]
    return f"{len(old.texts)} values", f"{len(new.texts)} values, {' and '.join(parts)}"
