"""The plan and what comes back from it: the only bridge between compiler and runtime.

In: what the compiler decided. Out: `Plan`, all the runtime ever needs (as a file: plan_json.py); and `Observation`, all
the compiler ever learns. Imports nothing of ours. FLOP, seconds, bytes, currency units; accuracies in [0, 1].

Numbers in a spec that must stay exact (8/255) are strings "8/255"; `exact` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, cast

import orjson

FORMAT = "isoloss.plan/1"
#: Of isoloss, as every plan and every result holds it; pyproject.toml reads it here.
VERSION = "0.1.0"

#: Images that an evaluation attacks at once. Part of what it means: an attack's noise is drawn per batch.
EVALUATION_BATCH = 250
#: Tensors of the weights' size that an optimizer keeps; another one is taken to keep two.
_OPTIMIZER_STATES = {"sgd": 1, "adam": 2}

#: A registered thing as JSON: {"kind": "pgd", "norm": "linf", "eps": "8/255", "steps": 10, ...}.
Component = Mapping[str, Any]


def exact(value: str | int | float) -> float:
    """A spec's number as a float: `"8/255"` or a plain number. Raises ValueError for other text."""
    return float(Fraction(value)) if isinstance(value, str) else float(value)


def optimizer_states(recipe: Component) -> int:
    """Tensors of the weights' size that the recipe's optimizer keeps."""
    return _OPTIMIZER_STATES.get(str(recipe["optimizer"]["kind"]), 2)


def weight_copies(recipe: Component) -> int:
    """Tensors of the weights' size that a training keeps on one device: the weights, their gradient, the optimizer's
    states, and where the recipe has them an average and a perturbation."""
    extra = [w for w in ("average", "perturb") if recipe.get(w, {"kind": "none"})["kind"] != "none"]
    return 2 + optimizer_states(recipe) + len(extra)


@dataclass(frozen=True, slots=True)
class Range:
    """An interval around `mid`, low <= mid <= high: 95 %, of seconds, money and energy 90 %."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True)
class Origin:
    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """How a job that one device can't hold lies on several. Advice to whoever runs it and never identity: the
    devices share its batch, of which `micro_batch` images pass at a time on each, in whole batch-norm groups, so
    that nothing it computes changes. `zero_stage` is what DeepSpeed partitions; `memory_bytes` are on each
    device. Where `fits` is false no number of the budget's devices holds it, and `advice` says what would."""

    devices: int
    micro_batch: int
    zero_stage: int
    memory_bytes: float
    fits: bool
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """None means not estimated, and `unknown` says why.

    A train job's `flops` is the rule count of its training, the C of the laws; what its evaluations on the way
    cost is `evaluation_flops`. Both are in `seconds`, `usd` and the totals. `seconds` are device-seconds, on one
    device or on the fewest that hold the job. `memory_bytes` is what it would take on one; with a `placement` it
    lies on several. `transfer_bytes`: what it reads of other jobs' results and writes as its own. `survivors`:
    the share of images that AutoAttack is priced for to its end."""

    flops: float | None = None
    seconds: Range | None = None
    usd: Range | None = None
    memory_bytes: float | None = None
    storage_bytes: float | None = None
    transfer_bytes: float | None = None
    unknown: tuple[str, ...] = ()
    evaluation_flops: float = 0.0
    survivors: float | None = None
    placement: Placement | None = None


# Specs, one per kind. Everything in a spec is identity: change it and the job is another job.


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """Make images [start, stop) of a generator; image i depends on (seed, i) alone. Sampler `real`: the
    dataset's own, where it makes them when asked for.
    Writes `images.npy` uint8 (n, H, W, C) and `labels.npy` int64 (n,).

    A trained denoiser has `job`, the id of its denoiser job, and `network`; so has the `discriminator` of a
    guided sampler."""

    dataset: Component
    sampler: Component
    denoiser: Component
    start: int
    stop: int
    seed: int


