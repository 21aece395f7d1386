"""Which observation is a point of which law: observations -> Points, measured FIDs, what is finished.

In: observations in any order. Out: the same whatever the order. Pure. Only runs of grids become points: what
an `allocate` trains tests the law and must not feed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.laws.points import Points
from isoloss.compiler.plan import Observation, frechet_space


@dataclass(frozen=True, slots=True)
class Run:
    """A chosen grid cell with the jobs that measure it. `metric` is "LOSS @ ATTACK", measured on `tested` images;
    None: not evaluated."""

    cell: Cell
    train: str
    tests: tuple[str, ...]
    metric: str | None
    tested: int | None = None


class Knowledge:
    """All observations of a compile, in one canonical order, indexed by job and by run."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self.observations = tuple(sorted(observations, key=_rank))
        self.finished = frozenset(o.job for o in self.observations)
        self._by_run: dict[str, list[Observation]] = {}
        self._by_job: dict[str, list[Observation]] = {}
        for observation in self.observations:
            self._by_job.setdefault(observation.job, []).append(observation)
            if observation.run is not None:
                self._by_run.setdefault(observation.run, []).append(observation)

    def of_job(self, job: str) -> Sequence[Observation]:
        return self._by_job.get(job, ())

    def fid(self, job: str) -> float | None:
        """The value a fid job measured; None: not yet."""
        return next((o.value for o in self.of_job(job) if frechet_space(o.metric) is not None), None)

    def complete(self, run: Run) -> bool:
        """Trained and evaluated."""
        return run.train in self.finished and all(test in self.finished for test in run.tests)

    def seconds(self, job: str) -> float | None:
        """Wall seconds of a whole job: its latest observation's; None where none was taken."""
        return max((o.seconds for o in self.of_job(job) if o.seconds), default=None)

    def curve(self, run: Run, value: str) -> list[tuple[Observation, float | None]]:
        """The evaluations of a run in order of images, one per number of images, each with its accuracy."""
        if run.metric is None:
            return []
        attack = run.metric.split(" @ ", 1)[1]
        mine = self._by_run.get(run.train, ())
        accuracies = {(o.job, o.images): o.value for o in mine if o.metric == f"accuracy @ {attack}"}
        wanted = f"loss {run.metric}" if value == "loss" else f"accuracy @ {attack}"
        found: dict[int, tuple[Observation, float | None]] = {}
        for o in mine:
            if o.metric == wanted and o.images:
                found.setdefault(o.images, (o, accuracies.get((o.job, o.images))))
        return [found[images] for images in sorted(found)]


def points(knowledge: Knowledge, runs: Iterable[Run], value: str = "loss") -> Points | None:
    """The points of completed runs. None without any. With `value` "accuracy" the law's loss is the error,
    1 - accuracy, at least half a test image so that its logarithm exists."""
    columns: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    groups: list[str] = []
    for run in runs:
        if not knowledge.complete(run):
            continue
        cell = run.cell
        for observation, accuracy in knowledge.curve(run, value):
            measured = observation.value
            if value == "accuracy":
                measured = max(1.0 - measured, 0.5 / (observation.count or 1000))
            images = float(observation.images or cell.drawn)
            row = {
                "params": float(cell.params),
                "images": images,
                "loss": measured,
                "fid": float("nan") if cell.fid is None else cell.fid,
                "flops": cell.flops_per_image * images,
                "fraction": min(1.0, images / cell.drawn),
                "accuracy": float("nan") if accuracy is None else accuracy,
            }
            if not measured > 0 or measured == float("inf"):
                continue
            for name, entry in row.items():
                columns[name].append(entry)
            groups.append(run.train)
    if not groups:
        return None
    return Points.build(run=groups, **columns)


_COLUMNS = ("params", "images", "loss", "fid", "flops", "fraction", "accuracy")


def measured_fids(knowledge: Knowledge, jobs: Mapping[str, str]) -> dict[str, float]:
    """FID by generator, from the fid job of each."""
    found = {generator: knowledge.fid(job) for generator, job in jobs.items()}
    return {generator: value for generator, value in found.items() if value is not None}


def _rank(o: Observation) -> tuple[str, str, float, float]:
    return o.job, o.metric, float(o.images or 0), o.value
