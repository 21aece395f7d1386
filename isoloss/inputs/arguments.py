"""Values on a command line, read with the language's own numbers and units."""

from __future__ import annotations

import re

from isoloss.errors import WRONG_USAGE, UserError, fault

COMPUTE_HELP = "write it as `1e21`, `1e21 FLOP` or `1 ZFLOP`"


def compute_flops(text: str) -> float:
    """`1e21`, `1e21 FLOP`, `1 ZFLOP` -> FLOP, above 0. Raises UserError (L211, exit code 2)."""
    value = _number(text, ("compute", "plain"))
    if value is None or not 0 < value < 1e60:
        raise _wrong(f"`--compute {text}` is not an amount of compute", COMPUTE_HELP)
    return value


def count_value(name: str, text: str) -> float:
    """`36M`, `3e8` -> a count above 0. Raises UserError (L211, exit code 2)."""
    value = _number(text, ("plain", "images"))
    if value is None or not 0 < value < 1e30:
        raise _wrong(f"`--{name} {text}` is not a count", "write it as `36M`, `3e8` or `36000000`")
    return value


FID_HELP = (
    "quality of the training data, 0 = real; another space than Inception is named: '0.2 @ pixels'; "
    "default 0, or the fit's only FID"
)
_SPACE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")


def fid_value(text: str) -> tuple[float, str]:
    """`1.65`, `0.2 @ pixels` -> a FID, 0 or above, and the feature space it is a distance in: the papers',
    Inception's, where none is named. Raises UserError (L211, exit code 2)."""
    number, named, space = (part.strip() for part in text.partition("@"))
    value = _number(number, ("plain",))
    if value is None or not 0 <= value < 1e6 or (named and not _SPACE.fullmatch(space)):
        raise _wrong(
            f"`--fid {text}` is not a FID",
            "a number, 0 or above; 0 is real data; `0.2 @ pixels` names its space",
        )
    return value, space or "inception"


def _number(text: str, dimensions: tuple[str, ...]) -> float | None:
    """A literal of the language in its canonical unit; None for anything else."""
    from isoloss.dsl.diagnostics.collector import Report
    from isoloss.dsl.syntax import ast
    from isoloss.dsl.syntax.parse import parse_value
    from isoloss.dsl.vocabulary.units import amount

    if len(text) > 100:
        return None
    node = parse_value(text, "command line", Report())
    if not isinstance(node, ast.Number):
        return None
    parsed = amount(node.value, node.unit)
    try:
        return float(parsed.value) if parsed.dimension in dimensions else None
    except OverflowError:
        return None


def _wrong(headline: str, help: str) -> UserError:
    return fault("L211", headline, help, exit_code=WRONG_USAGE)
