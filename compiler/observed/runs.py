"""Which observation is a point of which law: observations -> Points, measured FIDs, what is finished.

In: observations in any order. Out: the same whatever the order. Pure. Only runs of grids become points: what
an `allocate` trains tests the law and must not feed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.cost.scaling import alone_seconds
from isoloss.compiler.jobs.factory import RunJobs
from isoloss.compiler.laws.points import Points
from isoloss.compiler.plan import Observation, frechet_space, is_clean


@dataclass(frozen=True, slots=True)
class RunTest:
    """One evaluation of one run: the job that does it after training, what it measures ("LOSS @ ATTACK") on how many
    images, and whether the training repeats it on the way."""

    evaluation: str
    job: str
    metric: str
    clean: bool  # it attacks nothing
    tested: int
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A chosen grid cell with the jobs that measure it."""

    cell: Cell
    train: str
    tests: tuple[RunTest, ...]
    name: str = ""

    def test(self, evaluation: str | None) -> RunTest | None:
        """Its own test by an evaluation of the study; None: it has none."""
        return next((test for test in self.tests if test.evaluation == evaluation), None)


def run_of(jobs: RunJobs) -> Run:
    """A candidate as what observations are points of."""
    recipe_jobs = jobs.setup.recipe_jobs
    tests = [
        RunTest(test.evaluation, source.id, test.metric, test.clean, test.tested, test.repeated)
        for test, source in zip(recipe_jobs.measured, jobs.tests, strict=True)
    ]
    return Run(jobs.cell, jobs.train.id, tuple(tests), jobs.name)


class Knowledge:
    """All observations of a compile, in one canonical order, indexed by job and by run."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self.observations = tuple(sorted(observations, key=_rank))
        self.finished = frozenset(o.job for o in self.observations)
        self._by_job: dict[str, list[Observation]] = {}
        for observation in self.observations:
            self._by_job.setdefault(observation.job, []).append(observation)

    def of_job(self, job: str) -> Sequence[Observation]:
        return self._by_job.get(job, ())

    def fid(self, job: str) -> float | None:
        """The value a fid job measured; None: not yet."""
        return next((o.value for o in self.of_job(job) if frechet_space(o.metric) is not None), None)

    def complete(self, run: Run) -> bool:
        """Trained and evaluated."""
        return run.train in self.finished and all(test.job in self.finished for test in run.tests)

    def seconds(self, job: str) -> float | None:
        """Seconds of a whole job as one device would take them, by the plan's law of scaling: its latest observation's;
        None where none was taken."""
        taken = (alone_seconds(o.seconds * o.devices, o.devices) for o in self.of_job(job) if o.seconds)
        return max(taken, default=None)

    def measured(self, run: Run, evaluation: str | None) -> bool:
        """Trained, and tested by this evaluation."""
        test = run.test(evaluation)
        return run.train in self.finished and test is not None and test.job in self.finished

    def curve(self, run: Run, evaluation: str | None, value: str) -> list[tuple[Observation, float | None]]:
        """A run's points by one evaluation in order of images, one per number of images, each with its accuracy. Of its
        own jobs only: a job's id says what was done, a metric's name doesn't."""
        test = run.test(evaluation)
        if test is None:
            return []
        jobs = (run.train, test.job) if test.repeated else (test.job,)
        seen = [
            o for job in jobs for o in self.of_job(job) if o.images and (test.clean or not is_clean(o.metric))
        ]
        accuracies = {(o.job, o.images): o.value for o in seen if o.metric.startswith("accuracy ")}
        values = (o for o in seen if o.metric.startswith(f"{value} "))
        # A test after training stands for its number of images, not the last look on the way.
        points = {o.images: (o, accuracies.get((o.job, o.images))) for o in values}
        return [points[images] for images in sorted(points, key=lambda n: n or 0)]


def points(
    knowledge: Knowledge, runs: Iterable[Run], evaluation: str | None, value: str = "loss"
) -> Points | None:
    """The points of runs that are trained and tested by an evaluation of the study. None without any.

    With `value` "accuracy" the law's loss is the error, 1 - accuracy, at least half a test image so that its logarithm
    exists."""
    columns: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    groups: list[str] = []
    for run in runs:
        if not knowledge.measured(run, evaluation):
            continue
        cell = run.cell
        for observation, accuracy in knowledge.curve(run, evaluation, value):
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
