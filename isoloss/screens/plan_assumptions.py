"""What a plan takes on trust -> lines: speeds, survivors of AutoAttack, unmeasured quality, what has no estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost.price import number_format
from isoloss.compiler.plan import EvaluateSpec, Plan, TrainSpec
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
    faster = _faster(plan)
    if faster:
        rows.append(("precision", faster))
    shares = sorted({j.cost.survivors for j in plan.jobs if j.cost.survivors is not None})
    if shares or any(
        isinstance(j.spec, EvaluateSpec) and j.spec.attack["kind"] == "autoattack" for j in plan.jobs
    ):
        listed = _range_text(shares or [cost.ASSUMED_SURVIVORS])
        source = (
            "assumed" if shares in ([], [cost.ASSUMED_SURVIVORS]) else "robust accuracies observed so far"
        )
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


def _faster(plan: Plan) -> str:
    """What other number formats of the trainings would gain on the device; empty where it isn't worth a word."""
    used = {number_format(j.spec.numerics) for j in plan.jobs if isinstance(j.spec, TrainSpec)}
    if used != {"fp32"}:
        return ""
    rates = plan.basis.profile.flops_per_second
    fp32 = rates["train"].mid
    gains = {
        key.partition("@")[2]: rate.mid / fp32 for key, rate in rates.items() if key.startswith("train@")
    }
    ranked = sorted(gains.items(), key=itemgetter(1))
    gains_text = [f"{n} about {times_text(g)} times as fast" for n, g in ranked if g > _WORTH_A_WORD]
    return (
        f"trainings in fp32; {', '.join(gains_text)}: `precision`, another experiment" if gains_text else ""
    )


def _range_text(shares: Sequence[float]) -> str:
    return f"{shares[0]:.0%}" if len(shares) == 1 else f"{shares[0]:.0%} to {shares[-1]:.0%}"