@dataclass(frozen=True, slots=True)
class DenoiserSpec:
    """Train a denoising network on the dataset's `train` split, for `train_steps` batches, under `kernel`:
    `{"kind": "edm"}` or `{"kind": "pfgmpp", "dimension": D}`. Writes `denoiser.pt` and `curve.json`.

    `network` has channels, multipliers, blocks, attention, dropout, form, condition; `recipe` has batch, lr,
    warmup and ema (images), ramp, augment (a probability), sigma_mean, sigma_spread."""

    dataset: Component
    network: Component
    kernel: Component
    recipe: Component
    train_steps: int
    seed: int
    numerics: Component


@dataclass(frozen=True, slots=True)
class DiscriminatorSpec:
    """Train a network to tell the dataset's `train` split from generated images, at all noise levels. Writes
    `discriminator.pt` and `curve.json`. `recipe` has batch, lr, weight_decay."""

    dataset: Component
    network: Component
    generated: tuple[str, ...]  # ids of generate jobs, in order
    images: int  # the first so many of them
    recipe: Component
    train_steps: int
    seed: int
    numerics: Component


@dataclass(frozen=True, slots=True)
class ImportSpec:
    """Read files of images below the data root, permute them by `seed` (published ones are ordered by class),
    keep the first `images` of that order. Writes the same as a generate job."""

    dataset: Component
    files: str  # a pattern below the data root, `wang/*.npz`
    sha256: tuple[str, ...]  # of each file in the order of their names; empty: not stated
    images: int | None  # None: all there are
    seed: int


@dataclass(frozen=True, slots=True)
class FidSpec:
    """Distance of images to the dataset's training split, and what else is measured in the space of `features`
    (a Component of the feature spaces): kernel distance, precision, recall, memorisation, agreement. Of the
    first `images` of `samples` together with the first `real` training images."""

    dataset: Component
    features: Component
    samples: tuple[str, ...]  # ids of generate and import jobs, in order
    images: int
    seed: int
    real: int = 0


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """Train one network on `train_steps` batches.

    `data` has `{"kind": "generated", "shards": [ids of generate and import jobs, in order], "images": unique
    images available}`, `{"kind": "real", "images": the first so many, None: all}`, or `{"kind": "mixed",
    "generated": ..., "real": ..., "fraction": "7/8" of generated images}`. `recipe` has loss, attack, perturb,
    optimizer, schedule, average, augment, normalize, batchnorm (Components), batch (int), lr (float), clip (float
    | None)."""

    dataset: Component
    model: Component
    data: Component
    recipe: Component
    train_steps: int
    steps_per_epoch: int
    evaluation: (
        Component | None
    )  # {"attack": ..., "weights": ..., "split": ..., "images": ..., "every": fraction}
    seed: int
    numerics: Component  # {"dtype": "fp32", "tf32": false, "deterministic": true, "batchnorm_group": int}


@dataclass(frozen=True, slots=True)
class EvaluateSpec:
    """Attack a trained network on a split it was not trained on. Writes sample images, clean and attacked.

    `loss` is the loss the adversarial images are scored with: `trades(beta)` gives CE(clean) + beta KL."""

    dataset: Component
    network: str  # id of a train job
    model: Component
    normalize: Component
    attack: Component
    loss: Component  # the recipe's loss; label smoothing never enters an evaluation
    weights: str  # average | live | best
    split: str  # test | validation
    images: int | None
    seed: int


Spec = DenoiserSpec | DiscriminatorSpec | GenerateSpec | ImportSpec | FidSpec | TrainSpec | EvaluateSpec
Kind = Literal["denoiser", "discriminator", "generate", "import", "fid", "train", "evaluate"]
State = Literal["done", "ready", "provisional"]


@dataclass(frozen=True, slots=True)
class KindRow:
    """A kind of job. `version` is bumped when its meaning changes, so that old results are not taken for new
    ones; `words` say what it does; `shared`: several processes can work on one such job together."""

    spec: type
    version: int
    words: str
    shared: bool = False


