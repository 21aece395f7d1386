"""Values that are neither calls nor rules: numbers, words, names, files.

In: a Slot of the vocabulary and what was written. Out: a value of the Study, or BAD, each mistake reported once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from isoloss.dsl.check.amounts import describe, evaluate_amount
from isoloss.dsl.check.scope import BAD, Bad, Scope
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.study.study import Call
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import TYPES, Slot, find_term, law_names, terms, units
from isoloss.dsl.vocabulary.units import PHRASES, Amount, show

#: (slot, unfolded node, scope) -> value or BAD.
Checker = Callable[[Slot, ast.Expression, Scope], Any]
#: Characters in the name of a file: what every file system takes.
MAX_PATH = 255


def check_with(checkers: Mapping[str, Checker], slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """The value of one setting by the checker of its type; None where it says that there is none."""
    if slot.absent and isinstance(node, ast.Path) and node.text == slot.absent:
        return None
    # `points = best` is the word, even where a `let best` gives a generator a name.
    word = slot.type == "choice" and isinstance(node, ast.Path) and node.text in slot.choices
    unfolded = node if word else scope.unfold(node)
    if isinstance(unfolded, Bad):
        return BAD
    return checkers[slot.type](slot, unfolded, scope)


def written(slot: Slot) -> str:
    """An example of the setting as it is written."""
    form = " " if slot.name == "dataset" else f" {slot.form} "
    return f"`{slot.name}{form}{slot.example}`"


def wrong_type(slot: Slot, node: ast.Expression, scope: Scope) -> Bad:
    found = describe(node)
    scope.report.add(
        "U101",
        f"`{slot.name}` is {TYPES[slot.type]}, found {found}",
        node.span,
        found,
        f"for example {written(slot)}",
    )
    return BAD


# Numbers.


def check_number(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Number | ast.Unit | ast.Path | ast.Unary | ast.Binary):
        return wrong_type(slot, node, scope)
    found = evaluate_amount(node, scope, slot.name)
    if isinstance(found, Bad) or not fits(slot, found, node, scope):
        return BAD
    return finished(slot, found)


def fits(slot: Slot, found: Amount, node: ast.Expression, scope: Scope) -> bool:
    """Dimension, range and wholeness of a number; reports the first that fails."""
    if not units.accepts(slot.dimension, found.dimension):
        phrase, label = PHRASES[found.dimension]
        scope.report.add(
            "U102",
            f"`{slot.name}` is {PHRASES[slot.dimension][0]}, found {phrase}",
            node.span,
            label,
            _unit_help(slot),
        )
        return False
    if not in_range(slot, found.value):
        scope.report.add(
            "V101",
            f"`{slot.name}` {range_text(slot)}, found {show(found.value)}",
            node.span,
            "out of range",
            f"for example {written(slot)}",
        )
        return False
    if slot.type == "integer" and found.value.denominator != 1:
        scope.report.add(
            "V107", f"`{slot.name}` is a whole number, found {show(found.value)}", node.span, "not whole"
        )
        return False
    if slot.residue and found.value % slot.residue[1] != slot.residue[0]:
        rest, modulus = slot.residue
        below = (int(found.value) - rest) // modulus * modulus + rest
        form = f"{modulus}n + {rest}" if rest else f"a multiple of {modulus}"
        scope.report.add(
            "V101",
            f"`{slot.name}` is {form}, found {show(found.value)}",
            node.span,
            "no such network",
            f"near: {max(below, rest + modulus)}, {below + modulus}",
        )
        return False
    return True


def finished(slot: Slot, found: Amount) -> Any:
    """The number as the Study holds it: exact for pixels and shares, int for counts, else float in canonical units."""
    if slot.dimension == "pixels" or slot.exact:
        return found.value
    if slot.type == "integer":
        return int(found.value)
    if slot.dimension == "price":
        return (float(found.value * 3600), found.currency)
    if slot.dimension == "tariff":
        return (float(found.value), found.currency)
    return float(found.value)


def in_range(slot: Slot, value: Fraction) -> bool:
    if slot.low is not None:
        low = Fraction(slot.low)
        if value < low or (slot.exclusive and value == low):
            return False
    return slot.high is None or value <= Fraction(slot.high)


def range_text(slot: Slot) -> str:
    parts = []
    if slot.low is not None:
        parts.append(f"{'above' if slot.exclusive else 'at least'} {show(Fraction(slot.low))}")
    if slot.high is not None:
        parts.append(f"at most {show(Fraction(slot.high))}")
    return "must be " + " and ".join(parts)


def _unit_help(slot: Slot) -> str:
    if slot.dimension in ("pixels", "fraction"):
        return f"write it as a fraction: {written(slot)}"
    if slot.dimension in ("plain", "images"):
        return f"write it without a unit: {written(slot)}"
    return f"write it with its unit: {written(slot)}"


def _numbers(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Sequence):
        return wrong_type(slot, node, scope)
    values = [check_number(slot, item, scope) for item in node.items]
    if not values:
        scope.report.add("V108", f"`{slot.name}` is empty", node.span, "no values")
        return BAD
    return BAD if any(isinstance(v, Bad) for v in values) else tuple(values)


def _integers(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return _numbers(replace(slot, type="integer") if isinstance(node, ast.Sequence) else slot, node, scope)


# Words and names.


def _boolean(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return node.value if isinstance(node, ast.Boolean) else wrong_type(slot, node, scope)


def _choice(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    if node.text in slot.choices:
        return node.text
    # Installed packages are asked only about a name that we don't know.
    allowed = law_names() if slot.name == "law" else slot.choices
    if node.text in allowed:
        return node.text
    words = (*allowed, slot.absent) if slot.absent else allowed
    scope.report.add(
        "V102",
        f"`{slot.name}` can't be `{node.text}`",
        node.span,
        "not one of the allowed words",
        did_you_mean(node.text, words),
    )
    return BAD


def _reference(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    return reference(slot.family, node, scope)


def reference(kind: str, node: ast.Path, scope: Scope) -> str | Bad:
    """The name of a declared block of one kind."""
    if kind == "evaluate" and node.text in scope.curves:
        several = ", ".join(f"`{name}`" for name in scope.curves[node.text])
        scope.report.add(
            "V117", f"`{node.text}` is {len(scope.curves[node.text])} evaluations: {several}", node.span,
            "one is asked for", "declare the one that is meant in an `evaluate` block of its own",
        )  # fmt: skip
        return BAD
    if node.text in scope.names(kind):
        return node.text
    scope.report.add(
        "N104",
        f"no `{kind}` is called `{node.text}`",
        node.span,
        "not declared",
        did_you_mean(node.text, scope.names(kind), f"declare it: `{kind} {node.parts[0].text} {{ … }}`"),
    )
    return BAD


def _term(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Path):
        return wrong_type(slot, node, scope)
    if find_term(slot.family, node.text) is not None:
        return node.text
    return unknown_term(slot, node, scope)


def unknown_term(slot: Slot, name: ast.Name | ast.Path, scope: Scope) -> Bad:
    """A name that the slot's family doesn't have."""
    allowed = [t.name for t in terms(slot.family)] + ([slot.absent] if slot.absent else [])
    kind = f"{'an' if slot.family[0] in 'aeiou' else 'a'} {slot.family}"
    helps = did_you_mean(name.text, allowed)
    scope.report.add("N103", f"`{name.text}` is not {kind}", name.span, f"not {kind}", helps)
    return BAD


_DIGEST = re.compile(r"[0-9a-f]{64}")


def _file(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """A path below the data root: a study from a stranger must not reach other files of this machine."""
    if not isinstance(node, ast.Text):
        return wrong_type(slot, node, scope)
    parts = node.text.split("/")
    inside = all(part not in ("", ".", "..") for part in parts) and "~" not in parts[0]
    if not inside or len(node.text) > MAX_PATH or not node.text.isprintable() or set("\\:") & set(node.text):
        return _wrong_text(
            slot, node, "is a path below the data root, without `..`, `~`, `:` and backslashes", scope
        )
    return node.text


def _source(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    """`"wang/*.npz"`, a pattern below the data root, or the word `real`."""
    if isinstance(node, ast.Path) and node.text == "real":
        return Call("real")
    if isinstance(node, ast.Path):
        scope.report.add(
            "V102", f"`{slot.name}` can't be `{node.text}`", node.span, "neither files nor `real`",
            did_you_mean(node.text, ["real"]), "files are written in quotes: `from = \"wang/*.npz\"`",
        )  # fmt: skip
        return BAD
    pattern = _file(slot, node, scope)
    return BAD if isinstance(pattern, Bad) else Call("files", (("pattern", pattern),))


def _digest(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    if not isinstance(node, ast.Text):
        return wrong_type(slot, node, scope)
    if not _DIGEST.fullmatch(node.text):
        return _wrong_text(slot, node, "is 64 hex digits, as `sha256sum FILE` prints them", scope)
    return node.text


def _digests(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    items = node.items if isinstance(node, ast.Sequence) else (node,)
    values = [_digest(slot, item, scope) for item in items]
    if not values:
        scope.report.add("V108", f"`{slot.name}` is empty", node.span, "no values")
        return BAD
    return BAD if any(isinstance(v, Bad) for v in values) else tuple(values)


def _wrong_text(slot: Slot, node: ast.Text, rule: str, scope: Scope) -> Bad:
    shown = node.text if len(node.text) <= 40 else node.text[:40] + "…"
    headline = f"`{slot.name}` {rule}, found `{shown}`"
    scope.report.add("V111", headline, node.span, "of another form", f"for example {written(slot)}")
    return BAD


def _text(slot: Slot, node: ast.Expression, scope: Scope) -> Any:
    return node.text if isinstance(node, ast.Text) else wrong_type(slot, node, scope)


SIMPLE: Mapping[str, Checker] = {
    "number": check_number,
    "integer": check_number,
    "numbers": _numbers,
    "integers": _integers,
    "text": _text,
    "digests": _digests,
    "source": _source,
    "boolean": _boolean,
    "choice": _choice,
    "file": _file,
    "digest": _digest,
    "reference": _reference,
    "term": _term,
}
