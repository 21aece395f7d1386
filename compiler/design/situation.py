"""The inputs of a design as arrays (candidates, posteriors, questions, budget), and the design: the runs bought.

Made by planner.py; read by expected_widths.py, feasibility.py and explain_choice.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.design.candidates import Pool, Smooth
from isoloss.compiler.design.greedy import Bought, Covariance, Spending
from isoloss.compiler.design.posterior import Posterior
from isoloss.compiler.design.questions import AskedLaw
from isoloss.compiler.design.state import State
from isoloss.compiler.laws.arrays import Bools, FlopsPerImage


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Everything a design is made from. `owned`: rows of candidates that are finished, begun or pinned; `begun`:
    those of them without a result yet."""

    cells: Sequence[Cell]
    pool: Pool
    smooth: Smooth
    laws: Sequence[AskedLaw]
    posteriors: Sequence[Posterior]
    rule: FlopsPerImage
    state: State
    owned: tuple[int, ...]
    begun: tuple[int, ...]
    available: float

    def open(self) -> Bools:
        """What may be bought [n]."""
        found = np.ones(len(self.pool), dtype=bool)
        found[list(self.owned)] = False
        return found

    def before(self) -> tuple[Covariance, Spending]:
        """Knowledge and spending before anything more is bought."""
        covariance, spending = Covariance(self.state.modes), Spending(self.pool)
        for i in self.owned:
            spending.buy(i)
        for i in self.begun:
            covariance.add(i)
        return covariance, spending


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """`slice` is what is ready now, `foreseen` what the whole budget may buy as it looks now, the slice's runs
    among them or not. `stage`: pilot, slice, all (the budget holds every cell), or complete (nothing is left to
    run)."""

    situation: Situation
    stage: str
    slice: Bought
    foreseen: Bought
