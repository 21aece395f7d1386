"""What a study's finished jobs teach about its device: a profile, jobs and their seconds -> the profile moved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from isoloss.compiler.cost.flops import ASSUMED_SURVIVORS, parts
from isoloss.compiler.cost.learning import Timed, learn
from isoloss.compiler.cost.price import amounts, moves_bytes
from isoloss.compiler.jobs.factory import Source
from isoloss.compiler.observed.autoattack_survivors import Survivors
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.plan import DeviceProfile, EvaluateSpec


def learned_profile(profile: DeviceProfile, sources: Iterable[Source], knowledge: Knowledge) -> DeviceProfile:
    """The profile, assumed or measured by `calibrate`, moved by what those of these jobs took that are
    finished."""
    if not knowledge.finished:
        return profile
    finished = [source for source in sources if source.id in knowledge.finished]
    timed = list(_timings(profile, finished, knowledge))
    return learn(profile, timed, f"{len(timed)} finished jobs")


def _timings(profile: DeviceProfile, sources: Sequence[Source], knowledge: Knowledge) -> Iterator[Timed]:
    survivors = Survivors(knowledge)
    for source in sources:
        seconds, spec = knowledge.seconds(source.id), source.spec
        share = survivors(spec).mid if isinstance(spec, EvaluateSpec) else ASSUMED_SURVIVORS
        bill = parts(spec, share)
        if seconds is None or moves_bytes(spec) or any(part.flops is None for part in bill):
            continue
        yield Timed(source.id, amounts(spec, bill, profile), seconds)
