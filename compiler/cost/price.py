"""Parts in FLOP + a device profile + prices -> a job's Cost: seconds, money, memory, storage, transfer.

Pure. Seconds are device-seconds. Memory and storage are estimates (assumed), exact only in their leading term."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.architectures.unet import count_unet
from isoloss.compiler.cost.flops import ASSUMED_SURVIVORS, INSIDE, SURVIVORS, Part, parts
from isoloss.compiler.cost.job_memory import need
from isoloss.compiler.cost.placement import place
from isoloss.compiler.cost.scaling import widened, widest_job
from isoloss.compiler.cost.speed import NOTHING, Work, split
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.plan import (
    Component,
    Cost,
    DenoiserSpec,
    DeviceProfile,
    DiscriminatorSpec,
    EvaluateSpec,
    FidSpec,
    GenerateSpec,
    ImportSpec,
    Range,
    Spec,
    TrainSpec,
    kind_of,
)
from isoloss.dsl.study.study import Budget

#: Bytes of images a second that an import reads and writes, from a compressed archive to an uncompressed one
#: (measured: benchmarks/data.py; disks and compression vary), and bytes of real images that Squiggles
#: makes, at 60 pixels and 3,600 bytes each (measured: benchmarks/squiggles.py).
IMPORT_BYTES_PER_SECOND = Range(30e6, 100e6, 400e6)
MAKING_BYTES_PER_SECOND = Range(3600 * 3e3, 3600 * 7e3, 3600 * 2e4)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a budget says of prices: per device-hour and per byte of transfer (None: not stated), and how many
    devices a job may lie on."""

    per_device_hour: float | None = None
    per_byte: float | None = None
    devices: int = 1

    @classmethod
    def of(cls, budget: Budget) -> Terms:
        devices = widest_job(budget.devices.kind, budget.devices.count)
        return cls(budget.price_per_device_hour, budget.price_per_byte, devices)


#: The share of images that survives an AutoAttack job, as far as known: an interval.
Surviving = Callable[[EvaluateSpec], Range]


def _assumed(spec: EvaluateSpec) -> Range:
    return SURVIVORS


class Pricer:
    """Prices specs for one device profile and one budget's terms; one per compile, so that its caches die with
    it."""

    def __init__(
        self, profile: DeviceProfile, terms: Terms = Terms(), survivors: Surviving = _assumed
    ) -> None:
        self.profile = profile
        self.terms = terms
        self.survivors = survivors
        #: Beside each Cost the spec whose components' identities are its key: they must not be another's meanwhile.
        self._shared: dict[tuple[object, ...], tuple[Spec, Cost]] = {}

    def cost(self, spec: Spec) -> Cost:
        """The bill of one job. Jobs that differ only in seed or inputs share one Cost object."""
        key = _meaning(spec)
        share: Range | None = None
        if isinstance(spec, EvaluateSpec) and spec.attack["kind"] == "autoattack":
            share = self.survivors(spec)
            key = (*key, share)
        known = self._shared.get(key)
        if known is None:
            known = self._shared[key] = spec, self._price(spec, share)
        return known[1]

    def _price(self, spec: Spec, survivors: Range | None) -> Cost:
        bill = parts(spec, ASSUMED_SURVIVORS if survivors is None else survivors.mid)
        unknown = tuple(f"{part.name}: {part.how}" for part in bill if part.flops is None)
        inside = sum((p.flops or 0.0 for p in bill if p.name == INSIDE), 0.0)
        total = None if unknown else sum((p.flops or 0.0 for p in bill), 0.0)
        needed, transfer = need(spec), transfer_bytes(spec)
        placement = None
        if needed is not None and self.profile.memory_bytes is not None:
            bf16 = isinstance(spec, TrainSpec) and spec.numerics["dtype"] == "bf16"
            placement = place(needed, self.profile.memory_bytes, self.terms.devices, bf16=bf16)
        seconds = None
        if moves_bytes(spec):
            seconds = self._moving(spec)
            if seconds is None:
                unknown = ("reading: the study doesn't say how many `images` the files have",)
        elif total is not None:
            alone = self._alone(spec, bill, survivors)
            seconds = alone if placement is None else widened(alone, placement.devices)
        return Cost(
            flops=None if total is None else total - inside,
            seconds=seconds,
            usd=money(seconds, transfer, self.terms),
            memory_bytes=None if needed is None else needed.whole,
            storage_bytes=storage_bytes(spec),
            transfer_bytes=transfer,
            unknown=unknown,
            evaluation_flops=inside,
            survivors=None if survivors is None else survivors.mid,
            placement=placement,
        )

    def _alone(self, spec: Spec, bill: Sequence[Part], survivors: Range | None) -> Range:
        """Seconds on one device. Of AutoAttack wider by its survivors, whose share is independent of the device's
        speed: squares of both log widths are added."""
        found = split(self.profile, amounts(spec, bill, self.profile)).total
        if survivors is None or survivors.low == survivors.high:
            return found
        few, many = (
            split(self.profile, amounts(spec, parts(spec, share), self.profile)).total.mid
            for share in (survivors.low, survivors.high)
        )
        fewer = math.hypot(math.log(found.mid / found.low), math.log(found.mid / few))
        more = math.hypot(math.log(found.high / found.mid), math.log(many / found.mid))
        return Range(found.mid * math.exp(-fewer), found.mid, found.mid * math.exp(more))

    def _moving(self, spec: Spec) -> Range | None:
        """Seconds of a job without FLOPs, by the bytes it moves; None where nobody said how many."""
        pixels, rate = shape(spec.dataset), IMPORT_BYTES_PER_SECOND
        if isinstance(spec, GenerateSpec):
            amount, rate = float((spec.stop - spec.start) * pixels.pixel_bytes), MAKING_BYTES_PER_SECOND
        elif isinstance(spec, ImportSpec) and spec.images is not None:
            amount = float(spec.images * pixels.image_bytes)
        else:
            return None
        start = self.profile.startup_seconds
        low, mid, high = amount / rate.high, amount / rate.mid, amount / rate.low
        return Range(start.low + low, start.mid + mid, start.high + high)


