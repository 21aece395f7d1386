"""Examples of codes that need more than a check: shell lines that write a study and plan it."""

from __future__ import annotations

_DATA = "generator g { sampler = edm(steps = 7) fid = 0.1 images = 1M }"
_RECIPE = "recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 }"
_TEST = "evaluate robust { attack = pgd(eps = 0.15, steps = 40, loss = cw) }"
GRID = "grid runs { model in [cnn(2), cnn(4)] generator = g images in [4k, 8k] }"


def planned(
    *parts: str,
    recipe: str = _RECIPE,
    data: str = _DATA,
    dataset: str = "digits",
    test: str = _TEST,
    grid: str = GRID,
) -> str:
    """Write `small.study` of a small grid and these parts; plan it with a store that isn't there."""
    lines = [f"dataset {dataset}", data, recipe, test, grid, *parts]
    text = "\n".join(f"  {line}" for line in lines if line)
    return f"$ echo 'study small {{\n{text}\n}}' > small.study\n$ isoloss plan small.study --store none"


def noted(*parts: str, **named: str) -> str:
    """The same in the long form: notes are said there."""
    return planned(*parts, **named) + " --long"
