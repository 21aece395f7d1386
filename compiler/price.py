"""Parts in FLOP + a device profile + a price -> a job's Cost: seconds, money, memory, storage.

Pure. Seconds are device-seconds of one device. Memory says what a device must hold at once; both it and
storage
are estimates (assumed), exact only in their leading term."""

from __future__ import annotations

from isoloss.compiler.architectures import count
from isoloss.compiler.architectures.unet import count_unet
from isoloss.compiler.cost import (
    TRAINING_PASSES,
    evaluation_passes,
    evaluations_inside,
    parts,
    recipe_passes,
)
from isoloss.compiler.datasets import shape
from isoloss.compiler.passes import NO_PERTURB, attack_passes
from isoloss.compiler.plan import (
    Cost,
    DenoiserSpec,
    DeviceProfile,
    DiscriminatorSpec,
    EvaluateSpec,
    GenerateSpec,
    ImportSpec,
    Range,
    Spec,
    TrainSpec,
    kind_of,
)

#: Bytes of images a second that an import reads and writes, from a compressed archive to an uncompressed one
#: (measured: benchmarks/data.py; disks and compression vary), and bytes of real images that Squiggles
#: makes, at 60 pixels and 3,600 bytes each (measured: benchmarks/squiggles.py).
IMPORT_BYTES_PER_SECOND = Range(30e6, 100e6, 400e6)
MAKING_BYTES_PER_SECOND = Range(3600 * 3e3, 3600 * 7e3, 3600 * 2e4)
#: Evaluations attack this many images at once (runtime's default), generators make this many.
EVALUATION_BATCH = 500
GENERATION_BATCH = 1000


class Pricer:
    """Prices specs for one device profile and one price; one per compile, so that its caches die with it."""

    def __init__(self, profile: DeviceProfile, price_per_device_hour: float | None) -> None:
        self.profile = profile
        self.price = price_per_device_hour
        self._shared: dict[tuple[object, ...], Cost] = {}

    def cost(self, spec: Spec) -> Cost:
        """The bill of one job. Jobs that differ only in seed or inputs share one Cost object."""
        key = _meaning(spec)
        known = self._shared.get(key)
        if known is None:
            known = self._shared[key] = self._price(spec)
        return known

    def _price(self, spec: Spec) -> Cost:
        bill = parts(spec)
        unknown = tuple(f"{part.name}: {part.how}" for part in bill if part.flops is None)
        inside = sum((p.flops or 0.0 for p in bill if p.name == "evaluation during training"), 0.0)
        total = None if unknown else sum((p.flops or 0.0 for p in bill), 0.0)
        if moves_bytes(spec):
            seconds = self._moving(spec)
            if seconds is None:
                unknown = ("reading: the study doesn't say how many `images` the files have",)
        else:
            key = rate_key(spec, self.profile)
            seconds = None if total is None else self.seconds(key, total, launches(spec))
        return Cost(
            flops=None if total is None else total - inside,
            seconds=seconds,
            usd=money(seconds, self.price),
            memory_bytes=memory_bytes(spec),
            storage_bytes=storage_bytes(spec),
            unknown=unknown,
            evaluation_flops=inside,
        )

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

    def seconds(self, work: str, flops: float, num_launches: float) -> Range:
        """Of one job of a kind, or of a kind and model family (rate_key): start-up + launches + arithmetic,
        each low/mid/high (assumed to be high together: a cautious sum)."""
        rate = self.profile.flops_per_second[work]
        launch = self.profile.launch_seconds.get(work, Range(0.0, 0.0, 0.0))
        start = self.profile.startup_seconds
        return Range(
            start.low + num_launches * launch.low + flops / rate.high,
            start.mid + num_launches * launch.mid + flops / rate.mid,
            start.high + num_launches * launch.high + flops / rate.low,
        )


def money(seconds: Range | None, price_per_device_hour: float | None) -> Range | None:
    """Device-seconds x price; None where either is unknown."""
    if seconds is None or price_per_device_hour is None:
        return None
    rate = price_per_device_hour / 3600
    return Range(seconds.low * rate, seconds.mid * rate, seconds.high * rate)


def rate_key(spec: Spec, profile: DeviceProfile) -> str:
    """The profile's key for a job: its kind and model family where those were measured, else its kind."""
    kind = kind_of(spec)
    if isinstance(spec, TrainSpec | EvaluateSpec):
        own = f"{kind}/{spec.model['kind']}"
        if own in profile.flops_per_second:
            return own
    return kind


def moves_bytes(spec: Spec) -> bool:
    """Whether a job computes nothing that is counted in FLOPs: imports, and real images made when asked for."""
    return isinstance(spec, ImportSpec) or (isinstance(spec, GenerateSpec) and spec.sampler["kind"] == "real")


