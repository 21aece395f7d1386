"""Jobs -> job arrays: equal jobs become one array, and what a job needs becomes a dependency between arrays.

In: jobs, and those of their needs that Slurm has already. Out: `Group`s in an order in which each comes after
what it depends on. Pure: no Slurm, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from isoloss.compiler.plan import Job
from isoloss.runtime.executors.base import in_order

#: Slurm's default MaxArraySize is 1001: indices 0 to 1000.
MAX_TASKS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """One task: which array, which index."""

    group: str
    index: int


@dataclass
class Group:
    """One array of jobs of one kind, each on as many `devices`. Its tasks wait for all of `after` and of `after_slurm`
    (ids of tasks that Slurm had before); with `like`, each waits for the task with its own index in that group
    (`aftercorr`)."""

    name: str
    kind: str
    devices: int
    after: tuple[Place, ...] = ()
    after_slurm: tuple[str, ...] = ()
    like: str | None = None
    tasks: dict[int, Job] = field(default_factory=dict)


def arrange(
    jobs: Sequence[Job], attached: Mapping[str, str], devices: Callable[[Job], int] = lambda job: 1
) -> list[Group]:
    """Arrays for `jobs`, those that take equally many `devices` together. `attached` maps jobs that Slurm has already
    to their task ids. Needs that are in neither are taken for done."""
    made = _Arrangement(attached, devices)
    for level in _levels(jobs):
        made.add(level)
    return made.groups


def _levels(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs by the length of the longest chain of needs before them."""
    depth: dict[str, int] = {}
    levels: list[list[Job]] = []
    for job in in_order(jobs):
        depth[job.id] = 1 + max((depth[need] for need in job.needs if need in depth), default=-1)
        if depth[job.id] == len(levels):
            levels.append([])
        levels[depth[job.id]].append(job)
    return levels


class _Arrangement:
    def __init__(self, attached: Mapping[str, str], devices: Callable[[Job], int]) -> None:
        self.groups: list[Group] = []
        self._attached, self._devices = attached, devices
        self._places: dict[str, Place] = {}
        self._open: dict[Hashable, Group] = {}

    def add(self, level: Sequence[Job]) -> None:
        self._open = {}
        matched = self._one_to_one(level)
        for job in level:
            here, before = self._needs(job)
            if not before and len(here) == 1 and (job.kind, here[0].group) in matched:
                self._add_matched(job, here[0])
            else:
                self._append(job, here, before)

    def _needs(self, job: Job) -> tuple[tuple[Place, ...], tuple[str, ...]]:
        here = tuple(self._places[need] for need in job.needs if need in self._places)
        before = tuple(self._attached[need] for need in job.needs if need in self._attached)
        return tuple(sorted(here, key=lambda p: (p.group, p.index))), tuple(sorted(before))

    def _one_to_one(self, level: Sequence[Job]) -> set[tuple[str, str]]:
        """(kind, needed group) where index-by-index dependencies take fewer arrays than one array per need:
        evaluations of many trainings, but not many trainings on one shard."""
        users: dict[tuple[str, str], Counter[int]] = {}
        for job in level:
            here, before = self._needs(job)
            if len(here) == 1 and not before:
                users.setdefault((job.kind, here[0].group), Counter())[here[0].index] += 1
        return {key for key, counts in users.items() if max(counts.values()) < len(counts)}

    def _add_matched(self, job: Job, need: Place) -> None:
        turn = 0
        while True:
            key = (job.kind, self._devices(job), need.group, turn)
            group = self._open.get(key) or self._new(key, job, like=need.group)
            if need.index not in group.tasks:
                self._put(job, group, need.index)
                return
            turn += 1

    def _append(self, job: Job, here: tuple[Place, ...], before: tuple[str, ...]) -> None:
        key = (job.kind, self._devices(job), here, before)
        group = self._open.get(key)
        if group is None or len(group.tasks) == MAX_TASKS:
            group = self._new(key, job, after=here, after_slurm=before)
        self._put(job, group, len(group.tasks))

    def _new(
        self,
        key: Hashable,
        job: Job,
        after: tuple[Place, ...] = (),
        after_slurm: tuple[str, ...] = (),
        like: str | None = None,
    ) -> Group:
        name = f"{len(self.groups)}-{job.kind}"
        group = Group(name, job.kind, self._devices(job), after, after_slurm, like)
        self.groups.append(group)
        self._open[key] = group
        return group

    def _put(self, job: Job, group: Group, index: int) -> None:
        group.tasks[index] = job
        self._places[job.id] = Place(group.name, index)
