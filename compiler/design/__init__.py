"""Choose which candidate runs to buy: candidates + questions + observations -> chosen, dropped, and why.

choice.py has the types, `all` and cheapest-first; budgets.py and reservation.py hold the budget against them.
planner.py buys the runs that tell most about the questions, of a situation.py made from candidates.py (runs
as arrays), posterior.py (what each law's parameters are believed to be) and questions.py, state.py and
target.py (the answers as gradients). greedy.py and balance.py choose, bound.py knows what no plan can beat,
expected_widths.py, feasibility.py and explain_choice.py say what the choice is worth. Pure, and numpy loads
only where a design is really made."""

from isoloss.compiler.design.choice import Candidate, Choice, ComputeBudget, choose

__all__ = ["Candidate", "Choice", "ComputeBudget", "choose"]
