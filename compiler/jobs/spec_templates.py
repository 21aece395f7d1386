"""Specs and job ids of many jobs at once: the ids of `plan.job_id`, of bytes put together from shared parts.

A hundred thousand specs hold a dozen recipes and models: each is written once, and what specs have in common
before the first field that differs is hashed once. Equal to `plan.job_id` for every spec (a test holds it). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson

from isoloss.compiler.plan import KINDS, Spec

#: Of every kind of spec: what its id's text begins with, its values, and the text before each of them. orjson
#: sorts the keys of mappings, not the fields of dataclasses: those stand as they are declared.
_WRITTEN = {
    row.spec: (
        f'["{kind}",{row.version},{{'.encode(),
        attrgetter(*(f.name for f in fields(row.spec))),
        tuple(
            (f.name, f'{"," if place else ""}"{f.name}":'.encode())
            for place, f in enumerate(fields(row.spec))
        ),
    )
    for kind, row in KINDS.items()
}


class Identity:
    """Remembers the JSON of Components by object: they are shared and never changed while it lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, bytes]] = {}

    def id(self, spec: Spec) -> str:
        """20 hex digits, the same as `plan.job_id(spec)`."""
        (text,) = self.pieces(spec, ())
        return hashlib.sha256(text).hexdigest()[:20]

    def pieces(self, spec: Spec, varying: Sequence[str]) -> list[bytes]:
        """The text of an id around the values of the fields `varying`."""
        text, values, named = _WRITTEN[type(spec)]
        pieces = []
        for (name, before), value in zip(named, values(spec), strict=True):
            text += before
            if name in varying:
                pieces.append(text)
                text = b""
            else:
                text += self.json(value)
        return [*pieces, text + b"}]"]

    def json(self, value: Any) -> bytes:
        """The value's bytes in the text of an id."""
        kind = type(value)
        if kind is str and value.isalnum() and value.isascii():
            # A call of orjson for a word costs more than all else here.
            return b'"%b"' % value.encode()
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if kind is dict:
            self._known[id(value)] = value, text
        return text


class SpecTemplate:
    """Specs like `first`, with other values in the fields `varying`, named in the order of the fields."""

    __slots__ = ("_begun", "_json", "_make", "_pieces", "_places", "_values")

    def __init__(self, identity: Identity, first: Spec, varying: tuple[str, ...]) -> None:
        self._json = identity.json
        begun, *self._pieces = identity.pieces(first, varying)
        self._begun = hashlib.sha256(begun)
        self._make: Callable[..., Spec] = type(first)
        names = [f.name for f in fields(first)]
        self._values = [getattr(first, name) for name in names]
        self._places = [names.index(name) for name in varying]

    def fill(self, *values: Any) -> tuple[str, Spec]:
        """(id, spec) with these values of the varying fields."""
        spec, hashed, text = self._values.copy(), self._begun.copy(), b""
        for value, place, piece in zip(values, self._places, self._pieces, strict=True):
            spec[place] = value
            text += (b"%d" % value if type(value) is int else self._json(value)) + piece
        hashed.update(text)
        return hashed.hexdigest()[:20], self._make(*spec)
