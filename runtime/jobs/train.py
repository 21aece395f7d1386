"""The train job: TrainSpec and shards -> weights.pt, curve.json and the curve's observations.

Resumes from the newest sound checkpoint in `work`; asked to stop, it saves one and raises Stopped."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import orjson
import torch

from isoloss.compiler.plan import Component, Observation, TrainSpec, loss_name
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import ImageSet, load
from isoloss.runtime.data.registry import describe
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.models import WEIGHTS_FILE
from isoloss.runtime.training import checkpoint, layout_choice, precision
from isoloss.runtime.training.engine import connect
from isoloss.runtime.training.feed import Feed, Source, open_source
from isoloss.runtime.training.layout import Layout, Memory
from isoloss.runtime.training.memory_estimate import measured, release
from isoloss.runtime.training.out_of_memory import ran_out
from isoloss.runtime.training.processes import agreed, check_same
from isoloss.runtime.training.trainer import Trainer, diverged, stream_key
from isoloss.runtime.training.training_evaluation import Probe, as_rows

#: Wall seconds between checkpoints: what a kill can cost.
CHECKPOINT_SECONDS = 30.0
#: Where a training on CUDA is compiled, in FLOPs: it has minutes of work at least, and a pass of its micro-batch
#: (attack and training) keeps the device busier than launching it keeps the host. By the job's own counts and its
#: layout, so that every attempt at it rounds alike. Measured by benchmarks/train_step_cuda.py: a pass of 3.7e11
#: (WRN-16-1, 256 images) is slower so, one of 1.1e13 (WRN-16-4, 512) faster; where between, and how long, is assumed.
COMPILED_FLOP, COMPILED_PASS_FLOP = 5e16, 5e12
#: Points of the training-loss curve among the observations; the whole curve is in curve.json.
CURVE_POINTS = 40


def run(context: JobContext) -> tuple[Observation, ...]:
    """Raises JobError (bad data, divergence, memory, a placement that changes the maths) or Stopped."""
    spec = context.job.spec
    assert isinstance(spec, TrainSpec)
    torch.set_num_threads(context.threads)
    with precision.switched(spec.numerics, context.device):
        feed = open_feed(spec, context)
        if context.world_size > 1:
            connect(context.device, context.rank, context.world_size)
        layout = layout_choice.choose(context)
        while True:
            trial = _Trial(spec, feed, layout, context)
            if (observations := trial.run()) is not None:
                return observations
            layout = layout_choice.after_shortage(context, layout, trial.shortage())
            del trial
            release(context.device)


class _Trial:
    """A training on one layout."""

    def __init__(self, spec: TrainSpec, feed: Feed, layout: Layout, context: JobContext) -> None:
        self._spec, self._feed, self._layout, self._context = spec, feed, layout, context
        self._trainer: Trainer | None = None

    def run(self) -> tuple[Observation, ...] | None:
        """None: it ran out of memory. (No exception is kept: its frames would keep the tensors.)"""
        try:
            return self._train()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        return None

    def shortage(self) -> Memory | None:
        """What it took, measured where that can be."""
        return None if self._trainer is None else measured(self._trainer, self._context.device)

    def _train(self) -> tuple[Observation, ...]:
        spec, context = self._spec, self._context
        fuse = _worth_compiling(context, self._layout)
        self._trainer = trainer = Trainer(spec, self._feed, context.device, self._layout, fuse)
        probe = None
        if spec.evaluation is not None:
            tested, images = str(spec.evaluation["split"]), spec.evaluation["images"]
            probe = Probe(spec, load(spec.dataset, tested, context.data_root, images), context.device)
        state = checkpoint.load_newest(context.work, context.device)
        seconds_before = 0.0
        if state is not None:
            trainer.restore(state)
            seconds_before = state["seconds"]
        del state
        check_same(context, trainer.position)
        clock = _Clock(seconds_before)
        _loop(trainer, probe, context, clock)
        if probe is not None and probe.chooses:
            # The curve's last point is a job of its own: here the end only stands for election.
            network = trainer.evaluated(probe.weights)
            trainer.offer(probe(network)[probe.score].value, probe.weights)
        _write(trainer, context, clock)
        return _observations(trainer, context, clock)


def _worth_compiling(context: JobContext, layout: Layout) -> bool:
    a_pass = (context.job.facts.flops_per_image or 0.0) * layout.micro_batch
    whole = context.job.cost.flops or 0.0
    return context.device.startswith("cuda") and whole >= COMPILED_FLOP and a_pass >= COMPILED_PASS_FLOP


class _Clock:
    """Wall seconds this run has trained for, over all its attempts."""

    def __init__(self, before: float) -> None:
        self._before, self._start = before, time.monotonic()
        self.saved = self._start

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start


def _loop(trainer: Trainer, probe: Probe | None, context: JobContext, clock: _Clock) -> None:
    name = f"train loss {loss_name(trainer.spec.recipe['loss'])}"
    total = trainer.spec.train_steps
    while not trainer.done:
        try:
            value = trainer.step()
        except JobError as error:
            raise checkpoint.with_what_is_kept(error, context.work) from error
        step = trainer.position
        trainer.curve.losses.append([step, value])
        context.log(name, value, step)
        if probe is not None and step in probe.steps:
            network = trainer.evaluated(probe.weights)
            rows = as_rows(step, measured := probe(network))
            for metric, seen in measured.items():
                if not math.isfinite(seen.value):
                    raise diverged(f"`{metric}`", seen.value, step, total)
            if probe.chooses:
                trainer.offer(measured[probe.score].value, probe.weights)
            trainer.network.train()
            for row in rows:
                row["seconds"] = clock.seconds
                context.log(row["metric"], row["value"], step)
            trainer.curve.evaluations.extend(rows)
        due = context.rank == 0 and time.monotonic() - clock.saved > CHECKPOINT_SECONDS
        stopping, due = agreed(context, context.stopping(), due)
        if stopping or due:
            _save(trainer, context, clock)
        if stopping:
            raise Stopped
        try:
            context.progress(step / total)
        except Stopped:
            # Asked between the two questions: save here too.
            _save(trainer, context, clock)
            raise


def _save(trainer: Trainer, context: JobContext, clock: _Clock) -> None:
    context.log.flush()
    state = trainer.state()  # of all processes; one writes it
    if context.rank == 0:
        checkpoint.save(context.work, trainer.position, state | {"seconds": clock.seconds})
    clock.saved = time.monotonic()


def open_feed(spec: TrainSpec, context: JobContext) -> Feed:
    """The images a spec trains on. Raises JobError: R401 missing, R404 of another form, R405 fewer than the spec
    says."""
    data, seed = spec.data, stream_key(spec)
    if data["kind"] != "mixed":
        sources = [_source(spec, data, "data", Fraction(1), seed, context)]
    else:
        share = Fraction(data["fraction"])
        sources = [
            _source(spec, data["generated"], "generated", share, seed, context),
            _source(spec, data["real"], "real", 1 - share, seed, context),
        ]
    batch = int(spec.recipe["batch"])
    # What can't be shared equally is refused where the batch is laid out.
    each = batch // context.world_size
    rows = context.rank * each, (context.rank + 1) * each
    return Feed(sources, batch, context.device, rows)


def _source(
    spec: TrainSpec, data: Component, name: str, share: Fraction, seed: int, context: JobContext
) -> Source:
    sets, images = _sets(data, spec, context)
    return open_source(sets, images, seed, context.device, name=name, share=share)


def _sets(data: Component, spec: TrainSpec, context: JobContext) -> tuple[list[ImageSet], int]:
    """Image sets, and how many of their images are trained on."""
    if data["kind"] == "real":
        wanted = data["images"]
        real = load(spec.dataset, "train", context.data_root, wanted)
        if wanted is not None and len(real) < wanted:
            raise JobError(
                "R405",
                f"{wanted:,} training images are needed, {spec.dataset['kind']} has {len(real):,}",
                f"write `images = {len(real)}` or leave it out",
            )
        return [real], len(real)
    row, images = describe(spec.dataset), int(data["images"])
    shards = open_shards([context.inputs[shard] for shard in data["shards"]], images, row.classes)
    if shards.shape != row.shape:
        raise JobError(
            "R404", f"images of {spec.dataset['kind']} are {row.shape}, the shards' are {shards.shape}"
        )
    return [ImageSet(pixels, labels, row.classes) for pixels, labels in shards.parts], images


def _write(trainer: Trainer, context: JobContext, clock: _Clock) -> None:
    """Artefacts of the finished run. Only rank 0 writes."""
    if context.rank:
        return
    spec = trainer.spec
    average = trainer.average
    best = trainer.best
    weights = {
        "live": _plain(trainer.network.state_dict()),
        "average": None if average is None else _plain(average.network.state_dict()),
        **({} if best is None else {"best": _plain(best.weights)}),
        "model": orjson.dumps(spec.model).decode(),
        "normalize": orjson.dumps(spec.recipe["normalize"]).decode(),
        "spec": hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).hexdigest(),
    }
    context.output.mkdir(parents=True, exist_ok=True)
    torch.save(weights, context.output / WEIGHTS_FILE)
    curve: dict[str, Any] = {
        "losses": trainer.curve.losses,
        "evaluations": trainer.curve.evaluations,
        "best": None if best is None else {"step": best.step, "score": best.score},
        "ledgers": [ledger.summary() for ledger in trainer.ledgers],
        # More than one: the same images, noise and formulas throughout, sums in another order.
        "layouts": trainer.layouts,
        "waited_seconds": trainer.feed.waited_seconds,
        "seconds": clock.seconds,
        "images_per_second": _images(trainer) / max(clock.seconds, 1e-9),
    }
    (context.output / "curve.json").write_bytes(orjson.dumps(curve))


def _plain(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, in the default memory layout: equal weights give equal files."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _images(trainer: Trainer) -> int:
    return trainer.position * trainer.feed.batch


def _observations(trainer: Trainer, context: JobContext, clock: _Clock) -> tuple[Observation, ...]:
    spec, curve = trainer.spec, trainer.curve
    name = f"train loss {loss_name(spec.recipe['loss'])}"
    kept = [_observe(context, spec, name, int(s), v) for s, v in _thinned(curve.losses)]
    for row in curve.evaluations:
        kept.append(
            _observe(
                context, spec, row["metric"], row["step"], row["value"],
                low=row["low"], high=row["high"], count=row["count"], seconds=row["seconds"],
            )
        )  # fmt: skip
    rate = _images(trainer) / max(clock.seconds, 1e-9)
    kept.append(_observe(context, spec, "images per second", spec.train_steps, rate, seconds=clock.seconds))
    return tuple(kept)


def _thinned(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """At most CURVE_POINTS of them, evenly spaced, the last included."""
    count = min(CURVE_POINTS, len(points))
    return [points[round((k + 1) * len(points) / count) - 1] for k in range(count)]


def _observe(
    context: JobContext, spec: TrainSpec, metric: str, step: int, value: float, **more: Any
) -> Observation:
    facts = context.job.facts
    images = step * int(spec.recipe["batch"])
    return Observation(
        job=context.job.id,
        kind="train",
        metric=metric,
        value=value,
        run=context.job.id,
        params=facts.params,
        images=images,
        fid=facts.fid,
        flops=None if facts.flops_per_image is None else images * facts.flops_per_image,
        fraction=step / spec.train_steps,
        seed=spec.seed,
        device=context.device,
        **more,
    )
