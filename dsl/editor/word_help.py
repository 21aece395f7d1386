"""Rows of the vocabulary and of the codes as text for people: `isoloss help` and the generated pages."""

from __future__ import annotations

import textwrap

from isoloss.dsl.diagnostics.codes import codes
from isoloss.dsl.diagnostics.codes.row import Code
from isoloss.dsl.vocabulary import (
    BLOCKS,
    BUILT_IN,
    DEVICES,
    FAMILIES,
    QUANTITIES,
    TYPES,
    WORDS,
    BlockRow,
    By,
    QuantityRow,
    Slot,
    Term,
    WordRow,
    law_names,
    terms,
    third_party,
)
from isoloss.dsl.vocabulary.units import PHRASES, UNITS


def _owners() -> list[BlockRow | Term]:
    return [*BLOCKS.values(), *BUILT_IN, *third_party()]


def words() -> list[str]:
    """Everything that `explain` knows."""
    slots = [slot.name for row in _owners() for slot in row.slots]
    names = [*WORDS, *BLOCKS, *QUANTITIES, *(t.name for t in (*BUILT_IN, *third_party())), *slots]
    return list(dict.fromkeys([*names, *UNITS, *law_names(), *DEVICES, *codes()]))


def explain(word: str) -> str | None:
    """All that the language knows by this name; None for an unknown word."""
    if word.upper() in codes():
        return code_text(codes()[word.upper()])
    parts: list[str] = []
    if word in BLOCKS:
        row = BLOCKS[word]
        parts.append(_entry(f"{word}: a block", row.doc, row.example, row.slots))
    parts += [_term(t) for family in FAMILIES for t in terms(family) if t.name == word]
    if word in QUANTITIES:
        parts.append(_plain(QUANTITIES[word], "a quantity of a cell"))
    if word in WORDS and word not in BLOCKS:
        parts.append(_plain(WORDS[word], "a word of the language"))
    if word in UNITS:
        dimension, factor = UNITS[word]
        shown = f"{float(factor):g} of its base unit" if factor != 1 else "the base unit"
        parts.append(f"{word}: a unit of {PHRASES[dimension][1]}, {shown}\n")
    if word in law_names():
        parts.append(f"{word}: a law that `fit` can use; see `isoloss fit --help`\n")
    if word in DEVICES:
        parts.append(f"{word}: a device, for example `devices = 2 of {word}`\n")
    parts += _as_setting(word)
    return "\n".join(parts) or None


def _as_setting(word: str) -> list[str]:
    """The word as a setting, wherever it is one."""
    found = []
    for owner in _owners():
        slot = owner.slot(word)
        if slot is not None:
            kind = f"{owner.family} " if isinstance(owner, Term) else ""
            found.append(f"{word}: a setting of {kind}`{owner.name}`\n" + "\n".join(_slot(slot)) + "\n")
    return found


def _term(term: Term) -> str:
    article = "an" if term.family[0] in "aeiou" else "a"
    source = f"Source: {term.source}" if term.source else ""
    return _entry(f"{term.name}: {article} {term.family}", term.doc, term.example, term.slots, source)


def _plain(row: QuantityRow | WordRow, what: str) -> str:
    return f"{row.name}: {what}\n\n  {row.doc}\n\n  Example: {row.example}\n"


def _entry(title: str, doc: str, example: str, slots: tuple[Slot, ...], source: str = "") -> str:
    lines = [title, "", *_wrapped(doc), "", f"  Example: {example}"]
    if source:
        lines.append(f"  {source}")
    if slots:
        lines += ["", "  Settings:"]
        for slot in slots:
            lines += ["", f"  {slot.name}", *_slot(slot)]
    return "\n".join(lines) + "\n"


def _slot(slot: Slot) -> list[str]:
    facts = [f"{type_text(slot)}; {default_words(slot)}", f"Example: {slot.name} {slot.form} {slot.example}"]
    if slot.source:
        facts.append(f"Source: {slot.source}")
    return [line for fact in (slot.doc, *facts) for line in _wrapped(fact, 4)]


def _wrapped(text: str, indent: int = 2) -> list[str]:
    pad = " " * indent
    return textwrap.wrap(text, 100, initial_indent=pad, subsequent_indent=pad)


def type_text(slot: Slot) -> str:
    """What a setting takes, with unit and range: `a fraction of the pixel range, above 0, at most 1`."""
    if slot.type == "choice":
        words = law_names() if slot.name == "law" else slot.choices
        kind = "one of " + ", ".join(f"`{w}`" for w in words)
    elif slot.type == "call":
        article = "an" if slot.family[0] in "aeiou" else "a"
        kind = f"{article} {slot.family}"
    elif slot.type == "reference":
        kind = f"the name of a `{slot.family}`"
    elif slot.type == "term":
        kind = f"the name of a {slot.family}"
    elif slot.type in ("number", "integer") and slot.dimension != "plain":
        kind = PHRASES[slot.dimension][0] + (", whole" if slot.type == "integer" else "")
    else:
        kind = TYPES[slot.type]
    if slot.low is not None:
        kind += f", {'above' if slot.exclusive else 'at least'} {slot.low}"
    if slot.high is not None:
        kind += f", at most {slot.high}"
    if slot.residue:
        kind += f", {slot.residue[1]}n + {slot.residue[0]}"
    return f"{kind}, or `{slot.absent}`" if slot.absent else kind


def default_words(slot: Slot) -> str:
    """`default 0.1`, `default kl for trades, cw for evaluate, else ce`, `required`."""
    if isinstance(slot.default, By):
        cases = [f"`{text}` for {key}" for key, text in slot.default.table.items() if key != "*"]
        rest = slot.default.table.get("*")
        said = "default " + ", ".join(cases) + (f", else `{rest}`" if rest else "")
        return said if rest else f"{said}, else required"
    if slot.default is not None:
        return f"default `{slot.default}`"
    return f"required unless {slot.optional_when}" if slot.optional_when else "required"


def code_text(code: Code) -> str:
    """The long story of a diagnostic."""
    story = "\n".join(textwrap.wrap(code.story, 100))
    examples = [f"{title}:\n\n{textwrap.indent(text, '    ')}\n" for title, text in
                (("Wrong", code.wrong), ("Right", code.right))]  # fmt: skip
    return f"{code.code}: {code.title}\n\n{story}\n\n" + "\n".join(examples)


def overview() -> str:
    """Every word and code, by kind."""
    sections = [
        ("blocks", list(BLOCKS)),
        *((f"{family} names", [t.name for t in terms(family)]) for family in FAMILIES),
        ("laws", list(law_names())),
        ("quantities", list(QUANTITIES)),
        ("words", list(WORDS)),
        ("units", list(UNITS)),
        ("devices", list(DEVICES)),
        ("diagnostic codes", list(codes())),
    ]
    lines = ["isoloss help WORD explains one of these:", ""]
    for title, names in sections:
        lines += textwrap.wrap(
            f"{title}: {', '.join(names)}", 110, initial_indent="  ", subsequent_indent="      "
        )
    return "\n".join(lines) + "\n"