def money(seconds: Range | None, transfer: float | None, terms: Terms) -> Range | None:
    """Device-seconds and transfer at their prices. None where no price is stated, or the seconds that one is
    for aren't known."""
    hourly, per_byte = terms.per_device_hour, terms.per_byte
    if (hourly is None and per_byte is None) or (hourly is not None and seconds is None):
        return None
    moved = (per_byte or 0.0) * (transfer or 0.0)
    if hourly is None or seconds is None:
        return Range(moved, moved, moved)
    rate = hourly / 3600
    return Range(seconds.low * rate + moved, seconds.mid * rate + moved, seconds.high * rate + moved)


def amounts(
    spec: Spec, bill: Sequence[Part], profile: DeviceProfile | None = None
) -> tuple[tuple[str, Work], ...]:
    """What a job's bill asks of a device, by the speeds of a profile that it goes by, or of one that has all: its own,
    and fp32's of a training's evaluations where only its steps are in bf16."""
    own = speed_key(spec, profile)
    if not isinstance(spec, TrainSpec):
        return ((own, sum((part.work for part in bill), NOTHING)),)
    tests = _closest(
        keys_of("train", spec.model["kind"], number_inside(number_format(spec.numerics))), profile
    )
    step = sum((part.work for part in bill if part.name != INSIDE), NOTHING)
    inside = sum((part.work for part in bill if part.name == INSIDE), NOTHING)
    if inside == NOTHING:
        return ((own, step),)
    return ((own, step + inside),) if tests == own else ((own, step), (tests, inside))


def speed_key(spec: Spec, profile: DeviceProfile | None = None) -> str:
    """The speed of a profile that a job goes by: of those that fit (work_keys) the first that it has, or of all."""
    return _closest(work_keys(spec), profile)


def _closest(keys: Sequence[str], profile: DeviceProfile | None) -> str:
    return next(key for key in keys if profile is None or key in profile.speeds)


def work_keys(spec: Spec) -> Sequence[str]:
    """Keys of profiles that fit a job, the closest first."""
    kind = kind_of(spec)
    if isinstance(spec, TrainSpec):
        return keys_of(kind, spec.model["kind"], number_format(spec.numerics))
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        number = number_format(spec.numerics)
        return (kind,) if number == "fp32" else (f"{kind}@{number}", kind)
    # Tests compute in fp32 whatever the training did.
    return keys_of(kind, spec.model["kind"]) if isinstance(spec, EvaluateSpec) else (kind,)


