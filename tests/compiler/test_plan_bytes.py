"""Ids put together from shared parts for speed are those that the straightforward way makes; PLAN.json's layout."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import example, plan_of

from isoloss.compiler.jobs.spec_templates import Identity, SpecTemplate
from isoloss.compiler.plan import (
    KINDS,
    Plan,
    job_id,
)
from isoloss.compiler.plans import plan_json
from isoloss.compiler.plans.plan_json import plan_from_json, plan_to_json

words = st.text(max_size=12) | st.sampled_from(['","', "a\nb", "é\u2028", "\\", "\x7f", "abc012"])
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
components = st.dictionaries(words, words | numbers | st.none() | st.lists(words, max_size=3), max_size=4)


def _value(annotation: str) -> st.SearchStrategy[Any]:
    """A value for a field of a spec, by its annotation."""
    if "Component" in annotation:
        return components
    if annotation.startswith("tuple"):
        return st.lists(words, max_size=3).map(tuple)
    plain = words if annotation.startswith("str") else st.integers(0, 2**40)
    return plain | st.none() if annotation.endswith("None") else plain


def specs() -> st.SearchStrategy[Any]:
    """Specs of every kind, whatever their fields hold."""
    return st.one_of(
        st.builds(row.spec, **{f.name: _value(str(f.type)) for f in fields(row.spec)})
        for row in KINDS.values()
    )


@settings(deadline=None)
@given(st.lists(specs(), min_size=1, max_size=4))
def test_ids_are_those_of_the_plan(some: list[Any]) -> None:
    identity = Identity()
    for spec in [*some, *some]:
        assert identity.id(spec) == job_id(spec)


@settings(deadline=None)
@given(specs(), st.data())
def test_moulds_make_the_same_specs_and_ids(first: Any, data: st.DataObject) -> None:
    names = [f.name for f in fields(first)]
    varying = data.draw(
        st.lists(st.sampled_from(names), unique=True, min_size=1).map(lambda n: sorted(n, key=names.index))
    )
    values = [
        data.draw(_value(next(str(f.type) for f in fields(first) if f.name == name))) for name in varying
    ]
    wanted = replace(first, **dict(zip(varying, values, strict=True)))
    template = SpecTemplate(Identity(), first, tuple(varying))
    assert template.fill(*values) == (job_id(wanted), wanted)


@pytest.fixture(scope="module")
def base() -> Plan:
    return plan_of(example("quickstart"))


def test_a_plan_is_indented_while_it_can_be_read(base: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    text = plan_to_json(base)
    assert text.startswith(b'{\n  "format"')
    monkeypatch.setattr(plan_json, "READABLE_JOBS", len(base.jobs) - 1)
    long = plan_to_json(base)
    assert b"\n" not in long[:-1]
    assert orjson.loads(long) == orjson.loads(text)
    assert plan_from_json(long) == plan_from_json(text)
