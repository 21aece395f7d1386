"""Study <-> JSON data, lossless, and the digest of its meaning.

PLAN.json carries a study so that a plan can be compiled again. Reading is strict: every field is there, has
its type, and nothing else is. Exact numbers are `{"rational": "8/255"}`, calls `{"call": name, "arguments":
…}`, expressions `{"const": …}`, `{"quantity": …}`, `{"operator": …, "operands": […]}` and `{"if": …, "then":
…, "else": …}`."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson

from isoloss.dsl.study import study as types
from isoloss.dsl.study.study import Call, Conditional, Const, Expr, Operation, Origin, Quantity, Study, Value

_RATIONAL = re.compile(r"-?[0-9]{1,400}(/[0-9]{1,400})?")


def study_to_json(study: Study) -> dict[str, Any]:
    """Plain JSON data: dicts, lists, strings, numbers, booleans, None."""
    data: dict[str, Any] = _encode(study, True)
    return data


def study_digest(study: Study) -> str:
    """64 hex digits of what the study means; where things stand, in files or on a command line, is not part of
    it."""
    text = orjson.dumps(_encode(study, False), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def study_from_json(data: Any) -> Study:
    """The study that `study_to_json` wrote. Raises ValueError naming the place of what doesn't fit."""
    try:
        return _record(Study, data, "study")  # type: ignore[no-any-return]
    except RecursionError:
        raise ValueError("study: nested too deeply") from None


def _encode(value: Any, origins: bool) -> Any:
    match value:
        case Fraction():
            # Without its denominator a whole one beyond 64 bits would come back as an integer.
            whole = value.denominator == 1 and abs(value) >= 2**63
            return {"rational": f"{value}/1" if whole else str(value)}
        # JSON's integers end at 64 bits here.
        case int() if not -(2**63) <= value < 2**63:
            return {"rational": str(value)}
        case Call():
            return {"call": value.kind, "arguments": {k: _encode(v, origins) for k, v in value.arguments}}
        case Const():
            return {"const": _encode(value.value, origins)}
        case Quantity():
            return {"quantity": value.name}
        case Operation():
            return {"operator": value.operator, "operands": [_encode(o, origins) for o in value.operands]}
        case Conditional():
            parts = {"if": value.test, "then": value.then, "else": value.otherwise}
            return {name: _encode(part, origins) for name, part in parts.items()}
        case tuple():
            return [_encode(item, origins) for item in value]
    if is_dataclass(value):
        kept = [f.name for f in fields(value) if origins or f.compare]
        return {name: _encode(getattr(value, name), origins) for name in kept}
    return value


# Reading.


def _fault(where: str, wanted: str, found: Any) -> ValueError:
    return ValueError(f"{where}: expected {wanted}, found {type(found).__name__}")


def _object(data: Any, keys: set[str], where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _fault(where, "an object", data)
    missing, unknown = keys - data.keys(), data.keys() - keys
    if missing or unknown:
        wrong = [f"no `{k}`" for k in sorted(missing)] + [f"unknown `{k}`" for k in sorted(map(str, unknown))]
        raise ValueError(f"{where}: {', '.join(wrong)}")
    return data


def _list(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise _fault(where, "a list", data)
    return list(data)


def _text(data: Any, where: str) -> str:
    if not isinstance(data, str):
        raise _fault(where, "a text", data)
    return data


def _record(cls: type, data: Any, where: str) -> Any:
    hints = _hints(cls)
    given = _object(data, set(hints), where)
    return cls(**{name: _decode(hint, given[name], f"{where}.{name}") for name, hint in hints.items()})


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, vars(types))


def _decode(hint: Any, data: Any, where: str) -> Any:
    """`data` as the type that a field of the Study declares."""
    special = _SPECIAL.get(hint)
    if special is not None:
        return special(data, where)
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), data, where)
    if get_origin(hint) in (Union, UnionType):
        if Call in get_args(hint):
            # The one recursive alias; resolving its forward reference makes it unequal to itself.
            return _value(data, where)
        if data is None and NoneType in get_args(hint):
            return None
        (inner,) = [a for a in get_args(hint) if a is not NoneType]
        return _decode(inner, data, where)
    return _record(hint, data, where)


def _tuple(arguments: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    assert arguments[-1] is Ellipsis, "the Study's tuples are of one type"
    return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(_list(data, where)))


def _int(data: Any, where: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise _fault(where, "a whole number", data)
    return data


def _float(data: Any, where: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
        raise _fault(where, "a number", data)
    return float(data)


def _value(data: Any, where: str) -> Value:
    if data is None or isinstance(data, bool | int | str):
        return data
    if isinstance(data, float):
        return _float(data, where)
    if isinstance(data, list | tuple):
        return tuple(_value(item, f"{where}[{i}]") for i, item in enumerate(data))
    if isinstance(data, dict) and "rational" in data:
        text = _text(_object(data, {"rational"}, where)["rational"], where)
        if not _RATIONAL.fullmatch(text) or (text.partition("/")[2].strip("0") == "" and "/" in text):
            raise ValueError(f"{where}: `{text[:40]}` is not a rational number")
        number = Fraction(text)
        return number if abs(number) < 2**63 or "/" in text else int(number)
    return _call(data, where)


def _call(data: Any, where: str) -> Call:
    given = _object(data, {"call", "arguments"}, where)
    arguments = given["arguments"]
    if not isinstance(arguments, dict):
        raise _fault(where, "an object", arguments)
    values = tuple((_text(k, where), _value(v, f"{where}.{k}")) for k, v in arguments.items())
    return Call(_text(given["call"], where), values)


def _expression(data: Any, where: str) -> Expr:
    if not isinstance(data, dict):
        raise _fault(where, "an expression", data)
    if "const" in data:
        return Const(_value(_object(data, {"const"}, where)["const"], where))
    if "quantity" in data:
        return Quantity(_text(_object(data, {"quantity"}, where)["quantity"], where))
    if "if" in data:
        given = _object(data, {"if", "then", "else"}, where)
        otherwise = None if given["else"] is None else _expression(given["else"], f"{where}.else")
        test, then = _expression(given["if"], f"{where}.if"), _expression(given["then"], f"{where}.then")
        return Conditional(test, then, otherwise)
    given = _object(data, {"operator", "operands"}, where)
    operator = _text(given["operator"], where)
    operands = [_expression(o, f"{where}.operands") for o in _list(given["operands"], where)]
    wanted = _ARITY.get(operator)
    if wanted is None or not (wanted == len(operands) or (wanted < 0 and operands)):
        raise ValueError(f"{where}: no operator `{operator[:20]}` of {len(operands)} operands")
    return Operation(operator, tuple(operands))


#: operator -> number of operands; -1: one and more.
_ARITY: Mapping[str, int] = {
    **dict.fromkeys(["+", "-", "*", "/", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or"], 2),
    **dict.fromkeys(["not", "neg"], 1),
    "in": -1,
}


def _boolean(data: Any, where: str) -> bool:
    if not isinstance(data, bool):
        raise _fault(where, "true or false", data)
    return data


_SPECIAL: dict[Any, Callable[[Any, str], Any]] = {
    str: _text,
    bool: _boolean,
    int: _int,
    float: _float,
    Call: _call,
    Expr: _expression,
    Expr | None: lambda data, where: None if data is None else _expression(data, where),
}

__all__ = ["Origin", "study_digest", "study_from_json", "study_to_json"]
