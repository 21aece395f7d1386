"""What a plan takes on trust -> lines: speeds, survivors of AutoAttack, unmeasured quality, what has no estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from statistics import median

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost.price import moves_bytes, number_format, speed_key
from isoloss.compiler.cost.speed import NOTHING, Work, split
from isoloss.compiler.plan import DeviceProfile, EvaluateSpec, Plan, TrainSpec
from isoloss.dsl.vocabulary.quantity_text import decimal_text, times_text
from isoloss.screens.layout import wrapped

#: How many times as fast trainings in another number format have to be before the screen says so.
_WORTH_A_WORD = 1.5


def assumptions(plan: Plan) -> list[str]:
    rows: list[tuple[str, str]] = []
    profile = plan.budget.get("profile") or {}
    if profile:
        measured = "assumed" not in str(profile["provenance"]).split(":", 1)[0]
        hint = "" if measured else "; `isoloss calibrate` measures this machine's"
        rows.append(("speed", f"{profile['device']}, {profile['provenance']}{hint}"))
        rows += [("", line) for line in _speeds(plan)]
    faster = _faster(plan)
    if faster:
        rows.append(("precision", faster))
    shares = sorted({j.cost.survivors for j in plan.jobs if j.cost.survivors is not None})
    if shares or any(
        isinstance(j.spec, EvaluateSpec) and j.spec.attack["kind"] == "autoattack" for j in plan.jobs
    ):
        assumed = shares in ([], [cost.ASSUMED_SURVIVORS])
        listed = _range_text([cost.SURVIVORS.low, cost.SURVIVORS.high] if assumed else shares)
        source = "assumed" if assumed else "robust accuracies observed so far"
        rows.append(
            ("autoattack", f"{listed} of images survive ({source}), {cost.AUTOATTACK_PASSES:,} passes each")
        )
    if (plan.budget.get("schedule") or {}).get("widest", 1) > 1:
        rows.append(
            ("scaling", f"{plan.budget['schedule']['loss_per_e_fold']:.0%} lost per e-fold of devices")
        )
    if any(job.cost.memory_bytes for job in plan.jobs):
        rows.append(("memory", "three saved tensors per convolution; a tenth of a device is left free"))
    design = plan.budget.get("design") or {}
    starts = sorted({belief["from"] for belief in (design.get("laws") or {}).values()})
    if starts:
        rows.append(("design", f"what runs will tell is foreseen from {' or '.join(starts)}"))
    fids = design.get("assumed_fids") or {}
    if fids:
        rows.append(
            (
                "fid",
                "not measured yet: " + ", ".join(f"{g} {decimal_text(value)}" for g, value in fids.items()),
            )
        )
    missing = Counter(why for job in plan.jobs for why in job.cost.unknown)
    rows += [("not estimated", f"{why} ({count:,} jobs)") for why, count in missing.items()]
    lines = [line for word, text in rows for line in wrapped(f"{word:<15}{text}", 2, 17)]
    return ["what is assumed", *lines] if lines else []


def _speeds(plan: Plan) -> Iterator[str]:
    """Where the seconds of each class of work come from, and how far their 90 % interval reaches."""
    profile = plan.basis.profile
    ends: dict[str, list[tuple[float, float]]] = {}
    for job in plan.jobs:
        seconds = job.cost.seconds
        if seconds is not None and not moves_bytes(job.spec):
            key = speed_key(job.spec, profile)
            ends.setdefault(key, []).append((seconds.low / seconds.mid, seconds.high / seconds.mid))
    for key, pairs in ends.items():
        low, high = (median(end) for end in zip(*pairs, strict=True))
        reach = f"{decimal_text(low, 2)} to {decimal_text(high, 2)} times the middle"
        yield f"{key}: {profile.speeds[key].provenance}; 90 % lie at {reach}"


def _faster(plan: Plan) -> str:
    """What other number formats of the trainings would gain on the device; empty where it isn't worth a word."""
    used = {number_format(j.spec.numerics) for j in plan.jobs if isinstance(j.spec, TrainSpec)}
    if used != {"fp32"}:
        return ""
    profile = plan.basis.profile
    specs = {id(j.cost): j.spec for j in plan.jobs if isinstance(j.spec, TrainSpec)}
    work = sum((cost.parts(spec)[0].work for spec in specs.values()), NOTHING)
    fp32 = _work_seconds(profile, "train", work)
    others = [key for key in profile.speeds if key.startswith("train@")]
    gains = {key.partition("@")[2]: fp32 / _work_seconds(profile, key, work) for key in others}
    ranked = sorted(gains.items(), key=itemgetter(1))
    gains_text = [f"{n} about {times_text(g)} times as fast" for n, g in ranked if g > _WORTH_A_WORD]
    return (
        f"trainings in fp32; {', '.join(gains_text)}: `precision`, another experiment" if gains_text else ""
    )


def _work_seconds(profile: DeviceProfile, key: str, work: Work) -> float:
    found = split(profile, [(key, work)])
    return found.total.mid - found.startup.mid


def _range_text(shares: Sequence[float]) -> str:
    return f"{shares[0]:.0%}" if len(shares) == 1 else f"{shares[0]:.0%} to {shares[-1]:.0%}"
