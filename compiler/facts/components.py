"""Calls of the language -> Components of specs.

Pure. A Component is identity: exact fractions become strings ("8/255"), nothing is rounded."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

from isoloss.compiler.plan import Component, plain_number
from isoloss.dsl.study.study import Call, Value


def component(call: Call) -> Component:
    """`{"kind": ..., **arguments}`. Equal calls give the same object: specs share it, and caches can key on
    it."""
    known = _BY_OBJECT.get(id(call))
    if known is None:
        while len(_BY_OBJECT) >= _KEPT:
            del _BY_OBJECT[next(iter(_BY_OBJECT))]
        known = _BY_OBJECT[id(call)] = call, _component(call)
    return known[1]


#: id of a call -> (the call, so that the id stays its own; its Component). Hashing a call costs ten times
#: more.
_BY_OBJECT: dict[int, tuple[Call, dict[str, Any]]] = {}
_KEPT = 65536


@lru_cache(maxsize=65536)
def _component(call: Call) -> dict[str, Any]:
    return {"kind": call.kind, **{name: plain(value) for name, value in call.arguments}}


def plain(value: Value) -> Any:
    """A language value as JSON data."""
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Call):
        return _component(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def call_text(call: Call) -> str:
    """A call in short, for names: `wrn(28, 4)`, `cnn(2)`."""
    return (
        f"{call.kind}({', '.join(plain_number(plain(v)) for _, v in call.arguments)})"
        if call.arguments
        else call.kind
    )
