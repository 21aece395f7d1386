"""Plan <-> PLAN.json, the file that a plan is kept in.

Same plan, same bytes. Large plans are written in half the time that orjson takes: what jobs share is written once.
Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from io import BytesIO
from itertools import chain, groupby, islice, repeat
from operator import attrgetter
from typing import Any

import orjson

from isoloss.compiler.plan import Dropped, Job, Plan

READABLE_JOBS = 2_000


def plan_from_json(text: bytes | str) -> Plan:
    """Read and validate a plan. Raises pydantic.ValidationError (a ValueError) with the place of each fault."""
    # pydantic loads only where a plan crosses a file boundary.
    from pydantic import TypeAdapter

    return TypeAdapter(Plan).validate_json(text)


def plan_to_json(plan: Plan) -> bytes:
    """PLAN.json, keys sorted: same plan, same bytes. Two-space indent up to READABLE_JOBS jobs and dropped cells;
    nobody reads more, and the spaces are half of the text."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    if len(plan.jobs) + len(plan.dropped) <= READABLE_JOBS:
        return orjson.dumps(plan, option=option | orjson.OPT_INDENT_2)
    return _long_json(plan)


def _long_json(plan: Plan) -> bytes:
    """The bytes that orjson makes of a plan without indent, in half the time: jobs share recipes, models, costs,
    and each is written once."""
    text, known = BytesIO(), dict[int, bytes]()
    for place, field_ in enumerate(fields(Plan)):
        text.write(_key(field_.name, place))
        if field_.name in ("jobs", "dropped"):
            text.write(b"[")
            for number, chunk in enumerate(_chunks(getattr(plan, field_.name))):
                columns, end = _columns(chunk, b",", known)
                rows = b"".join(chain.from_iterable(zip(*columns, repeat(end))))
                text.write(rows if number else rows[1:])
            text.write(b"]")
        else:
            text.write(orjson.dumps(getattr(plan, field_.name), option=orjson.OPT_SORT_KEYS))
    text.write(b"}\n")
    return text.getvalue()


def _key(name: str, place: int) -> bytes:
    return f'{"," if place else "{"}"{name}":'.encode()


def _chunks(items: Sequence[Job | Dropped]) -> Iterator[list[Job | Dropped]]:
    """Neighbours with the same kind of spec, so many at once as stay in a cache."""
    for _, alike in groupby(items, key=lambda item: type(item.spec)):
        while chunk := list(islice(alike, 128)):
            yield chunk


def _getters(cls: Any) -> tuple[tuple[str, bytes, Callable[[Any], Any]], ...]:
    """Of each field of a class: its name, what stands before its value, how it is got."""
    names = [f.name for f in fields(cls)]
    return tuple((name, _key(name, place), attrgetter(name)) for place, name in enumerate(names))


def _columns(
    items: Sequence[Any], before: bytes, known: dict[int, bytes]
) -> tuple[list[Iterable[bytes]], bytes]:
    """The texts of objects of one class: a column for each field that differs between them, after one for what
    stands before it; and what stands after the last."""
    columns: list[Iterable[bytes]] = []
    for name, key, get in _getters(type(items[0])):
        before += key
        values = list(map(get, items))
        if name == "spec":
            inner, before = _columns(values, before, known)
            columns += inner
            continue
        texts = _texts(values, known)
        if isinstance(texts, bytes):
            before += texts
        else:
            columns += repeat(before), texts
            before = b""
    return columns, before + b"}"


def _texts(values: list[Any], known: dict[int, bytes]) -> bytes | Iterable[bytes]:
    """The JSON of each value, or once what all have in common. `known`: texts of objects that live as long as
    the plan, by their id."""
    first = values[0]
    if isinstance(first, str) and values.count(first) == len(values):
        return orjson.dumps(first)
    if isinstance(first, str | int | float | tuple | None):
        return _each_json(values)
    ids = list(map(id, values))
    new = {id_: value for id_, value in zip(ids, values, strict=True) if id_ not in known}
    if new:
        known.update(zip(new, _each_json(list(new.values())), strict=True))
    return known[ids[0]] if ids.count(ids[0]) == len(ids) else map(known.__getitem__, ids)


def _each_json(values: list[Any]) -> list[bytes]:
    """The JSON of each value, in one call: many small ones cost much more."""
    # No JSON without indent holds a bare newline.
    lines = chain.from_iterable(zip(values, repeat(_NEWLINE)))
    return orjson.dumps(list(lines), option=orjson.OPT_SORT_KEYS)[1:-3].split(b",\n,")


_NEWLINE = orjson.Fragment(b"\n")
