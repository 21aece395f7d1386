"""What MLflow is still to be told, run by run, in as few calls as it takes.

In: points, params, tags. Out: `log_batch` calls. A call costs milliseconds and a point in it 0.1 ms, so a job's curve,
its spec and its state travel together. A point that MLflow has is not sent twice: a resumed job comes by the steps
after its checkpoint again, with equal values.

Loads mlflow; runs only in the tracking process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: MLflow's own limits for one log_batch.
_MOST_METRICS, _MOST_PARAMS, _MOST_TAGS, _MOST_TOGETHER = 1000, 100, 100, 1000
#: Answers that mean "this will never be accepted", as opposed to "not now".
REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}

#: Metric, step, value, milliseconds since the epoch.
Point = tuple[str, int, float, int]


@dataclass
class _Letter:
    """To one run."""

    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Outbox:
    """`steps` (run -> metric -> last step sent) is the mirror's memory; `refused` collects what MLflow will never
    take, with its reason."""

    def __init__(self, client: Any, steps: dict[str, dict[str, int]]) -> None:
        self._client = client
        self._steps = steps
        self._letters: dict[str, _Letter] = {}
        self.refused: list[str] = []

    def points(self, run: str, points: Sequence[Point]) -> None:
        """Raises what MLflow raises, other than refusals: full batches are sent at once."""
        letter = self._letters.setdefault(run, _Letter())
        letter.points.extend(points)
        if len(letter.points) >= _MOST_METRICS:
            self.send(run)

    def has(self, run: str, metric: str) -> bool:
        """Was, or will be, any point of this metric told?"""
        letter = self._letters.get(run, _Letter())
        return metric in self._steps.get(run, ()) or any(point[0] == metric for point in letter.points)

    def params(self, run: str, params: Mapping[str, str]) -> None:
        self._letters.setdefault(run, _Letter()).params.update(params)

    def tags(self, run: str, tags: Mapping[str, str]) -> None:
        self._letters.setdefault(run, _Letter()).tags.update(tags)

    def send_all(self, live: Callable[[], None] = lambda: None) -> None:
        """`live` is called after each run's."""
        for run in list(self._letters):
            self.send(run)
            live()

    def send(self, run: str) -> None:
        """Everything for one run. Raises what MLflow raises, other than refusals; then nothing is forgotten."""
        letter = self._letters.get(run)
        if letter is None:
            return
        fresh = list(self._fresh(run, letter.points))
        params, tags = list(letter.params.items()), list(letter.tags.items())
        together = len(params) <= _MOST_PARAMS and len(tags) <= _MOST_TAGS
        if (
            not together
            or len(fresh) + len(params) + len(tags) > _MOST_TOGETHER
            or not self._sent(run, fresh, params, tags)
        ):
            for batch in _batches(params, _MOST_PARAMS):
                self._sent(run, (), batch, (), alone=True)
            for batch in _batches(tags, _MOST_TAGS):
                self._sent(run, (), (), batch, alone=True)
            for points in _batches(fresh, _MOST_METRICS):
                self._sent(run, points, (), (), alone=True)
        del self._letters[run]

    def _fresh(self, run: str, points: Sequence[Point]) -> Iterator[Point]:
        last = dict(self._steps.get(run, {}))
        for point in points:
            if point[1] > last.get(point[0], -1):
                last[point[0]] = point[1]
                yield point

    def _sent(
        self,
        run: str,
        points: Sequence[Point],
        params: Sequence[tuple[str, str]],
        tags: Sequence[tuple[str, str]],
        alone: bool = False,
    ) -> bool:
        """One call. False: refused; `alone`, and so given up."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(name, value, ms, step) for name, step, value, ms in points]
        try:
            self._client.log_batch(run, metrics, [Param(*p) for p in params], [RunTag(*t) for t in tags])
        except Exception as error:
            if getattr(error, "error_code", None) not in REFUSALS:
                raise
            if alone:
                what = "metrics" if points else "params" if params else "tags"
                self.refused.append(f"{what} of run {run}: {error}")
            return False
        sent = self._steps.setdefault(run, {})
        for name, step, _, _ in points:
            sent[name] = max(step, sent.get(name, -1))
        return True


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
