"""Dataclasses that cost nothing to declare, and frozen objects made as quickly as ordinary ones.

The standard decorator writes and compiles the source of six methods for every class, and imports `inspect` for it:
with the language's seventy classes that was half of the time of a `check`. `dataclass` does here what the language
needs of it (defaults, equality, hash, repr, match, frozen, slots, `dataclasses.fields` and `replace`) and compiles
nothing. Type checkers see the standard one; a test holds both equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
else:

    def dataclass(cls=None, *, frozen=False, slots=False):
        """For classes that inherit from no other dataclass."""
        return _declared(cls, frozen, slots) if cls else lambda cls: _declared(cls, frozen, slots)

    def field(**said):
        """`default`, `default_factory`, `compare`, `repr`, as in the standard one."""
        return Field(**said)

    def replace(obj, /, **changes):
        """A copy with other values of some fields."""
        return type(obj)(**{name: getattr(obj, name) for name in obj.__match_args__} | changes)


_MISSING: Any = object()


class Field:
    """What is said of one field of a class."""

    __slots__ = ("compare", "default", "factory", "repr")

    def __init__(
        self,
        default: Any = _MISSING,
        default_factory: Callable[[], Any] | None = None,
        compare: bool = True,
        repr: bool = True,
    ) -> None:
        self.default, self.factory, self.compare, self.repr = default, default_factory, compare, repr


def _declared(cls: Any, frozen: bool, slots: bool) -> Any:
    said = vars(cls)
    fields: dict[str, Field] = {}
    for name in said.get("__annotations__", ()):
        value = said.get(name, _MISSING)
        fields[name] = value if type(value) is Field else Field(value)
    members = {name: member for name, member in _members(fields, frozen).items() if name not in said}
    if slots:
        kept = {n: v for n, v in said.items() if n not in fields and n not in ("__dict__", "__weakref__")}
        return type(cls)(cls.__name__, cls.__bases__, {**kept, **members, "__slots__": tuple(fields)})
    for name, value in fields.items():
        if value.default is not _MISSING:
            members[name] = value.default
        elif value.factory is not None:
            delattr(cls, name)
    for name, member in members.items():
        setattr(cls, name, member)
    return cls


def _members(fields: Mapping[str, Field], frozen: bool) -> dict[str, Any]:
    """What the decorator gives a class with these fields."""
    names = tuple(fields)
    count, put = len(names), object.__setattr__
    compared = [name for name in names if fields[name].compare]
    shown = [name for name in names if fields[name].repr]
    values: Callable[[Any], Any] = attrgetter(*compared) if compared else lambda self: ()

    def init(self: Any, *args: Any, **named: Any) -> None:
        if named or len(args) != count:
            args = tuple(_filled(type(self).__name__, fields, args, named))
        for name, value in zip(names, args):  # noqa: B905
            put(self, name, value)

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    def text(self: Any) -> str:
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({inside})"

    members: dict[str, Any] = {
        "__init__": init,
        "__eq__": equal,
        "__repr__": text,
        "__hash__": hashed if frozen else None,
        "__match_args__": names,
        "__dataclass_fields__": _StandardFields(fields),
    }
    if frozen:
        # As the standard one: copies and pickles must not go through __setattr__.
        members["__getstate__"] = lambda self: [getattr(self, name) for name in names]
        members["__setstate__"] = lambda self, values: [*map(put, repeat(self), names, values)] and None
        members["__setattr__"] = members["__delattr__"] = _refuse
    return members


def _filled(
    title: str, fields: Mapping[str, Field], args: tuple[Any, ...], named: dict[str, Any]
) -> list[Any]:
    """The values of all fields. Raises TypeError where one is missing or unknown."""
    values = list(args)
    for name, said in list(fields.items())[len(args) :]:
        if name in named:
            values.append(named.pop(name))
        elif said.default is not _MISSING:
            values.append(said.default)
        elif said.factory is not None:
            values.append(said.factory())
        else:
            raise TypeError(f"{title}() is missing `{name}`")
    if named or len(values) > len(fields):
        more = ", ".join(f"`{name}`" for name in named) or f"{len(values) - len(fields)} values"
        raise TypeError(f"{title}() takes no {more} more")
    return values


def _refuse(self: Any, name: str, *value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(
        f"cannot assign to field {name!r}" if value else f"cannot delete field {name!r}"
    )


class _StandardFields:
    """`__dataclass_fields__`, made when somebody asks: `dataclasses` takes as long to import as a study to check."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields

    def __get__(self, instance: Any, owner: Any) -> Any:
        import dataclasses

        members: dict[str, Any] = {"__doc__": "", "__annotations__": owner.__annotations__}
        for name, said in self._fields.items():
            shown: dict[str, Any] = {"compare": said.compare, "repr": said.repr}
            if said.default is not _MISSING:
                shown["default"] = said.default
            elif said.factory is not None:
                shown["default_factory"] = said.factory
            members[name] = dataclasses.field(**shown)
        alike: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(
            type(owner.__name__, (), members)
        )
        type.__setattr__(owner, "__dataclass_fields__", alike.__dataclass_fields__)
        return alike.__dataclass_fields__


def maker(cls: Callable[P, T]) -> Callable[P, T]:
    """A function that makes what the frozen, slotted dataclass `cls`, standard or ours, would, from all its fields.

    A frozen object sets each field through `object.__setattr__`, at five times the price of an assignment. This
    fills an object of an unfrozen twin and turns it into one of `cls`: the language lets an object change its class
    where both have the same slots. Raises TypeError for a class without."""
    made: Callable[P, T] = _maker(cls)
    return made


@cache
def _maker(cls: Any) -> Any:
    names = cls.__match_args__
    if vars(cls).get("__slots__") != names or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} must have slots, and nothing to do after its fields are set")
    twin = type(cls.__name__, (), {"__slots__": names})
    fill = "; ".join(f"made.{name} = {name}" for name in names)
    known: dict[str, Any] = {"twin": twin, "final": cls}
    exec(f"def make({', '.join(names)}): made = twin(); {fill}; made.__class__ = final; return made", known)
    return known["make"]