def keys_of(kind: str, family: str, number: str = "fp32") -> tuple[str, ...]:
    """Keys of profiles that fit a kind of job on a model family in a number format, the closest first:
    `train/wrn@bf16`, `train@bf16`, `train/wrn`, `train`."""
    plain = (f"{kind}/{family}", kind)
    return plain if number == "fp32" else (*(f"{key}@{number}" for key in plain), *plain)


def number_format(numerics: Component) -> str:
    """A training's number format in the language's words."""
    return "tf32" if numerics["tf32"] else str(numerics["dtype"])


def number_inside(number: str) -> str:
    """The number format of evaluations during a training in `number`: bf16 is its steps' alone."""
    return "fp32" if number == "bf16" else number


def moves_bytes(spec: Spec) -> bool:
    """Whether a job computes nothing that is counted in FLOPs: imports, and real images made when asked for."""
    return isinstance(spec, ImportSpec) or (isinstance(spec, GenerateSpec) and spec.sampler["kind"] == "real")


def storage_bytes(spec: Spec) -> float | None:
    """What the job leaves in the store: uint8 images with labels; live, averaged and best weights; sample
    images. None where the study doesn't say how many."""
    pixels = shape(spec.dataset)
    if isinstance(spec, GenerateSpec):
        return float((spec.stop - spec.start) * pixels.image_bytes)
    if isinstance(spec, ImportSpec):
        return None if spec.images is None else float(spec.images * pixels.image_bytes)
    if isinstance(spec, TrainSpec):
        copies = 3 if spec.evaluation is not None and spec.evaluation["split"] == "validation" else 2
        return 4.0 * copies * count(spec.model, spec.dataset).params
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        return 4.0 * count_unet(spec.network, spec.dataset).params
    if isinstance(spec, EvaluateSpec):
        # 16 samples, clean and attacked, as float32.
        return 2.0 * 16 * 4 * pixels.channels * pixels.height * pixels.width
    # 26 samples and their nearest, and as much again as a picture.
    return 1024.0 + 4.0 * 26 * pixels.image_bytes


def transfer_bytes(spec: Spec) -> float | None:
    """What the job reads of other jobs' results, images and weights, and of files outside, and writes as its own.
    The dataset itself lies where jobs run and isn't counted. None where nobody said how much."""
    stored, image = storage_bytes(spec), shape(spec.dataset).image_bytes
    if stored is None:
        return None
    read = 0.0
    if isinstance(spec, TrainSpec):
        read = float(_made(spec.data) * image)
    elif isinstance(spec, FidSpec):
        read = float(spec.images * image)
    elif isinstance(spec, EvaluateSpec):
        # The file that a training leaves, live and averaged weights.
        read = 8.0 * count(spec.model, spec.dataset).params
    elif isinstance(spec, ImportSpec):
        read = stored
    return read + stored


def _made(data: Component) -> int:
    """Images of other jobs that a training reads: none of real data, the generated ones of a mix."""
    made = data["generated"] if data["kind"] == "mixed" else data
    return 0 if made["kind"] == "real" else int(made.get("images") or 0)


def _meaning(spec: Spec) -> tuple[object, ...]:
    """What a price depends on. Specs share Component objects (components.py), so identities stand for them, as long as
    whoever keeps this keeps the spec."""
    if isinstance(spec, TrainSpec):
        evaluation = id(spec.evaluation)
        data = _made(spec.data)
        return (
            "train",
            id(spec.model),
            id(spec.recipe),
            id(spec.numerics),
            id(spec.dataset),
            evaluation,
            spec.train_steps,
            data,
        )
    if isinstance(spec, EvaluateSpec):
        return ("evaluate", id(spec.model), id(spec.attack), id(spec.dataset), spec.split, spec.images)
    if isinstance(spec, ImportSpec):
        return ("import", id(spec.dataset), spec.images)
    if isinstance(spec, GenerateSpec):
        return ("generate", id(spec.sampler), id(spec.denoiser), id(spec.dataset), spec.stop - spec.start)
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        return (kind_of(spec), id(spec))
    return ("fid", id(spec.dataset), id(spec.features), spec.images, spec.real)
