"""A store as a finished (or unfinished) study leaves it, with values drawn from the paper's published law.

SYNTHETIC: no network was trained. Losses are Approach 2 of Bartoldson et al. 2024 (full-precision constants)
times log-normal noise; accuracies the paper's line; sample images made-up blobs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isoloss import forecast_ledger
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.laws.fitting.fit import FitOptions, fit_law
from isoloss.compiler.laws.fitting.fit_json import fit_to_json
from isoloss.compiler.laws.points import Points
from isoloss.compiler.plan import (
    FORMAT,
    Answer,
    Basis,
    Cost,
    DenoiserSpec,
    DiscriminatorSpec,
    EvaluateSpec,
    Facts,
    FidSpec,
    GenerateSpec,
    Job,
    Observation,
    Origin,
    Plan,
    Range,
    TrainSpec,
    Warn,
    job_id,
)
from isoloss.compiler.plans.plan_json import plan_to_json
from isoloss.runtime.store.result import Run
from isoloss.runtime.store.store import Store

MODELS = {
    (28, 4): 5_849_050,
    (40, 4): 8_949_210,
    (28, 12): 52_517_850,
    (82, 12): 177_977_562,
    (82, 16): 316_356_058,
}
GENERATORS = {"edm5": 35.54, "edm10": 2.48, "dg": 1.65}
SAMPLERS: dict[str, dict[str, Any]] = {
    "edm5": {"kind": "edm", "steps": 5},
    "edm10": {"kind": "edm", "steps": 10},
    "dg": {"kind": "dg", "steps": 20},
}
IMAGES = (5_017_600, 10_035_200, 30_720_000, 102_400_000)
FLOPS_PER_IMAGE = 7822.0  # times N
ATTACK = "pgd(40, cw, linf, 8/255)"
LOSS, ROBUST, CLEAN = f"loss trades(5) @ {ATTACK}", f"accuracy @ {ATTACK}", "accuracy @ clean"
CIFAR: dict[str, Any] = {"kind": "cifar10"}
PGD: dict[str, Any] = {"kind": "pgd", "norm": "linf", "eps": "8/255", "steps": 40, "loss": "cw"}
TRADES: dict[str, Any] = {"kind": "trades", "beta": 5, "label_smoothing": 0.1}
RECIPE: dict[str, Any] = {
    "loss": TRADES,
    "attack": {"kind": "pgd", "norm": "linf", "eps": "8/255", "step": "2/255", "steps": 10},
    "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "schedule": {"kind": "cosine", "warmup": 0.025},
    "average": {"kind": "ema", "decay": 0.995},
    "normalize": {"kind": "none"},
    "batch": 1024,
    "lr": 0.2,
    "clip": None,
}
COUNT = 10_000
LAW_NAMES = {"quality": "approach2", "bottleneck": "approach3"}
NUM_SAMPLES = 16


def published_loss(params: float, images: float, fid: float) -> float:
    """Approach 2 of the paper, full precision, at any FID."""
    q = (1 + fid) / 2.65
    floor = 0.5603731625795364 * q**0.15552449537214338
    data = 7.551688897933183 * q**-0.2767735799358655
    return floor + 6.686980024164729 * params**-0.24434519315396275 + data * images**-0.2281458937440602


def accuracy_of(loss: float) -> float:
    return 1.2575 - 0.7496 * loss


@dataclass
class Made:
    """One job, what it observed, what it left."""

    job: Job
    observations: tuple[Observation, ...]
    seconds: float


def study_json(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "dataset": CIFAR,
        "generators": [
            {"name": g, "sampler": {"kind": "edm", "steps": 5}, "fid": f} for g, f in GENERATORS.items()
        ],
        "recipes": [{"name": "trades", **RECIPE}],
        "evaluations": [{"name": "robust", "attack": PGD, "weights": "average", "images": None}],
        "fits": [
            {"name": n, "law": law, "points": "best", "floor": 0.5, "to": {"grid": "runs", "where": None}}
            for n, law in LAW_NAMES.items()
        ],
        "forecasts": [
            {"name": "limit", "laws": ["quality"], "fid": 0, "compute_flops": 1e25, "within": 0.02}
        ],
        "allocations": [
            {"name": "sota", "laws": ["quality", "bottleneck"], "generators": ["dg"], "compute_flops": 1e21}
        ],
        "profile": None,
    }


def _job(
    kind: Any, name: str, spec: Any, needs: tuple[str, ...], facts: Facts, flops: float, line: int
) -> Job:
    seconds = 20 + flops / 4e14
    cost = Cost(
        flops=flops,
        seconds=Range(0.6 * seconds, seconds, 1.7 * seconds),
        usd=Range(0.6 * seconds / 1500, seconds / 1500, 1.7 * seconds / 1500),
        memory_bytes=3.2e9,
    )
    origin = Origin("synthetic.study", line, 3)
    return Job(
        job_id(spec),
        kind,
        name,
        needs,
        spec,
        origin,
        cost,
        "done",
        f"{kind} of the synthetic grid",
        facts,
    )


def _interval(value: float, count: int) -> tuple[float, float]:
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-9) / count)
    return value - half, value + half


def _train(
    model: tuple[int, int], generator: str, images: int, shard: str, allocation: str | None, rng: Any
) -> Iterator[Made]:
    params, fid = MODELS[model], GENERATORS[generator]
    name = f"wrn-{model[0]}-{model[1]}/{generator}/{images / 1e6:.0f}M"
    component = {"kind": "wrn", "depth": model[0], "width": model[1]}
    data = {"kind": "generated", "shards": [shard], "images": images}
    spec = TrainSpec(
        CIFAR,
        component,
        data,
        RECIPE,
        images // 1024,
        49,
        {"attack": PGD},
        7,
        {"dtype": "fp32", "tf32": False},
    )
    facts = Facts(
        params=params,
        images=images,
        flops_per_image=FLOPS_PER_IMAGE * params,
        generator=generator,
        fid=fid,
        grid=None if allocation else "runs",
        allocation=allocation,
    )
    flops = FLOPS_PER_IMAGE * params * images
    job = _job("train", f"train/{name}", spec, (shard,), facts, flops, 30)
    noise = float(rng.normal(0, 0.004))

    def point(fraction: float, of: Job) -> tuple[Observation, ...]:
        # Early in a schedule the loss stands above the law's value for the images seen so far.
        late = 1 + 0.25 * (1 - fraction) ** 1.5
        loss = published_loss(params, images * fraction, fid) * late * math.exp(noise)
        accuracy = accuracy_of(loss) + float(rng.normal(0, 0.002))
        common: dict[str, Any] = {
            "job": of.id,
            "kind": of.kind,
            "run": job.id,
            "params": params,
            "images": round(images * fraction),
            "fid": fid,
            "flops": flops * fraction,
            "fraction": fraction,
            "seed": 7,
            "device": "cuda:0",
            "count": COUNT,
        }
        low, high = _interval(accuracy, COUNT)
        clean = min(0.97, accuracy + 0.2)
        return (
            Observation(metric=LOSS, value=loss, low=loss - 0.012, high=loss + 0.012, **common),
            Observation(metric=ROBUST, value=accuracy, low=low, high=high, **common),
            Observation(metric=CLEAN, value=clean, low=clean - 0.004, high=clean + 0.004, **common),
        )

    fractions = [k / 10 for k in range(1, 10)]
    took = job.cost.seconds.mid * math.exp(float(rng.normal(0, 0.2))) if job.cost.seconds else 0.0
    yield Made(job, tuple(o for f in fractions for o in point(f, job)[:2]), took)
    tested = EvaluateSpec(CIFAR, job.id, component, {"kind": "none"}, PGD, TRADES, "average", "test", None, 7)
    evaluation = _job(
        "evaluate",
        f"evaluate/{name}",
        tested,
        (job.id,),
        replace(facts, evaluation="robust"),
        flops / 500,
        41,
    )
    yield Made(evaluation, point(1.0, evaluation), 30 + flops / 2e17)


def _measured(job: Job, fid: float) -> Iterator[Observation]:
    """A distance, and what else a fid job measures beside it."""
    values = {
        "fid @ inception": fid,
        "kid @ inception": fid / 1000,
        "precision @ inception": 0.8 - fid / 100,
        "recall @ inception": 0.6,
        "memorisation @ inception": 0.05,
        "agreement @ resnet18": 0.9 - fid / 100,
    }
    for metric, value in values.items():
        known = fid if metric.startswith("fid") else None
        yield Observation(job.id, "fid", metric, value, 0.97 * value, 1.03 * value, 10_000, fid=known)


def networks() -> list[Made]:
    """A denoiser and a discriminator with their curves; made-up numbers that fall."""
    network = {"kind": "unet", "channels": 128, "multipliers": [2, 2, 2], "form": "ddpmpp"}
    recipe, exact = {"batch": 512, "lr": 1e-3}, {"dtype": "fp32"}
    denoiser = DenoiserSpec(CIFAR, network, {"kind": "edm"}, recipe, 1000, 7, exact)
    judge = DiscriminatorSpec(CIFAR, network, ("0" * 20,), 10_000, recipe, 1000, 7, exact)
    made = []
    for kind, spec, loss, start in (
        ("denoiser", denoiser, "denoising loss", 1.0),
        ("discriminator", judge, "discrimination loss", math.log(2)),
    ):
        job = _job(kind, f"edm5/{kind}", spec, (), Facts(generator="edm5"), 1e15, 11)
        curve = tuple(
            Observation(
                job.id, kind, f"{part} {loss}", start * (1 - k / 20), images=51_200 * k, fraction=k / 10
            )
            for part in ("train", "held-out")
            for k in range(1, 11)
        )
        made.append(Made(job, curve, 60.0))
    return made


def make(runs: int | None = None) -> list[Made]:
    """Jobs of the whole study in the order of needs; `runs` limits the trainings."""
    rng = np.random.default_rng(5)
    made: list[Made] = []
    shards: dict[str, str] = {}
    for generator, fid in GENERATORS.items():
        shard = GenerateSpec(CIFAR, SAMPLERS[generator], {"kind": "none"}, 0, 10_000, 7)
        facts = Facts(generator=generator, fid=fid, features="inception")
        job = _job("generate", f"generate/{generator}/0-10k", shard, (), facts, 1e15, 11)
        made.append(Made(job, (Observation(job.id, "generate", "images", 10_000.0),), 21.0))
        shards[generator] = job.id
        quality = FidSpec(CIFAR, {"kind": "inception"}, (job.id,), 10_000, 7)
        fid_job = _job("fid", f"fid/{generator}", quality, (job.id,), facts, 1e14, 11)
        made.append(Made(fid_job, tuple(_measured(fid_job, fid)), 22.0))
    cells = [(m, g, d) for g in GENERATORS for m in MODELS for d in IMAGES]
    for model, generator, images in cells[:runs]:
        made += _train(model, generator, images, shards[generator], None, rng)
    if runs is None:
        made += _train((82, 12), "dg", 716_800_000, shards["dg"], "sota", rng)
    return made


def fit_laws(made: list[Made], resamples: int = 200) -> dict[str, Any]:
    """The laws that the compiler would have fitted to these runs, as the plan holds them."""
    seen = [o for m in made if m.job.facts.allocation is None for o in m.observations if o.metric == LOSS]
    columns = {
        k: [getattr(o, k) for o in seen] for k in ("params", "images", "fid", "flops", "fraction", "run")
    }
    points = Points.build(loss=[o.value for o in seen], **columns)
    options = FitOptions(resamples=resamples, points="best")
    return {name: fit_to_json(fit_law(law, points, options)) for name, law in LAW_NAMES.items()}


def make_plan(made: list[Made], name: str = "synthetic_limits", laws: dict[str, Any] | None = None) -> Plan:
    jobs = tuple(m.job for m in made)
    allocated = next((m for m in made if m.job.kind == "train" and m.job.facts.allocation), None)
    totals = {}
    for kind in ("generate", "fid", "train", "evaluate", "all"):
        of = [j.cost for j in jobs if kind in (j.kind, "all")]
        totals[kind] = Cost(
            flops=sum(c.flops or 0 for c in of),
            seconds=Range(*(sum(getattr(c.seconds, end) for c in of) for end in ("low", "mid", "high"))),
        )
    return Plan(
        format=FORMAT,
        study=study_json(name),
        digest="5e" * 32,
        revision=len(made),
        laws=laws or {},
        answers=tuple(_answers(made, allocated)),
        jobs=jobs,
        dropped=(),
        totals=totals,
        budget={"compute_flops": 1e23, "currency": "USD"},
        warnings=(
            Warn("L201", "the forecast extrapolates 2,000 times beyond the largest run", "buy a larger run"),
        ),
        basis=Basis("0", {}, {}, BUILT_IN["h100"]),
    )


def _answers(made: list[Made], allocated: Made | None) -> Iterator[Answer]:
    limit = {"loss": Range(0.51, 0.5345, 0.57), "accuracy": Range(0.82, 0.857, 0.88), "params": None}
    yield Answer(
        "limit",
        "forecast",
        "answered",
        ("quality",),
        limit,
        ("extrapolates",),
        Origin("synthetic.study", 60, 1),
    )
    expected = {
        "params": Range(1.2e8, 1.57e8, 2.1e8),
        "images": Range(6.1e8, 8.1e8, 1.06e9),
        "flops": Range(1e21, 1e21, 1e21),
        "loss": Range(0.66, 0.69, 0.72),
        "accuracy": Range(0.71, 0.74, 0.77),
    }
    measured: dict[str, Range | None] = {}
    if allocated is not None:
        last = made[made.index(allocated) + 1].observations
        measured = {
            q: Range(o.low or o.value, o.value, o.high or o.value)
            for q, o in zip(("loss", "accuracy"), last, strict=False)
        }
    status: Any = "answered" if allocated else "pending"
    values = expected if allocated else dict.fromkeys(expected)
    notes = () if allocated else ("waits for 12 runs of grid `runs`",)
    job = allocated.job.id if allocated else None
    yield Answer(
        "sota",
        "allocate",
        status,
        ("quality",),
        values,
        notes,
        Origin("synthetic.study", 66, 1),
        job,
        measured,
    )


def samples_file(path: Path, images: int = NUM_SAMPLES) -> None:
    """Blobs and blobs with ± noise: something to look at, in the format evaluate jobs write."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:32, 0:32] / 31
    clean = np.stack(
        [np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.08) for a, b in rng.uniform(0.2, 0.8, (images, 2))]
    )
    clean = np.repeat(clean[..., None], 3, axis=-1) * rng.uniform(0.3, 1, (images, 1, 1, 3))
    attacked = np.clip(clean + rng.choice([-8, 8], clean.shape) / 255, 0, 1)
    labels = rng.integers(0, 10, images)
    predictions = np.where(rng.random(images) < 0.5, labels, (labels + 1) % 10)
    np.savez_compressed(
        path,
        clean=clean.astype(np.float32),
        attacked=attacked.astype(np.float32),
        labels=labels,
        clean_predictions=labels,
        predictions=predictions,
    )


