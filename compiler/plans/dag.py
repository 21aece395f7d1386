"""The jobs' graph: ids only, the jobs live in a mapping beside it (networkx).

In: Jobs. Out: an order in which needs precede users, ancestors, levels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isoloss.compiler.cost.scaling import wall_seconds
from isoloss.compiler.plan import Job


def order(jobs: Mapping[str, Job]) -> list[str]:
    """Ids so that needs precede users; among free ones, the order of insertion. Raises ValueError on a cycle.

    Kahn's algorithm on places in lists: a graph object for a hundred thousand jobs costs seconds."""
    ids = list(jobs)
    places = dict(zip(ids, range(len(ids)), strict=True))
    waiting = [0] * len(ids)
    users: list[list[int]] = [[] for _ in ids]
    for place, job in enumerate(jobs.values()):
        for need in job.needs:
            needed = places.get(need)
            if needed is not None:
                waiting[place] += 1
                users[needed].append(place)
    ready = [place for place, count in enumerate(waiting) if count == 0]
    for place in ready:
        for user in users[place]:
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    if len(ready) < len(ids):
        raise ValueError("the jobs need each other in a circle")
    return [ids[place] for place in ready]


def graph(jobs: Iterable[Job]) -> Any:
    """A networkx DiGraph of ids, edges from needs to users."""
    import networkx

    result: Any = networkx.DiGraph()
    known = list(jobs)
    result.add_nodes_from(job.id for job in known)
    inside = set(result)
    result.add_edges_from((need, job.id) for job in known for need in job.needs if need in inside)
    return result


def critical_path_seconds(jobs: Sequence[Job]) -> float:
    """The longest chain of needs in mid seconds, each job on its fewest devices; `jobs` ordered, needs first."""
    finish: dict[str, float] = {}
    # Jobs that differ only in seed share a Cost: each is asked once.
    walls: dict[int, float] = {}
    for job in jobs:
        begin, cost = 0.0, job.cost
        for need in job.needs:
            ends = finish.get(need, 0.0)
            begin = ends if ends > begin else begin
        seconds = walls.get(id(cost))
        if seconds is None:
            seconds = walls[id(cost)] = wall_seconds(cost) or 0.0
        finish[job.id] = begin if job.state == "done" else begin + seconds
    return max(finish.values(), default=0.0)