def launches(spec: Spec) -> float:
    """Layer executions: batches x passes x layers. What tiny networks wait for in place of arithmetic."""
    if moves_bytes(spec):
        return 0
    if isinstance(spec, TrainSpec):
        layers = count(spec.model, spec.dataset).layers
        training = spec.train_steps * recipe_passes(spec.recipe) * layers
        if spec.evaluation is None:
            return training
        images = spec.evaluation["images"] or shape(spec.dataset).split_images(spec.evaluation["split"])
        batches = -(-images // EVALUATION_BATCH)
        each = evaluation_passes(spec.evaluation["attack"]) * batches * layers
        return training + evaluations_inside(spec.evaluation["every"]) * each
    if isinstance(spec, EvaluateSpec):
        images = spec.images or shape(spec.dataset).split_images(spec.split)
        return (
            evaluation_passes(spec.attack)
            * -(-images // EVALUATION_BATCH)
            * count(spec.model, spec.dataset).layers
        )
    if isinstance(spec, GenerateSpec):
        network = spec.denoiser.get("network")
        layers = 1 if network is None else count_unet(network, spec.dataset).layers
        batches = -(-(spec.stop - spec.start) // GENERATION_BATCH)
        return (2 * int(spec.sampler.get("steps", 1)) - 1) * batches * layers
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        return float(spec.train_steps * TRAINING_PASSES * count_unet(spec.network, spec.dataset).layers)
    return 1


#: Losses whose gradient holds a clean and an adversarial pass at once.
TWO_SIDED = ("trades", "mart", "lse")


def memory_bytes(spec: Spec) -> float | None:
    """What the device holds at once, in fp32; None where not estimated.

    Training: weights, gradient, momentum and average (4 x 4 N bytes; one more N for Adam, one for a
    perturbation of the weights) and, for every image of the batch, three
    saved tensors per convolution, for the clean and the adversarial pass (bf16 halves them). Evaluation:
    weights
    and one pass's saved tensors. Assumes the whole batch on one device; splitting it divides the second
    term."""
    if isinstance(spec, TrainSpec):
        network = count(spec.model, spec.dataset)
        width = 2 if spec.numerics["dtype"] == "bf16" else 4
        copies = 2 if attack_passes(spec.recipe["attack"]) and spec.recipe["loss"]["kind"] in TWO_SIDED else 1
        saved = 3 * width * copies * network.convolution_outputs
        extra = int(spec.recipe["optimizer"]["kind"] == "adam")
        extra += int(spec.recipe.get("perturb", NO_PERTURB)["kind"] != "none")
        return (16.0 + 4.0 * extra) * network.params + float(saved) * int(spec.recipe["batch"])
    if isinstance(spec, EvaluateSpec):
        network = count(spec.model, spec.dataset)
        return 4.0 * network.params + 12.0 * network.convolution_outputs * EVALUATION_BATCH
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        # Weights, gradient, Adam's two moments and the average; a convolution's input, norm and activation.
        network = count_unet(spec.network, spec.dataset)
        return 20.0 * network.params + 12.0 * network.convolution_outputs * int(spec.recipe["batch"])
    if isinstance(spec, GenerateSpec) and "network" in spec.denoiser:
        # Weights, and the stages that the decoder waits for, at most all.
        network = count_unet(spec.denoiser["network"], spec.dataset)
        return 4.0 * network.params + 4.0 * network.convolution_outputs * GENERATION_BATCH
    return None


def storage_bytes(spec: Spec) -> float | None:
    """What the job leaves in the store: uint8 images with labels; live and averaged weights; sample
    images. None where the study doesn't say how many."""
    pixels = shape(spec.dataset)
    if isinstance(spec, GenerateSpec):
        return float((spec.stop - spec.start) * pixels.image_bytes)
    if isinstance(spec, ImportSpec):
        return None if spec.images is None else float(spec.images * pixels.image_bytes)
    if isinstance(spec, TrainSpec):
        return 8.0 * count(spec.model, spec.dataset).params
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        return 4.0 * count_unet(spec.network, spec.dataset).params
    if isinstance(spec, EvaluateSpec):
        # 16 samples, clean and attacked, as float32.
        return 2.0 * 16 * 4 * pixels.channels * pixels.height * pixels.width
    # 26 samples and their nearest, and as much again as a picture.
    return 1024.0 + 4.0 * 26 * pixels.image_bytes


def _meaning(spec: Spec) -> tuple[object, ...]:
    """What a price depends on. Components are shared objects (components.py), so their identity is enough;
    they
    live as long as the specs of this compile."""
    if isinstance(spec, TrainSpec):
        evaluation = id(spec.evaluation)
        return ("train", id(spec.model), id(spec.recipe), id(spec.dataset), evaluation, spec.train_steps)
    if isinstance(spec, EvaluateSpec):
        return ("evaluate", id(spec.model), id(spec.attack), id(spec.dataset), spec.split, spec.images)
    if isinstance(spec, ImportSpec):
        return ("import", id(spec.dataset), spec.images)
    if isinstance(spec, GenerateSpec):
        return ("generate", id(spec.sampler), id(spec.denoiser), id(spec.dataset), spec.stop - spec.start)
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        return (kind_of(spec), id(spec))
    return ("fid", id(spec.dataset), id(spec.features), spec.images, spec.real)
