"""How often a job that dies is begun again: three deaths without advance end it, in every executor.

In: what the job could go on from at each death (Store.saved). Out: may it go on? Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from isoloss.runtime.store.store import Saved

TRIES = 3


@dataclass
class Tries:
    """Of one job. A death is an advance where the job has saved what it had at no start and no death before: a file
    that is newer, or a state that came round again, got nobody further."""

    seen: set[Saved] = field(default_factory=set)
    deaths: int = 0

    def begins(self, saved: Saved) -> None:
        self.seen.add(saved)

    def dies(self, saved: Saved) -> bool:
        """May it be begun again?"""
        self.deaths = self.deaths + 1 if saved in self.seen else 1
        self.seen.add(saved)
        return self.deaths < TRIES
