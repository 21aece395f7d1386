"""Observations and jobs -> what was measured of each trained network, along its training.

Points of an evaluate job stand before those that the training itself measured at the same fraction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from isoloss.compiler.plan import Facts, Job, Observation

#: Fractions are images over images; one step of rounding is still the end.
FINISHED = 0.999


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation of a run. `value` with its 95 % interval where one is known."""

    fraction: float
    images: float
    flops: float | None
    value: float
    low: float | None
    high: float | None
    count: int | None


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """One trained network and what was measured of it; `loss` and `accuracy` map a metric to its points in
    order of fraction."""

    id: str
    name: str
    params: int
    images: int
    facts: Facts
    loss: Mapping[str, tuple[Point, ...]]
    accuracy: Mapping[str, tuple[Point, ...]]

    def best(self, metric: str, floor: float = 0.5) -> Point | None:
        """The lowest loss at or after `floor` of training: the point a law is fitted to by default."""
        points = [p for p in self.loss.get(metric, ()) if p.fraction >= floor]
        return min(points, key=lambda p: p.value, default=None)

    def last(self, metric: str) -> Point | None:
        """The latest point of a loss or accuracy metric, finished or not."""
        points = self.loss.get(metric) or self.accuracy.get(metric) or ()
        return points[-1] if points else None

    def final(self, metric: str) -> Point | None:
        """The point at the end of training; None while the run has none."""
        point = self.last(metric)
        return point if point is not None and point.fraction >= FINISHED else None


def networks_of(
    jobs: Mapping[str, Job], observations: tuple[Observation, ...], any_job: bool
) -> tuple[TrainedNetwork, ...]:
    points: dict[str, dict[str, dict[float, Point]]] = {}
    shape: dict[str, tuple[int, int]] = {}
    for o in observations:
        if o.run is None or o.fraction is None or not re.match(r"(loss|accuracy) ", o.metric):
            continue
        if not any_job and o.run not in jobs:
            continue  # of another study in the same store
        images = o.images or 0
        point = Point(o.fraction, images, o.flops, o.value, o.low, o.high, o.count)
        # Evaluations come after training: at the same fraction the evaluate job's point stands.
        by_fraction = points.setdefault(o.run, {}).setdefault(o.metric, {})
        if o.fraction not in by_fraction or o.kind == "evaluate":
            by_fraction[o.fraction] = point
        params, most = shape.get(o.run, (0, 0))
        shape[o.run] = (o.params or params, max(most, round(images / o.fraction) if o.fraction else images))
    networks = [_network(id, jobs.get(id), metrics, shape[id]) for id, metrics in points.items()]
    return tuple(sorted(networks, key=lambda r: (r.params, r.images, r.name, r.id)))


def _network(
    id: str, job: Job | None, metrics: dict[str, dict[float, Point]], shape: tuple[int, int]
) -> TrainedNetwork:
    facts = job.facts if job else Facts()
    curves = {m: tuple(p for _, p in sorted(points.items())) for m, points in metrics.items()}
    return TrainedNetwork(
        id=id,
        name=job.name if job else id,
        params=facts.params or shape[0],
        images=facts.images or shape[1],
        facts=facts,
        loss={m: c for m, c in curves.items() if m.startswith("loss ")},
        accuracy={m: c for m, c in curves.items() if m.startswith("accuracy ")},
    )