def neighbours_file(path: Path, images: int = 12, suspects: int = 2) -> None:
    """Blobs beside blobs, in the format fid jobs write."""
    rng = np.random.default_rng(2)
    np.savez_compressed(
        path,
        generated=rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8),
        nearest=rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8),
        labels=np.arange(images) % 10,
        nearest_labels=np.arange(images) % 7,
        index=np.arange(images),
        nearest_index=np.arange(images),
        distance=rng.random(images) + 1,
        suspects=np.int64(suspects),
    )


def write_store(path: Path, made: list[Made], plan: Plan | None) -> Path:
    """Commit everything the way the runtime does."""
    store = Store(path)
    store.claim("simulated")
    for m in made:
        draft = store.begin(m.job.id)
        if m.job.kind == "evaluate" and "dg" in m.job.name:
            samples_file(draft / "samples.npz")
        if m.job.kind == "fid" and "dg" in m.job.name:
            neighbours_file(draft / "samples.npz")
        run = Run(
            m.seconds,
            0.0,
            m.seconds,
            "cuda:0",
            8,
            "synthetic",
            versions={"torch": "0.0-synthetic"},
        )
        store.commit(m.job, draft, m.observations, run)
    if plan is not None:
        keep_plan(path, plan)
        forecast_ledger.record(
            path / "forecasts.jsonl", _before(plan), {a.job for a in plan.answers if a.job}
        )
        forecast_ledger.score(path / "forecasts.jsonl", plan)
    return path


def keep_plan(path: Path, plan: Plan) -> None:
    """Keep a plan the way the loop does."""
    Store(path).save_plan(f"{plan.digest[:20]}-{plan.revision:05d}.json", plan_to_json(plan))


def _before(plan: Plan) -> Plan:
    """The plan as it was when its forecasts were made: nothing measured."""
    return replace(plan, answers=tuple(replace(a, measured={}) for a in plan.answers))
