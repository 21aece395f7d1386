"""What a job's arithmetic is made of: spec -> parts in FLOP that add up to its bill.

Pure; seconds and money are price.py's. Legend: K attack steps, N parameters, D images drawn.
One forward-equivalent is the forward FLOPs of the network on one image; a backward to the input or to the
weights is one more each. An observation's `flops` is this rule count, whatever a faster kernel executes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.architectures.unet import count_unet
from isoloss.compiler.cost.passes import NO_PERTURB, attack_passes, passes
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.facts.features import FEATURES, dimensions
from isoloss.compiler.plan import (
    Component,
    DenoiserSpec,
    DiscriminatorSpec,
    EvaluateSpec,
    FidSpec,
    GenerateSpec,
    ImportSpec,
    Spec,
    TrainSpec,
)
from isoloss.dsl.vocabulary.quantity_text import flop_text

#: Forward-equivalents of standard AutoAttack on one image that survives all of it: APGD-CE 100 steps x 2,
#: APGD-T 9 x 100 x 2, FAB-T 9 x 100 x 3, Square 5,000 queries. Counted from its published settings; exact
#: numbers depend on backtracking.
AUTOATTACK_PASSES = 200 + 1800 + 2700 + 5000
#: Share of test images assumed to reach AutoAttack's end while nothing is known: about 0.7 in the papers. Once
#: robust accuracies are observed they stand in its place (survivors.py).
ASSUMED_SURVIVORS = 0.7

#: Images of each set that measures of pairs look at, at most (the runtime's; a test holds them equal).
PAIRWISE_IMAGES = 10_000

#: Images on which an evaluation looks for signs that its attack failed (the runtime's), and forward-equivalents
#: of that: two passes and a gradient, counted 4, for every attack; for pgd also scores, one step, noise and 15
#: steps in a huge ball, 37. AutoAttack's own flags are among its settings' counts.
ALARM_IMAGES = 128
_ALARM_PASSES: Mapping[str, int] = {"pgd": 41, "none": 0, "autoattack": 0}
_NETWORK_ALARM_PASSES = 4

#: Forward-equivalents of a training step on one image: forward, backward to weights, backward to activations.
TRAINING_PASSES = 3
#: Forward-equivalents of a discriminator's guidance of one image: forward, and backward to the image.
GUIDANCE_PASSES = 2
#: Held-out losses of a denoiser's or discriminator's training: how often, and images of each (runtime/diffusion).
HELD_OUT_TIMES, HELD_OUT_IMAGES = 10, 1024
#: Gaussian posteriors that a mixture averages for one under PFGM++'s kernel: nodes of a quadrature, more where the
#: kernel is far from Gaussian (runtime/generators/pfgmpp.py).
FEW_NODES, MANY_NODES, GAUSSIAN_DIMENSION = 6, 24, 512

#: 7822 N D (Bartoldson et al. 2024, released code): holds for WRN at 32x32 with TRADES and K = 10, N >= 1M,
#: +-1 %.
PAPER_CONSTANT = 7822.0


@dataclass(frozen=True, slots=True)
class Part:
    """One summand of a bill. `flops` None: not estimated, and `how` says why."""

    name: str
    flops: float | None
    how: str


def paper_constant_applies(model: Component, dataset: Component, loss: Component, attack: Component) -> bool:
    """Whether 7822 N D is stated for this training: outside its domain the constant is refused."""
    pixels = shape(dataset)
    inside = model["kind"] == "wrn" and (pixels.height, pixels.width) == (32, 32)
    inside = inside and loss["kind"] == "trades" and attack["kind"] == "pgd" and attack_passes(attack) == 20
    inside = inside and attack.get("loss", "kl") == "kl"
    return inside and count(model, dataset).params >= 1_000_000


def evaluation_passes(attack: Component, survivors: float = ASSUMED_SURVIVORS) -> float:
    """Forward-equivalents per test image: a clean pass, the attack, a final pass per restart.

    An upper bound for pgd (broken images aren't attacked again); for AutoAttack the share of `survivors` pays
    in full and the rest nothing."""
    if attack["kind"] == "autoattack":
        return 1 + survivors * AUTOATTACK_PASSES
    if attack["kind"] == "none":
        return 1
    return 1 + attack_passes(attack) + int(attack.get("restarts", 1))


def alarm_passes(attack_kind: str) -> int:
    """Forward-equivalents of an evaluation's alarms on each image they look at."""
    return _ALARM_PASSES.get(attack_kind, _NETWORK_ALARM_PASSES)


def job_passes(attack: Component, images: int, survivors: float = ASSUMED_SURVIVORS) -> float:
    """Forward-equivalents of an evaluation job of so many images, its alarms among them."""
    alarms = min(images, ALARM_IMAGES) * alarm_passes(attack["kind"])
    return images * evaluation_passes(attack, survivors) + alarms


def recipe_passes(recipe: Component) -> float:
    """The passes of a spec's recipe."""
    return passes(recipe["loss"], recipe["attack"], recipe.get("perturb", NO_PERTURB))


def drawn(spec: TrainSpec) -> int:
    """D: images a training draws, steps x batch."""
    return spec.train_steps * int(spec.recipe["batch"])


@singledispatch
def parts(spec: Spec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    """The summands of a job's bill, in order; `survivors` of AutoAttack."""
    raise TypeError(f"no cost rule for {type(spec).__name__}")


@parts.register
def _(spec: TrainSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    forward = count(spec.model, spec.dataset).forward_flops
    rule = recipe_passes(spec.recipe)
    images = drawn(spec)
    training = Part(
        "training",
        rule * forward * images,
        f"{rule:g} passes x {flop_text(forward)} x {images:,} images drawn",
    )
    if spec.evaluation is None:
        return (training,)
    times = evaluations_inside(spec.evaluation["every"], spec.evaluation["split"])
    tested = shape(spec.dataset).tested(spec.evaluation["images"], spec.evaluation["split"])
    each = evaluation_passes(spec.evaluation["attack"])
    how = f"{times} times x {tested:,} images x {each:g} passes x {flop_text(forward)}"
    return training, Part("evaluation during training", times * tested * each * forward, how)


def evaluations_inside(every: float, split: str) -> int:
    """How often a training evaluates `at every` fraction: strictly inside, as the end is a job of its own; on the
    validation split at the end too, as the best weights are chosen there."""
    inside = max(0, -(-1_000_000_000 // max(1, round(every * 1_000_000_000))) - 1)
    return inside + (split == "validation")


@parts.register
def _(spec: EvaluateSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    forward = count(spec.model, spec.dataset).forward_flops
    tested = shape(spec.dataset).tested(spec.images, spec.split)
    each = evaluation_passes(spec.attack, survivors)
    how = f"{tested:,} images x {each:g} passes x {flop_text(forward)}"
    if spec.attack["kind"] == "autoattack":
        how += f"; {survivors:.3g} of them survive, at {AUTOATTACK_PASSES:,} passes each"
    attack = Part("attack and scoring", tested * each * forward, how)
    looked, checks = min(ALARM_IMAGES, tested), alarm_passes(spec.attack["kind"])
    if not checks:
        return (attack,)
    how = f"{looked} images x {checks} passes x {flop_text(forward)}"
    return attack, Part("alarms", looked * checks * forward, how)


@parts.register
def _(spec: GenerateSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    images = spec.stop - spec.start
    if spec.sampler["kind"] == "real":
        return (Part("drawing", 0.0, f"{images:,} real images, without a network"),)
    if spec.denoiser["kind"] == "none":
        return (Part("sampling", None, "no `denoiser` is stated: images come from published files"),)
    evaluations = network_evaluations(spec.sampler)
    if evaluations is None:
        return (Part("sampling", None, f"sampler `{spec.sampler['kind']}` has no cost rule"),)
    each = denoiser_flops(spec.denoiser, spec.dataset, spec.sampler)
    if each is None:
        return (Part("sampling", None, f"denoiser `{spec.denoiser['kind']}` has no cost rule"),)
    how = f"{images:,} images x {evaluations} denoiser evaluations x {flop_text(each)}"
    sampling = Part("sampling", images * evaluations * each, how)
    if spec.sampler["kind"] != "dg":
        return (sampling,)
    steps, judge = int(spec.sampler["steps"]), spec.sampler["discriminator"]
    forward = count_unet(judge["network"], spec.dataset).forward_flops
    how = f"{images:,} images x {steps} steps x {GUIDANCE_PASSES} passes x {flop_text(forward)}"
    return sampling, Part("discriminator", images * steps * GUIDANCE_PASSES * forward, how)


@parts.register
def _(spec: ImportSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    if spec.images is None:
        return (Part("reading", 0.0, "all images of the files, read and written twice"),)
    each = shape(spec.dataset).image_bytes
    how = f"{spec.images:,} images x {each:,} bytes, read and written twice"
    return (Part("reading", 0.0, how),)


def network_evaluations(sampler: Component) -> int | None:
    """Denoiser evaluations per image: 2n - 1 of Heun's method in n steps (Karras et al. 2022, Alg. 1)."""
    steps = sampler.get("steps")
    return 2 * int(steps) - 1 if steps is not None else None


def denoiser_flops(denoiser: Component, dataset: Component, sampler: Component) -> float | None:
    """FLOPs of one evaluation on one image, or None where no rule is known.

    mixture: for each component one projection to its eigenbasis and one back, 2 x 2 d^2, d values per
    image; under PFGM++'s kernel, for every node of a quadrature. Networks: one forward pass."""
    if "network" in denoiser:
        return count_unet(denoiser["network"], dataset).forward_flops
    if denoiser["kind"] != "mixture":
        return None
    pixels = shape(dataset)
    values = pixels.channels * pixels.height * pixels.width
    return 4.0 * int(denoiser["components"]) * values**2 * quadrature_nodes(sampler)


def quadrature_nodes(sampler: Component) -> int:
    """Gaussian posteriors that a mixture is asked for at each evaluation."""
    if sampler["kind"] != "pfgmpp":
        return 1
    return FEW_NODES if int(sampler["dimension"]) > GAUSSIAN_DIMENSION else MANY_NODES


@parts.register
def _(spec: DenoiserSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    return _training_of(spec, "denoising")


@parts.register
def _(spec: DiscriminatorSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    return _training_of(spec, "telling real from generated")


def _training_of(spec: DenoiserSpec | DiscriminatorSpec, what: str) -> tuple[Part, ...]:
    forward = count_unet(spec.network, spec.dataset).forward_flops
    images = spec.train_steps * int(spec.recipe["batch"])
    how = f"{TRAINING_PASSES} passes x {flop_text(forward)} x {images:,} images drawn"
    tested = HELD_OUT_TIMES * HELD_OUT_IMAGES
    return (
        Part(f"training: {what}", TRAINING_PASSES * forward * images, how),
        Part("held-out loss", tested * forward, f"{tested:,} images x {flop_text(forward)}"),
    )


@parts.register
def _(spec: FidSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    kind, size = spec.features["kind"], dimensions(spec.features, spec.dataset)
    if size is None:
        return (Part("features", None, f"features `{kind}` have no cost rule"),)
    pixels, each = shape(spec.dataset), FEATURES[kind].forward_flops
    # Features of real images are kept: later jobs of the same space find them made.
    images = spec.images + spec.real
    some = min(images, PAIRWISE_IMAGES)
    real, held_out = pixels.epoch_images, min(pixels.test_images, some)
    seen = images + real + held_out
    parts = [Part("features", seen * each, f"{seen:,} images x {flop_text(each)}, real ones included")]
    # A covariance of n vectors is n d^2 multiply-adds, made twice of the generated ones; a symmetric matrix's
    # eigenvalues about 4/3 d^3 flops and the two products before them 4 d^3, 21 times (20 jackknife groups);
    # singular values and roots once, about 25 d^3.
    moments = 2.0 * (2 * images + real) * size**2 + (21 * 16 / 3 + 25) * size**3
    parts.append(Part("moments", moments, f"covariances of {images:,} and {real:,} x {size}, 21 distances"))
    # Each pair is 2 d flops: nearest training images; three manifolds' distances; kernels of ten blocks, of the
    # real images, and across.
    theirs = min(real, some)
    pairs = float(some + held_out) * real + 3 * theirs**2
    pairs += some**2 / 10 + theirs**2 + some * theirs
    parts.append(Part("pairs", 2.0 * size * pairs, f"{pairs:.4g} pairs x {2 * size} FLOP"))
    if spec.dataset["kind"] == "cifar10":
        judged = FEATURES["resnet18"].forward_flops
        parts.append(
            Part("classes", (some + held_out) * judged, f"{some + held_out:,} images x {flop_text(judged)}")
        )
    return tuple(parts)