#: Every kind of job, in the order of the pipeline: the one table of kinds.
KINDS: Mapping[str, KindRow] = {
    "denoiser": KindRow(DenoiserSpec, 2, "train denoisers"),
    "discriminator": KindRow(DiscriminatorSpec, 2, "train discriminators"),
    "generate": KindRow(GenerateSpec, 2, "make images"),
    "import": KindRow(ImportSpec, 1, "import images"),
    "fid": KindRow(FidSpec, 3, "measure quality"),
    "train": KindRow(TrainSpec, 2, "train", shared=True),
    "evaluate": KindRow(EvaluateSpec, 2, "evaluate"),
}
_KIND_OF: Mapping[type, Kind] = {row.spec: cast(Kind, kind) for kind, row in KINDS.items()}


def kind_of(spec: Spec) -> Kind:
    """The kind of job that a spec is of."""
    return _KIND_OF[type(spec)]


def job_id(spec: Spec) -> str:
    """The id a job has because of what it means: 20 hex digits of SHA-256 over kind, version and spec.
    Ids of inputs are in the spec, so a changed input changes every id downstream."""
    kind = kind_of(spec)
    text = orjson.dumps([kind, KINDS[kind].version, spec], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the plan knows about a job's run and its observations repeat; not identity."""

    params: int | None = None  # N, all trainable weights
    images: int | None = None  # D, images drawn over the whole training
    flops_per_image: float | None = None  # the rule count: passes x forward FLOPs
    generator: str | None = None
    fid: float | None = None  # stated, or measured before this plan was made; None: unknown
    features: str | None = None  # the feature space that `fid` is a distance in
    grid: str | None = None  # the grid this run belongs to; None for runs of an `allocate`
    allocation: str | None = None
    evaluation: str | None = None  # name of the evaluation an `evaluate` job performs
    metric: str | None = None  # typed name, e.g. "trades(5) @ pgd(40, cw, linf, 8/255)"
    licence: str | None = None  # of imported images, as the study states it
    recipe: str | None = None  # the name of what trained it
    settings: Mapping[str, Any] = field(default_factory=dict)  # what else its grid varies: batch, lr


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    kind: Kind
    name: str
    needs: tuple[str, ...]
    spec: Spec
    origin: Origin
    cost: Cost
    state: State
    reason: str
    facts: Facts = Facts()


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that was not chosen: what it would cost and would have bought."""

    id: str
    name: str
    spec: Spec
    origin: Origin
    cost: Cost
    reason: str
    gain: float | None  # expected relative variance reduction of the answers; None: not estimated
    facts: Facts = Facts()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two groups of runs: `difference` of their means, a - b, in the metric's unit, with its simultaneous 95 % interval
    (None: one seed each) over so many matched pairs, and how many further seeds an open one would need (None: none
    would settle it, or not estimated)."""

    a: str
    b: str
    difference: float
    interval: tuple[float, float] | None
    seeds: int
    more_seeds: int | None
    verdict: Literal["better", "worse", "same", "open"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question of the study is answered with, so far. Estimates are Range or None (not estimated)."""

    name: str
    kind: Literal["fit", "forecast", "allocate", "compare"]
    status: Literal["answered", "wide", "pending", "not determined"]  # wide: too wide to act on
    laws: tuple[str, ...]
    values: Mapping[str, Range | None]  # params, images, flops, loss, accuracy
    notes: tuple[str, ...]
    origin: Origin
    job: str | None = None  # an allocate's train job
    measured: Mapping[str, Range | None] = field(default_factory=dict)  # its loss, accuracy once evaluated
    # Of a comparison: the evaluation's name, what is compared, how intervals were made simultaneous, every pair.
    evaluation: str | None = None
    metric: str | None = None
    adjusted: str | None = None
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Warn:
    """A diagnostic that does not stop the plan."""

    code: str
    message: str
    help: str = ""
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a device does one class of work, each a 90 % interval for the next job: rule FLOP/s of arithmetic
    alone; activation values per second that layers write, with all that is read and written around them; seconds
    of a layer's execution on a batch, however small the network. `provenance` is "measured" or "assumed", with
    the source. `widths`: (FLOP per value written, factor on the seconds of arithmetic and memory) of networks that were
    timed, ascending."""

    flops_per_second: Range
    values_per_second: Range
    launch_seconds: Range
    provenance: str
    widths: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What a device achieves on each class of work (compiler/cost/speed.py has the formula).

    `queues`: layers are queued ahead of the arithmetic, so that a job takes the longer of both; else one core does
    one after the other and a job takes their sum. startup_seconds is paid by every job. Intervals are 90 %."""

    device: str
    # Keys: kinds of jobs; "train/wrn" where a family was measured apart; "train@bf16" where the number format
    # is another than fp32 (price.py has which one a job goes by).
    speeds: Mapping[str, Speed]
    startup_seconds: Range
    memory_bytes: float | None
    watts: Range | None
    provenance: str
    queues: bool


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan was compiled from beside its study: what it says holds as long as this does."""

    version: str  # of isoloss
    kinds: Mapping[str, int]  # versions of the kinds of jobs, which ids rest on
    results: Mapping[str, str]  # job -> `results_digest` of what was measured: of jobs and cells of the study
    profile: DeviceProfile  # as measured or assumed, before the study's own jobs refined it


def results_digest(observations: Iterable[Observation]) -> str:
    """16 hex digits of what was measured of a job, in whatever order; not of when, where and how fast."""
    told = sorted([o.metric, o.images or 0, o.value, o.low, o.high] for o in observations)
    return hashlib.sha256(orjson.dumps(told)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Plan:
    format: str
    study: Mapping[str, Any]  # the complete resolved Study as JSON
    digest: str  # of the study's meaning
    revision: int  # number of observations' jobs it knows: grows through the loop
    laws: Mapping[str, Any]  # fit name (or "name/generator" with per) -> LawFit JSON
    answers: tuple[Answer, ...]
    jobs: tuple[Job, ...]
    dropped: tuple[Dropped, ...]
    totals: Mapping[str, Cost]  # per kind, and "all"
    budget: Mapping[str, Any]
    warnings: tuple[Warn, ...]
    basis: Basis

    def job(self, id: str) -> Job:
        """The job with this id. Raises KeyError."""
        return next(j for j in self.jobs if j.id == id)


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured point of one job. `value` has the 95 % interval [low, high] where one is known.

    `metric` is typed: "loss trades(5) @ pgd(40, cw, linf, 8/255)", "accuracy @ clean",
    "accuracy @ autoattack(linf, 8/255)", "fid @ pixels", "precision @ pixels", "images"; on the validation split
    it ends in " on validation". `run` is the train job the point belongs to (its own id for train jobs, None for
    generate and fid jobs)."""

    job: str
    kind: Kind
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None  # images behind the value
    run: str | None = None
    params: int | None = None
    images: int | None = None  # D, images seen so far
    fid: float | None = None
    flops: float | None = None  # rule count so far
    fraction: float | None = None  # of that run's training, in (0, 1]
    seed: int | None = None
    seconds: float | None = None  # wall seconds of the job so far
    device: str | None = None
    flags: tuple[str, ...] = ()
    right: str | None = None  # of an accuracy: which of the `count` test images were right, their bits in hex
    devices: int = 1  # that the job ran on


#: Spaces whose Fréchet distance is called FID: Inception's, which the name says, and plain pixels. In the features
#: of another network it is an FD.
_FID_SPACES = ("inception", "pixels")


def frechet_metric(space: str) -> str:
    """The typed name of a Fréchet distance: `fid @ inception`, `fd @ resnet18`."""
    return f"{'fid' if space in _FID_SPACES else 'fd'} @ {space}"


def kernel_metric(space: str) -> str:
    """The typed name of a kernel distance: `kid @ inception`, `kd @ resnet18`."""
    return f"{'kid' if space in _FID_SPACES else 'kd'} @ {space}"


def frechet_space(metric: str) -> str | None:
    """The feature space of a Fréchet distance's typed name; None for every other measure."""
    space = metric.partition(" @ ")[2]
    return space if space and frechet_metric(space) == metric else None


def observations_from_json(text: bytes | str) -> tuple[Observation, ...]:
    """Read and validate observations. Raises pydantic.ValidationError (a ValueError)."""
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[Observation, ...]).validate_json(text)


# Typed names of what is measured: made here alone, read by the compiler and by the runtime.


def component_text(item: Component) -> str:
    """A registered thing in short, for names: `wrn(28, 4)`, `cnn(2)`."""
    arguments = [plain_number(v) for name, v in item.items() if name != "kind" and v is not None]
    return f"{item['kind']}({', '.join(arguments)})" if arguments else str(item["kind"])


def plain_number(value: Any) -> str:
    """A spec's value as a name shows it: `5`, `0.5`, `8/255`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def loss_name(loss: Component) -> str:
    """`trades(5)`, `mart(5)`, `pgd_at`, `natural`. What shapes training alone (label smoothing, entropy, a detached
    side, weights of a batch's halves, noise) is left out: it never enters an evaluation."""
    return f"{loss['kind']}({plain_number(loss['beta'])})" if "beta" in loss else str(loss["kind"])


def attack_name(attack: Component) -> str:
    """`pgd(40, cw, linf, 8/255)`, `autoattack(linf, 8/255)`, `clean` for no attack."""
    kind = attack["kind"]
    if kind == "none":
        return "clean"
    if kind == "pgd":
        return f"pgd({attack['steps']}, {attack['loss']}, {attack['norm']}, {plain_number(attack['eps'])})"
    if kind == "autoattack":
        return f"autoattack({attack['norm']}, {plain_number(attack['eps'])})"
    return component_text(attack)


def metric_name(loss: Component, attack: Component, split: str = "test") -> str:
    """The type under which a loss is measured, `trades(5) @ pgd(40, cw, linf, 8/255)`; on held-out training images
    it ends in ` on validation`, so that no law takes one for the other."""
    return f"{loss_name(loss)} @ {attack_name(attack)}{_on_split(split)}"


def loss_metric(loss: Component, attack: Component, split: str = "test") -> str:
    """`loss trades(5) @ pgd(40, cw, linf, 8/255)`."""
    return f"loss {metric_name(loss, attack, split)}"


def accuracy_metric(attack: Component, split: str = "test") -> str:
    """`accuracy @ pgd(40, cw, linf, 8/255)`."""
    return f"accuracy @ {attack_name(attack)}{_on_split(split)}"


def _on_split(split: str) -> str:
    return "" if split == "test" else f" on {split}"


def is_clean(metric: str) -> bool:
    """Whether a typed name is that of a measure without an attack."""
    return metric.removesuffix(" on validation").endswith(" @ clean")


def evaluation_identity(kind: str, spec: Mapping[str, Any], metric: str) -> str | None:
    """What was done to get a loss or an accuracy: 16 hex digits; None for what no attack measures.

    Of an accuracy: data set, split, number of images, weights as declared, and the attack with all its settings. Of
    a loss the scoring loss too. Neither the tested network nor its recipe or seed is in it, so that networks are
    compared; the display name decides nothing. `spec` is the one that a result holds: of an `evaluate` job, or of a
    `train` job for what it measures on the way."""
    done = spec if kind == "evaluate" else spec.get("evaluation") if kind == "train" else None
    quantity = metric.partition(" ")[0]
    if done is None or quantity not in ("loss", "accuracy"):
        return None
    attack = {"kind": "none"} if is_clean(metric) else dict(done["attack"])
    what = [spec["dataset"], done["split"], done["images"], done["weights"], attack]
    if quantity == "loss":
        what.append(loss_name(spec["loss"] if kind == "evaluate" else spec["recipe"]["loss"]))
    return hashlib.sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
