"""The order of a plan's jobs and its longest chain are what the definitions say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.compiler.plan import Cost, FidSpec, Job, Origin, Range
from isoloss.compiler.plans.dag import critical_path_seconds, order


def job(name: str, needs: tuple[str, ...], seconds: float = 1.0, state: Any = "ready") -> Job:
    spec = FidSpec({}, {}, (), 1, 0)
    cost = Cost(seconds=Range(seconds, seconds, seconds))
    return Job(name, "fid", name, needs, spec, Origin(), cost, state, "")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Job]:
    """Jobs without circles, in any order of insertion; some need what is no job of the plan."""
    names = [f"j{n}" for n in range(draw(st.integers(1, 8)))]
    jobs = {}
    for place, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from([*names[:place], "elsewhere"]), unique=True))
        state = draw(st.sampled_from(["ready", "done"]))
        jobs[name] = job(name, tuple(needs), draw(st.integers(0, 9)), state)
    return {name: jobs[name] for name in draw(st.permutations(names))}


def levels(jobs: dict[str, Job]) -> dict[str, int]:
    """How many jobs are on the longest chain before each."""

    def level(name: str) -> int:
        return max((1 + level(need) for need in jobs[name].needs if need in jobs), default=0)

    return {name: level(name) for name in jobs}


@given(graphs())
def test_needs_precede_users_and_the_free_ones_stand_as_inserted(jobs: dict[str, Job]) -> None:
    found, deep = order(jobs), levels(jobs)
    assert sorted(found) == sorted(jobs)
    # A job follows when its last need is done: by levels, and all free ones at first as they were inserted.
    assert [deep[name] for name in found] == sorted(deep.values())
    free = [name for name in jobs if deep[name] == 0]
    assert found[: len(free)] == free


@given(graphs())
def test_the_longest_chain_is_that_of_all_walks(jobs: dict[str, Job]) -> None:
    def ends(name: str) -> float:
        one = jobs[name]
        own = 0.0 if one.state == "done" else one.cost.seconds.mid  # type: ignore[union-attr]
        return own + max((ends(need) for need in one.needs if need in jobs), default=0.0)

    wanted = max(map(ends, jobs))
    assert critical_path_seconds([jobs[name] for name in order(jobs)]) == wanted


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        order({"a": job("a", ("b",)), "b": job("b", ("a",)), "c": job("c", ())})
