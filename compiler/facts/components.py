"""Calls of the language -> Components of specs, and the typed names of what is measured.

Pure. A Component is identity: exact fractions become strings ("8/255"), nothing is rounded."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from isoloss.dsl.study.study import Call, Value

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component


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
        f"{call.kind}({', '.join(_number(plain(v)) for _, v in call.arguments)})"
        if call.arguments
        else call.kind
    )


def component_text(item: Component) -> str:
    """The same for a Component."""
    arguments = [_number(v) for name, v in item.items() if name != "kind" and v is not None]
    return f"{item['kind']}({', '.join(arguments)})" if arguments else str(item["kind"])


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def loss_name(loss: Component) -> str:
    """`trades(5)`, `mart(5)`, `pgd_at`, `natural`: what shapes training alone (label smoothing, entropy, a
    detached side, weights of a batch's halves, noise) is left out, it never enters an evaluation."""
    return f"{loss['kind']}({_number(loss['beta'])})" if "beta" in loss else str(loss["kind"])


def attack_name(attack: Component) -> str:
    """`pgd(40, cw, linf, 8/255)`, `autoattack(linf, 8/255)`, `clean` for no attack."""
    kind = attack["kind"]
    if kind == "none":
        return "clean"
    if kind == "pgd":
        return f"pgd({attack['steps']}, {attack['loss']}, {attack['norm']}, {_number(attack['eps'])})"
    if kind == "autoattack":
        return f"autoattack({attack['norm']}, {_number(attack['eps'])})"
    return component_text(attack)


def metric_name(loss: Component, attack: Component, split: str = "test") -> str:
    """The type under which a loss is measured: "trades(5) @ pgd(40, cw, linf, 8/255)", and on held-out training
    images "… on validation", so that no law takes one for the other."""
    return f"{loss_name(loss)} @ {attack_name(attack)}{'' if split == 'test' else f' on {split}'}"
