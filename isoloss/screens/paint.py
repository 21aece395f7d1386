"""Colour on terminals, none elsewhere: what a word is painted for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paint:
    """Text with ANSI codes around it, or as it is."""

    on: bool

    @classmethod
    def for_output(cls) -> Paint:
        """For standard output: a terminal, unless NO_COLOR is set."""
        return cls(sys.stdout.isatty() and "NO_COLOR" not in os.environ)

    def bold(self, text: str) -> str:
        return self._with("1", text)

    def dim(self, text: str) -> str:
        return self._with("2", text)

    def warn(self, text: str) -> str:
        return self._with("33", text)

    def _with(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.on and text else text


PLAIN = Paint(False)
