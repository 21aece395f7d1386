"""Choose which candidate runs to buy: candidates + questions + what is known -> chosen, dropped, and why.

choice.py has the types, `all` and cheapest-first. planner.py buys what tells most about the questions: it sets
up pool.py (candidates as arrays), prior.py (what is assumed), belief.py (what is known, per law), target.py
(what is asked), greedy.py (the choice), bound.py (what no plan can beat) and doubt.py (what can't be
answered). Pure, and numpy loads only where a design is really made."""

from isoloss.compiler.design.choice import Candidate, Choice, ComputeBudget, choose

__all__ = ["Candidate", "Choice", "ComputeBudget", "choose"]
