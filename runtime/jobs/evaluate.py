"""The `evaluate` job: one trained network under one attack, on images that it was not trained on.

In: EvaluateSpec and the train job's folder. Out: `samples.npz`, `samples.png`, `verdicts.npz`,
`evaluation.json`; observes `accuracy @ clean`, `accuracy @ ATTACK` and, for attacks that define it, `loss
LOSS @ ATTACK`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import orjson
from torch import Tensor

from isoloss.compiler.plan import EvaluateSpec, Observation, accuracy_metric, exact, loss_metric
from isoloss.runtime import attacks
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import load
from isoloss.runtime.errors import JobError
from isoloss.runtime.evaluation.alarms import attack_alarms, network_alarms
from isoloss.runtime.evaluation.autoattack import autoattack
from isoloss.runtime.evaluation.intervals import Measured, mean, share
from isoloss.runtime.evaluation.samples import save_samples
from isoloss.runtime.evaluation.scoring import Subject, Verdicts, attack_all, perturbation, verify
from isoloss.runtime.models.load import load_trained
from isoloss.runtime.training import losses, precision

CLEAN = {"kind": "none"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack left: adversarial images float32 (n, C, H, W), alarms, and facts for evaluation.json."""

    adversarial: Tensor
    flags: tuple[str, ...]
    details: dict[str, object]


def run(context: JobContext) -> tuple[Observation, ...]:
    """Evaluate. Raises JobError R312 (no usable weights), R405 (fewer test images than asked for), R504
    (AutoAttack not defined here), R505 (the attack broke its own rules)."""
    spec = context.job.spec
    assert isinstance(spec, EvaluateSpec)
    subject = _subject(context, spec)
    precision.set_rounding(precision.FULL)
    outcome = _attack(context, spec, subject)
    verdicts, measured = _judge(spec, subject, outcome)
    save_samples(context.output, subject.x, outcome.adversarial, verdicts)
    _save_evidence(context, spec, subject, outcome, verdicts, measured)
    right = {
        accuracy_metric(CLEAN, spec.split): verdicts.right,
        accuracy_metric(spec.attack, spec.split): verdicts.robust,
    }
    return tuple(
        _observation(context, spec, metric, m, outcome.flags, right.get(metric))
        for metric, m in measured.items()
    )


def _subject(context: JobContext, spec: EvaluateSpec) -> Subject:
    images = load(spec.dataset, spec.split, context.data_root, spec.images)
    if spec.images is not None and spec.images > len(images):
        raise JobError(
            "R405",
            f"{spec.images:,} {spec.split} images are needed, {spec.dataset['kind']} has {len(images):,}",
            f"write `images = {len(images)}` or leave it out",
        )
    folder = context.inputs[spec.network]
    network = load_trained(folder, spec.model, spec.dataset, spec.normalize, spec.weights)
    return Subject.of(network, images, context.device)


def _attack(context: JobContext, spec: EvaluateSpec, subject: Subject) -> Outcome:
    kind = spec.attack["kind"]
    if kind == "none":
        return Outcome(subject.x, (), {})
    if kind == "autoattack":
        broken = autoattack(subject, spec.attack, spec.seed, context.work, context.progress)
        verify(subject.x, broken.adversarial, spec.attack["norm"], exact(spec.attack["eps"]))
        return Outcome(broken.adversarial, broken.warnings, {"stages": dict(broken.stages)})
    attack = attacks.build(spec.attack)
    adversarial = attack_all(
        subject, attack, spec.seed, context.work, lambda part: context.progress(0.9 * part)
    )
    verify(subject.x, adversarial, str(spec.attack.get("norm", "linf")), attack.epsilon)
    alarms = [*network_alarms(subject)]
    if kind == "pgd":
        alarms += attack_alarms(subject, adversarial, spec.attack, spec.seed)
    return Outcome(adversarial, tuple(alarms), {})


def _judge(spec: EvaluateSpec, subject: Subject, outcome: Outcome) -> tuple[Verdicts, dict[str, Measured]]:
    """Predictions on the very arrays that were verified, and what they amount to."""
    clean, attacked = subject.logits(subject.x), subject.logits(outcome.adversarial)
    per_image = None
    # AutoAttack leaves images it cannot break as they were: a loss on them would mix clean and attacked.
    if spec.attack["kind"] != "autoattack":
        per_image = losses.build(spec.loss).per_image(clean, attacked, subject.y)
    verdicts = Verdicts(subject.y, clean.argmax(1), attacked.argmax(1), per_image)
    measured = {accuracy_metric(CLEAN, spec.split): share(verdicts.right.numpy())}
    measured[accuracy_metric(spec.attack, spec.split)] = share(verdicts.robust.numpy())
    if per_image is not None:
        measured[loss_metric(spec.loss, spec.attack, spec.split)] = mean(per_image.numpy())
    return verdicts, measured


def _save_evidence(
    context: JobContext,
    spec: EvaluateSpec,
    subject: Subject,
    outcome: Outcome,
    verdicts: Verdicts,
    measured: dict[str, Measured],
) -> None:
    """`verdicts.npz`: per image what was said and how far it was moved. `evaluation.json`: the rest."""
    arrays = {
        "labels": verdicts.labels.numpy(),
        "clean_predictions": verdicts.clean.numpy(),
        "attacked_predictions": verdicts.attacked.numpy(),
        "linf": perturbation(subject.x, outcome.adversarial, "linf").numpy(),
        "l2": perturbation(subject.x, outcome.adversarial, "l2").numpy(),
    }
    if verdicts.loss is not None:
        arrays["loss"] = verdicts.loss.numpy()
    np.savez(context.output / "verdicts.npz", **arrays)
    record = {
        "attack": dict(spec.attack),
        "loss": dict(spec.loss),
        "weights": spec.weights,
        "split": spec.split,
        "images": len(subject),
        "metrics": {name: asdict(m) for name, m in measured.items()},
        "alarms": list(outcome.flags),
        **outcome.details,
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    (context.output / "evaluation.json").write_bytes(orjson.dumps(record, option=options))


def _observation(
    context: JobContext,
    spec: EvaluateSpec,
    metric: str,
    measured: Measured,
    flags: tuple[str, ...],
    right: Tensor | None,
) -> Observation:
    facts = context.job.facts
    known = facts.flops_per_image is not None and facts.images is not None
    return Observation(
        job=context.job.id,
        kind="evaluate",
        metric=metric,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        count=measured.count,
        run=spec.network,
        params=facts.params,
        images=facts.images,
        fid=facts.fid,
        flops=facts.flops_per_image * facts.images if known else None,  # type: ignore[operator]
        fraction=1.0,
        seed=spec.seed,
        # Alarms are about the attack: a clean accuracy has none.
        flags=() if metric == accuracy_metric(CLEAN, spec.split) else flags,
        # Networks are compared image by image.
        right=None if right is None else np.packbits(right.numpy()).tobytes().hex(),
    )
