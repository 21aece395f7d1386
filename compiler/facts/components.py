"""Calls of the language -> Components of specs.

Pure. A Component is identity: exact fractions become strings ("8/255"), nothing is rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from isoloss.compiler.plan import Component, plain_number
from isoloss.dsl.study.study import Call, Value


def component(call: Call) -> Component:
    """`{"kind": ..., **arguments}`."""
    return {"kind": call.kind, **{name: plain(value) for name, value in call.arguments}}


class Components:
    """Called with a call: its Component. Equal calls give the same object, as long as this lives: specs share it, and
    caches that live no longer can key on it."""

    def __init__(self) -> None:
        self._of_call: dict[Call, Component] = {}
        #: id of a call -> (the call, so that the id stays its own; its Component). Hashing a call costs ten times more.
        self._of_object: dict[int, tuple[Call, Component]] = {}

    def __call__(self, call: Call) -> Component:
        known = self._of_object.get(id(call))
        if known is None:
            if call not in self._of_call:
                self._of_call[call] = component(call)
            known = self._of_object[id(call)] = call, self._of_call[call]
        return known[1]


def plain(value: Value) -> Any:
    """A language value as JSON data."""
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Call):
        return component(value)
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
