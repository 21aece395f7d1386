"""What a job's arithmetic is made of: spec -> parts in FLOP that add up to its bill, and the work that each is for a
device.

Pure; seconds and money are price.py's. Legend: K attack steps, N parameters, D images drawn.
One forward-equivalent is the forward FLOPs of the network on one image; a backward to the input or to the
weights is one more each. An observation's `flops` is this rule count, whatever a faster kernel executes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from isoloss.compiler.cost.architectures import Architecture, count
from isoloss.compiler.cost.architectures.unet import count_unet
from isoloss.compiler.cost.job_memory import GENERATION_BATCH
from isoloss.compiler.cost.passes import NO_PERTURB, attack_passes, passes
from isoloss.compiler.cost.speed import NOTHING, Work
from isoloss.compiler.facts.datasets import shape
from isoloss.compiler.facts.features import FEATURES, dimensions
from isoloss.compiler.plan import (
    EVALUATION_BATCH,
    Component,
    DenoiserSpec,
    DiscriminatorSpec,
    EvaluateSpec,
    FidSpec,
    GenerateSpec,
    ImportSpec,
    Range,
    Spec,
    TrainSpec,
)
from isoloss.dsl.vocabulary.quantity_text import flop_text

#: Forward-equivalents of each attack of standard AutoAttack on one image that survives all of it, and the time of one
#: such pass in those of APGD: APGD-CE 100 steps x 2, APGD-T 9 x 100 x 2, FAB-T 9 x 100 x 3, Square 5,000 queries,
#: counted from its published settings; exact numbers depend on backtracking. Times: seven published logs of wide
#: residual networks (AWP, ATES); a pass without a gradient keeps nothing for a backward one.
AUTOATTACK: Mapping[str, tuple[int, float]] = {
    "apgd-ce": (200, 1.0),
    "apgd-t": (1800, 1.0),
    "fab-t": (2700, 0.91),
    "square": (5000, 0.57),
}
AUTOATTACK_PASSES = sum(passes for passes, _ in AUTOATTACK.values())
FORWARD_PACE = AUTOATTACK["square"][1]
#: Share of test images that reach AutoAttack's end while nothing is known: .25 to .74 in the same logs. Once robust
#: accuracies are observed they stand in its place (autoattack_survivors.py).
SURVIVORS = Range(0.25, 0.5, 0.75)
ASSUMED_SURVIVORS = SURVIVORS.mid

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


#: The part of a training that are evaluations; budgets count them apart.
INSIDE = "evaluation during training"


@dataclass(frozen=True, slots=True)
class Part:
    """One summand of a bill. `flops` None: not estimated, and `how` says why. `work` is what it asks of a device: its
    FLOP by the time that such passes take, what its layers write, how often they are launched."""

    name: str
    flops: float | None
    how: str
    work: Work = NOTHING


def network_work(network: Architecture, passes: float, images: float, batches: float) -> Work:
    """Of so many passes of each of these images through a network, in so many batches."""
    return Work(
        passes * images * network.forward_flops,
        passes * images * network.written,
        passes * batches * network.layers,
    )


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


def paced_passes(attack: Component, survivors: float = ASSUMED_SURVIVORS) -> float:
    """`evaluation_passes` counted by the time that they take, in passes of an attack with gradients."""
    if attack["kind"] == "autoattack":
        return FORWARD_PACE + survivors * sum(passes * pace for passes, pace in AUTOATTACK.values())
    return FORWARD_PACE if attack["kind"] == "none" else evaluation_passes(attack)


def evaluation_batches(images: int) -> int:
    """Batches that an evaluation of so many images has."""
    return -(-images // EVALUATION_BATCH)


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
    network = count(spec.model, spec.dataset)
    forward = network.forward_flops
    rule = recipe_passes(spec.recipe)
    images = drawn(spec)
    training = Part(
        "training",
        rule * forward * images,
        f"{rule:g} passes x {flop_text(forward)} x {images:,} images drawn",
        network_work(network, rule, images, spec.train_steps),
    )
    if spec.evaluation is None:
        return (training,)
    times = evaluations_inside(spec.evaluation["every"], spec.evaluation["split"])
    tested = shape(spec.dataset).tested(spec.evaluation["images"], spec.evaluation["split"])
    attack = spec.evaluation["attack"]
    each = evaluation_passes(attack)
    how = f"{times} times x {tested:,} images x {each:g} passes x {flop_text(forward)}"
    work = network_work(network, paced_passes(attack), times * tested, times * evaluation_batches(tested))
    return training, Part(INSIDE, times * tested * each * forward, how, work)


def evaluations_inside(every: float, split: str) -> int:
    """How often a training evaluates `at every` fraction: strictly inside, as the end is a job of its own; on the
    validation split at the end too, as the best weights are chosen there."""
    inside = max(0, -(-1_000_000_000 // max(1, round(every * 1_000_000_000))) - 1)
    return inside + (split == "validation")


@parts.register
def _(spec: EvaluateSpec, survivors: float = ASSUMED_SURVIVORS) -> tuple[Part, ...]:
    network = count(spec.model, spec.dataset)
    forward = network.forward_flops
    tested = shape(spec.dataset).tested(spec.images, spec.split)
    each = evaluation_passes(spec.attack, survivors)
    how = f"{tested:,} images x {each:g} passes x {flop_text(forward)}"
    if spec.attack["kind"] == "autoattack":
        how += f"; {survivors:.3g} of them survive, at {AUTOATTACK_PASSES:,} passes each"
    work = network_work(network, paced_passes(spec.attack, survivors), tested, evaluation_batches(tested))
    attack = Part("attack and scoring", tested * each * forward, how, work)
    looked, checks = min(ALARM_IMAGES, tested), alarm_passes(spec.attack["kind"])
    if not checks:
        return (attack,)
    how = f"{looked} images x {checks} passes x {flop_text(forward)}"
    return attack, Part("alarms", looked * checks * forward, how, network_work(network, checks, looked, 1))


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
    batches = -(-images // GENERATION_BATCH)
    if "network" in spec.denoiser:
        network = count_unet(spec.denoiser["network"], spec.dataset)
        work = network_work(network, FORWARD_PACE * evaluations, images, batches)
    else:
        work = Work(images * evaluations * each, 0.0, evaluations * batches)
    sampling = Part("sampling", images * evaluations * each, how, work)
    if spec.sampler["kind"] != "dg":
        return (sampling,)
    steps, judge = int(spec.sampler["steps"]), spec.sampler["discriminator"]
    network = count_unet(judge["network"], spec.dataset)
    forward = network.forward_flops
    how = f"{images:,} images x {steps} steps x {GUIDANCE_PASSES} passes x {flop_text(forward)}"
    work = network_work(network, steps * GUIDANCE_PASSES, images, batches)
    return sampling, Part("discriminator", images * steps * GUIDANCE_PASSES * forward, how, work)


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
    network = count_unet(spec.network, spec.dataset)
    forward = network.forward_flops
    images = spec.train_steps * int(spec.recipe["batch"])
    how = f"{TRAINING_PASSES} passes x {flop_text(forward)} x {images:,} images drawn"
    tested = HELD_OUT_TIMES * HELD_OUT_IMAGES
    return (
        Part(
            f"training: {what}",
            TRAINING_PASSES * forward * images,
            how,
            network_work(network, TRAINING_PASSES, images, spec.train_steps),
        ),
        Part(
            "held-out loss",
            tested * forward,
            f"{tested:,} images x {flop_text(forward)}",
            network_work(network, FORWARD_PACE, tested, HELD_OUT_TIMES),
        ),
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
    parts = [_arithmetic("features", seen * each, f"{seen:,} images x {flop_text(each)}, real ones included")]
    # A covariance of n vectors is n d^2 multiply-adds, made twice of the generated ones; a symmetric matrix's
    # eigenvalues about 4/3 d^3 flops and the two products before them 4 d^3, 21 times (20 jackknife groups);
    # singular values and roots once, about 25 d^3.
    moments = 2.0 * (2 * images + real) * size**2 + (21 * 16 / 3 + 25) * size**3
    parts.append(
        _arithmetic("moments", moments, f"covariances of {images:,} and {real:,} x {size}, 21 distances")
    )
    # Each pair is 2 d flops: nearest training images; three manifolds' distances; kernels of ten blocks, of the
    # real images, and across.
    theirs = min(real, some)
    pairs = float(some + held_out) * real + 3 * theirs**2
    pairs += some**2 / 10 + theirs**2 + some * theirs
    parts.append(_arithmetic("pairs", 2.0 * size * pairs, f"{pairs:.4g} pairs x {2 * size} FLOP"))
    if spec.dataset["kind"] == "cifar10":
        judged = FEATURES["resnet18"].forward_flops
        parts.append(
            _arithmetic(
                "classes", (some + held_out) * judged, f"{some + held_out:,} images x {flop_text(judged)}"
            )
        )
    return tuple(parts)


def _arithmetic(name: str, flops: float, how: str) -> Part:
    """Of matrix products and networks of which only the FLOP are known."""
    return Part(name, flops, how, Work(flops))
