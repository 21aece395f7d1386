"""What a job holds on a device at once: state that is there whatever the batch, and bytes per image that passes.

Spec -> Need. Pure. Both are estimates (assumed), exact in their leading term: in fp32 WRN-82-8 under TRADES has
144 MB per image and WRN-94-16 331 MB, beside 5.9 GB of state: a count made apart from this one, which a test holds
equal."""

from __future__ import annotations

from dataclasses import dataclass

from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.architectures.unet import count_unet
from isoloss.compiler.cost.passes import attack_passes
from isoloss.compiler.plan import (
    EVALUATION_BATCH,
    KINDS,
    DenoiserSpec,
    DiscriminatorSpec,
    EvaluateSpec,
    GenerateSpec,
    Spec,
    TrainSpec,
    kind_of,
    optimizer_states,
    weight_copies,
)

#: Generators make this many images at once.
GENERATION_BATCH = 1000
#: Tensors kept for the backward pass per convolution: its input, and what batch norm and activation save.
SAVED_PER_CONVOLUTION = 3
#: Losses whose gradient holds a clean and an adversarial pass at once.
TWO_SIDED = ("trades", "mart", "lse")


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes. `zero_bytes` of the state can be partitioned among devices that share a batch (ZeRO-2: optimizer
    and gradients). `batch` images belong together, normalised in groups of `group`; `shared`: several devices can
    work on one batch."""

    state: float
    per_image: float
    batch: int
    group: int
    zero_bytes: float = 0.0
    shared: bool = False

    @property
    def whole(self) -> float:
        """The whole batch at once, on one device."""
        return self.on(1, self.batch)

    def on(self, devices: int, images: int, *, zero: bool = False) -> float:
        """On each of so many devices that share the batch, so many images at a time."""
        saved = self.zero_bytes * (1 - 1 / devices) if zero else 0.0
        return self.state - saved + self.per_image * images


def need(spec: Spec) -> Need | None:
    """None where it isn't estimated. Several devices share what the table of kinds says they can."""
    shared = KINDS[kind_of(spec)].shared
    if isinstance(spec, TrainSpec):
        network = count(spec.model, spec.dataset)
        width = 2 if spec.numerics["dtype"] == "bf16" else 4
        copies = 2 if attack_passes(spec.recipe["attack"]) and spec.recipe["loss"]["kind"] in TWO_SIDED else 1
        per_image = float(SAVED_PER_CONVOLUTION * width * copies * network.convolution_outputs)
        return Need(
            state=4.0 * weight_copies(spec.recipe) * network.params,
            per_image=per_image,
            batch=int(spec.recipe["batch"]),
            group=int(spec.numerics["batchnorm_group"]),
            zero_bytes=4.0 * (1 + optimizer_states(spec.recipe)) * network.params,
            shared=shared,
        )
    if isinstance(spec, EvaluateSpec):
        network = count(spec.model, spec.dataset)
        per_image = float(SAVED_PER_CONVOLUTION * 4 * network.convolution_outputs)
        # An attack's noise is drawn per batch: it isn't taken apart.
        return Need(4.0 * network.params, per_image, EVALUATION_BATCH, EVALUATION_BATCH, shared=shared)
    if isinstance(spec, DenoiserSpec | DiscriminatorSpec):
        # Weights, gradient, Adam's two moments and the average; a convolution's input, norm and activation. No
        # batch norm: any images may pass together.
        unet = count_unet(spec.network, spec.dataset)
        per_image = float(SAVED_PER_CONVOLUTION * 4 * unet.convolution_outputs)
        return Need(20.0 * unet.params, per_image, int(spec.recipe["batch"]), 1, shared=shared)
    if isinstance(spec, GenerateSpec) and "network" in spec.denoiser:
        # Weights, and the stages that the decoder waits for, at most all.
        unet = count_unet(spec.denoiser["network"], spec.dataset)
        each = 4.0 * unet.convolution_outputs
        return Need(4.0 * unet.params, each, GENERATION_BATCH, GENERATION_BATCH, shared=shared)
    return None
