"""Text from strangers as it may be shown: names, reasons and lines of a study may hold escape sequences.

In: any text. Out: the same with a picture for each character that would act on a terminal, or that no SVG and no HTML
may hold. Columns stay."""

from __future__ import annotations

import re

#: What acts: control characters but tab and line feed; marks that turn the direction of writing; halves of characters.
_ACTS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
_ACTING = re.compile(f"[{_ACTS}]")
#: What isoloss itself paints with: bold, dim, the colours of its screens, and back.
_ACTING_BUT_PAINT = re.compile(rf"\x1b\[(?:0|1|2|33|1;3[1346]|3[1346])m|([{_ACTS}])")


def plain(text: str) -> str:
    """One line, without line feeds and tabs."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else picture(c) for c in text)


def plain_document(text: str) -> str:
    """Lines of a screen, a page or a picture without paint."""
    return _ACTING.sub(lambda found: picture(found.group()), text)


def painted(text: str) -> str:
    """Lines of a screen with isoloss's own paint: all that a stranger's text can do is to take part in it."""
    return _ACTING_BUT_PAINT.sub(lambda found: picture(found[1]) if found[1] else found.group(), text)


def picture(character: str) -> str:
    return chr(0x2400 + ord(character)) if ord(character) < 0x20 else "�"
