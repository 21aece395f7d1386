"""Objects made quickly are the ones that their class makes."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass

import pytest

from isoloss.compiler.cells import Cell
from isoloss.compiler.frozen import maker
from isoloss.compiler.plan import Cost, Facts, Job, Origin


def test_made_is_what_the_class_makes() -> None:
    values = ("1", "train", "a", (), None, Origin(), Cost(), "ready", "because")
    made, usual = maker(Job)(*values), Job(*values)  # type: ignore[arg-type]
    assert type(made) is Job
    assert made == usual
    assert hash(made.facts) == hash(Facts())
    assert repr(made) == repr(usual)
    assert pickle.loads(pickle.dumps(made)) == usual
    with pytest.raises(FrozenInstanceError):
        made.id = "2"  # type: ignore[misc]


def test_defaults_and_names_are_those_of_the_class() -> None:
    assert maker(Facts)(params=3) == Facts(params=3)
    assert maker(Cell) is maker(Cell)
    with pytest.raises(TypeError, match="missing"):
        maker(Cell)()  # type: ignore[call-arg]


def test_a_class_that_can_not_be_copied_is_refused() -> None:
    @dataclass(frozen=True)
    class Open:
        value: int

    with pytest.raises(TypeError, match="slots"):
        maker(Open)
