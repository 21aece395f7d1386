"""A block of lines that renews itself at the foot of a terminal, and lines that stay above it.

In: text. Out: the same on a stream; where that is no terminal, only the lines that stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TextIO

from isoloss.dsl.diagnostics.plain_text import painted
from isoloss.screens.clean_output import CleanStream

_UP, _CLEAR_BELOW = "\033[{}A", "\033[J"
#: Drawn lines must not wrap, or the next drawing would begin too low.
_WRAP_OFF, _WRAP_ON = "\033[?7l", "\033[?7h"


class Screen:
    """`live`: the stream is a terminal that can move its cursor; `colour`: and its user hasn't set NO_COLOR."""

    def __init__(self, out: TextIO) -> None:
        # Cursor and screen are moved here alone; what strangers wrote is cleaned before.
        self._out = out.raw if isinstance(out, CleanStream) else out
        self.live = out.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self._drawn = 0

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return shutil.get_terminal_size()

    def say(self, line: str) -> None:
        """Print a line that stays above the block."""
        self._out.write(self._erasing() + painted(line) + "\n")
        self._out.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Show this block in place of the last one."""
        body = painted("\n".join(lines))
        self._out.write(f"{self._erasing()}{_WRAP_OFF}{body}{_WRAP_ON}")
        self._out.flush()
        self._drawn = len(lines)

    def clear(self) -> None:
        """Remove the block."""
        if self._drawn:
            self._out.write(self._erasing())
            self._out.flush()

    def _erasing(self) -> str:
        if not self._drawn:
            return ""
        up = _UP.format(self._drawn - 1) if self._drawn > 1 else ""
        self._drawn = 0
        return f"\r{up}{_CLEAR_BELOW}"


def fit(text: str, width: int) -> str:
    """Exactly `width` columns: padded, or with an ellipsis for its middle, since names begin and end alike."""
    if len(text) <= width:
        return text.ljust(width)
    if width < 2:
        return text[:width]
    keep = width - 1
    return text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]


def bar(fraction: float, width: int) -> str:
    """A progress bar in eighths of a character, so that a second of an hour's job shows."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width)
