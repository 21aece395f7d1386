"""Our dataclasses do what the standard ones do, and objects made quickly are the ones that their class makes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.compiler.cells import Cell
from isoloss.compiler.plan import Cost, Facts, Job, Origin
from isoloss.dsl import frozen
from isoloss.dsl.frozen import maker
from isoloss.dsl.study import Axis, Call


def kinds(module: Any) -> SimpleNamespace:
    """The same classes, declared with the standard module or with ours."""
    dataclass, field = module.dataclass, module.field

    @dataclass(frozen=True)
    class Point:
        """Docs stay."""

        x: int
        y: int = 2
        span: str = field(default="nowhere", compare=False, repr=False)

        @property
        def sum(self) -> int:
            return self.x + self.y

    @dataclass(frozen=True, slots=True)
    class Slotted:
        x: int
        items: list[int] = field(default_factory=list, compare=False)

    @dataclass
    class Open:
        name: str
        items: list[int] = field(default_factory=list)

    @dataclass(frozen=True)
    class Empty:
        pass

    return SimpleNamespace(Point=Point, Slotted=Slotted, Open=Open, Empty=Empty, replace=module.replace)


STANDARD, OURS = kinds(dataclasses), kinds(frozen)
arguments = st.tuples(
    st.sampled_from(["Point", "Slotted", "Open", "Empty"]),
    st.lists(st.integers(0, 2), max_size=4),
    st.dictionaries(st.sampled_from(["x", "y", "span", "items", "name", "z"]), st.integers(0, 2), max_size=3),
)


def told(module: SimpleNamespace, call: tuple[str, list[int], dict[str, int]]) -> Any:
    """What one call gives: the object's facts, or that it is refused."""
    name, values, named = call
    try:
        made = getattr(module, name)(*values, **named)
    except TypeError:
        return "refused"
    again = getattr(module, name)(*values, **named)
    fields = [(f.name, f.default, f.compare, f.repr, f.init) for f in dataclasses.fields(made)]
    frozen_ = refuses(made)
    return (
        repr(made).replace("kinds.<locals>.", ""), made == again, made == 3, frozen_, type(made).__match_args__,
        [f[0] for f in fields], [f[2:] for f in fields], type(made).__doc__ and type(made).__doc__[:4],
        frozen_ and "list" not in repr(type(made).__hash__) and (hash(made) == hash(again)),
        dataclasses.asdict(made), copy.deepcopy(made) == made,
    )  # fmt: skip


def refuses(made: Any) -> bool:
    """Whether its fields can't be set."""
    name = next(iter(type(made).__match_args__), "x")
    try:
        setattr(made, name, getattr(made, name, 1))
    except dataclasses.FrozenInstanceError:
        return True
    return False


@given(arguments)
def test_calls_give_what_the_standard_ones_give(call: tuple[str, list[int], dict[str, int]]) -> None:
    ours, standard = told(OURS, call), told(STANDARD, call)
    if ours != "refused" and standard != "refused":
        # The standard one writes a docstring where there is none.
        ours, standard = [tuple(x for i, x in enumerate(t) if i != 7) for t in (ours, standard)]
    assert ours == standard


@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_equality_and_replace_are_the_standard_ones(x: int, y: int, u: int, v: int) -> None:
    for module in (OURS, STANDARD):
        one, two = module.Point(x, y, "a"), module.Point(u, v, "b")
        assert (one == two) == ((x, y) == (u, v))
        assert (one == two) <= (hash(one) == hash(two))
        assert module.replace(one, y=v) == dataclasses.replace(one, y=v) == module.Point(x, v)
        assert one.sum == x + y
    assert OURS.Point(x, y) != STANDARD.Point(x, y)


def test_the_languages_classes_are_dataclasses() -> None:
    axis = Axis(("model",), ((Call("cnn", (("width", 2),)),),))
    assert dataclasses.is_dataclass(axis)
    assert [f.name for f in dataclasses.fields(axis)][:2] == ["names", "values"]
    assert pickle.loads(pickle.dumps(axis)) == axis
    match axis:
        case Axis(names=(name,), values=((Call(kind=kind),),)):
            assert (name, kind) == ("model", "cnn")
        case _:
            raise AssertionError(axis)


def test_a_check_imports_lark_and_no_other_library() -> None:
    code = (
        "import sys; from isoloss.cli import main; status = main(['check', 'examples/robustness_limits.study']);"
        "slow = {'numpy', 'scipy', 'pydantic', 'orjson', 'torch', 'difflib'};"
        "sys.exit(f'loaded: {slow & set(sys.modules)}' if slow & set(sys.modules) else status)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr


# Objects made quickly.


def test_made_is_what_the_class_makes() -> None:
    values = ("1", "train", "a", (), None, Origin(), Cost(), "ready", "because", Facts())
    made, usual = maker(Job)(*values), Job(*values)  # type: ignore[arg-type]
    assert type(made) is Job
    assert made == usual
    assert hash(made.facts) == hash(usual.facts)
    assert repr(made) == repr(usual)
    assert pickle.loads(pickle.dumps(made)) == usual
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.id = "2"  # type: ignore[misc]
    cell = ("runs", Call("cnn"), "a", "b", 1, 2, 3, 0.1, 4, 5, 6, 7.0, None, False, Origin())
    assert maker(Cell)(*cell) == Cell(*cell)  # type: ignore[arg-type]


def test_all_fields_must_be_given() -> None:
    with pytest.raises(TypeError, match="missing"):
        maker(Facts)(3)


def test_a_class_that_can_not_be_made_so_is_refused() -> None:
    with pytest.raises(TypeError, match="slots"):
        maker(Call)
