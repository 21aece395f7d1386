"""The shape of one row of the table of diagnostic codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """`wrong` and `right` are study texts, or for codes that no study text can raise, shell lines that begin
    with `$ `; `story` is the long explanation of `isoloss help CODE`."""

    code: str
    title: str
    story: str
    wrong: str
    right: str
