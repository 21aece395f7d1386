"""Batch-norm groups: images that a recipe normalises together.

In: a Recipe, a batch size. Out: the group's size, or what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from isoloss.dsl.study.study import Recipe


def batchnorm_group(recipe: Recipe) -> int | None:
    """Images that a recipe normalises together; None: the whole batch."""
    group = dict(recipe.batchnorm.arguments).get("group")
    return group if isinstance(group, int) else None


def bad_group(recipe: Recipe, batch: int | None) -> tuple[str, str] | None:
    """Headline and help, where the recipe's groups don't divide the batch or its attacked halves."""
    group = batchnorm_group(recipe)
    if group is None or batch is None or group == batch:
        return None
    half = recipe.loss.kind == "half"
    if batch % group == 0 and not (half and group % 2):
        return None
    why = f"a batch of {batch} is no whole number of groups"
    if batch % group == 0:
        why = "`half` attacks every second image, and the group is odd"
    near = _near(group, [d for d in _divisors(batch) if d > 1 and not (half and d % 2)])
    help = f"write `group = {near}` or `group = all`" if near else "write `group = all`"
    return f"`group` of recipe `{recipe.name}` is {group}: {why}", help


def _divisors(number: int) -> list[int]:
    low = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def _near(wanted: int, numbers: Sequence[int]) -> str:
    """The two of them nearest to `wanted`, as words."""
    return " or ".join(map(str, sorted(sorted(numbers, key=lambda n: abs(n - wanted))[:2])))
