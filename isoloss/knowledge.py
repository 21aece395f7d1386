"""What a store knows about this machine: a device profile that every finished job has improved.

In: a study's device kind, the results in a store. Out: the `DeviceProfile` that prices the next plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from isoloss.compiler.plan import (
    DeviceProfile,
    EvaluateSpec,
    FidSpec,
    GenerateSpec,
    Spec,
    TrainSpec,
)
from isoloss.runtime.result import Result

if TYPE_CHECKING:
    from isoloss.compiler.devices import Timing

_SPECS: dict[str, type] = {
    "generate": GenerateSpec,
    "fid": FidSpec,
    "train": TrainSpec,
    "evaluate": EvaluateSpec,
}


def device_profile(kind: str, results: Iterable[Result] = ()) -> DeviceProfile:
    """The built-in profile of `kind`, moved to what finished jobs took. An unknown kind counts as `cpu` with
    its name in the provenance. Simulated results and those of other devices teach nothing."""
    from isoloss.compiler.devices import BUILT_IN, refine

    profile = BUILT_IN.get(kind)
    if profile is None:
        from dataclasses import replace

        profile = replace(BUILT_IN["cpu"], device=kind, provenance=f"assumed: no profile of `{kind}`; cpu's")
    ours = [r for r in results if not r.run.simulated and (r.run.device == "cpu") == (kind == "cpu")]
    return refine(profile, list(_timings(profile, ours)))


def _timings(profile: DeviceProfile, results: Iterable[Result]) -> Iterable[Timing]:
    from isoloss.compiler.devices import Timing
    from isoloss.compiler.price import Pricer

    pricer = Pricer(profile, None)
    for result in results:
        spec = _spec(result)
        seconds = None if spec is None else pricer.cost(spec).seconds
        if seconds is not None:
            beyond = seconds.mid - profile.startup_seconds.mid
            yield Timing(result.kind, beyond, result.run.seconds)


def _spec(result: Result) -> Spec | None:
    """The spec a result was made from; None if its kind or shape is of another version."""
    from pydantic import TypeAdapter, ValidationError

    try:
        spec: Spec = TypeAdapter(_SPECS[result.kind]).validate_python(dict(result.spec))
    except (KeyError, ValidationError):
        return None
    return spec
