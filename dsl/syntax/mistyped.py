"""What people type from habit, and what the language has in its place.

In: a text and the place where reading it failed. Out: the thing that was typed, with what to write. Runs only after
a syntax error, so nothing here changes what a valid study means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

#: Texts and comments, in which nothing is mistyped.
_QUIET = re.compile(r'"[^"\n]*"|#[^\n]*')
_NUMBER = r"[0-9][0-9_]*(?:\.[0-9]+)?"
#: Characters searched before and after a mistake: a file of two megabytes must not take quadratic time.
_REACH = 1000
#: Not inside a word or a number.
_START = r"(?<![\w.])"
_TIME = re.compile(r"time|wait|hours|deadline")


@dataclass(frozen=True, slots=True)
class Mistyped:
    """`[start, end)` of the text was typed; `instead` may stand there. `advice` says so."""

    code: str
    start: int
    end: int
    headline: str
    instead: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Habit:
    code: str
    pattern: re.Pattern[str]
    #: Says what is wrong with the thing typed, which is named before it.
    why: str
    instead: Callable[[re.Match[str]], str]
    #: Whether commas around it may separate the items of a list or the arguments of a call.
    outside_brackets: bool = False


def _million_or_minutes(match: re.Match[str]) -> str:
    line = match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()]
    setting = re.search(r"(\w+)\s*(?:=|in|<=)[^=]*$", line)
    is_time = setting is not None and _TIME.search(setting.group(1)) is not None
    return f"{match.group(1)} min" if is_time else f"{match.group(1)}M"


def _money(match: re.Match[str]) -> str:
    return f"{match.group(1)} USD{match.group(2) or ''}"


def _clock(match: re.Match[str]) -> str:
    hours, minutes, seconds = int(match.group(1)), int(match.group(2)), int(match.group(3) or 0)
    if seconds:
        return f"{hours * 3600 + minutes * 60 + seconds} s"
    return f"{hours * 60 + minutes} min" if minutes else f"{hours} h"


def _listed(match: re.Match[str]) -> str:
    return f"in [{', '.join(item.strip() for item in match.group(1).split(','))}]"


_ITEM = rf"{_NUMBER}(?:[kMB]\b)?"

#: The first that stands at the place wins.
_HABITS = (
    _Habit("S101", re.compile(r"//([^\n]*)"), "begins no comment here", lambda m: f"#{m[1]}"),
    _Habit(
        "S102",
        re.compile(r"/\*(.*?)\*/", re.DOTALL),
        "is no comment here",
        lambda m: "# " + m[1].strip().replace("\n", "\n# ") + "\n",
    ),
    _Habit("S102", re.compile(rf"{_START}(0[xX][0-9a-fA-F]+)\b"), "is not a decimal number",
           lambda m: str(int(m[1], 16))),
    _Habit("S101", re.compile(rf"\$\s*({_NUMBER})(/[a-z]+)?"), "is not how money is written", _money),
    _Habit("S101", re.compile(rf"{_START}([0-9]+):([0-9]{{2}})(?::([0-9]{{2}}))?\b"), "is not how a time is written",
           _clock),
    _Habit("S101", re.compile(rf"{_START}([0-9]{{1,3}}(?:['’][0-9]{{3}})+)\b"), "is not one number",
           lambda m: re.sub("['’]", "_", m[1])),
    _Habit("U106", re.compile(rf"{_START}({_NUMBER})K\b"), "has an unknown suffix", lambda m: f"{m[1]}k"),
    _Habit("U106", re.compile(rf"{_START}({_NUMBER})m\b"), "has an unknown suffix", _million_or_minutes),
    _Habit("S102", re.compile(rf"(?:\bin\s+(?={_ITEM})|=\s*(?={_NUMBER}[kMB]\b))({_ITEM}(?:\s*,\s*{_ITEM})+)"),
           "is not a list", _listed, outside_brackets=True),
    _Habit("S102", re.compile(rf"{_START}([1-9][0-9]{{0,2}}(?:,[0-9]{{3}})+)\b"), "is not one number",
           lambda m: m[1].replace(",", "_"), outside_brackets=True),
    _Habit("S102", re.compile(rf"{_START}([0-9]+),([0-9]+)\b"), "is not one number",
           lambda m: f"{m[1]}.{m[2]}", outside_brackets=True),
    _Habit("S101", re.compile(r"'([^'\n]*)'|[“”„‟]([^“”„‟\"\n]*)[“”„‟]"), "is not a text",
           lambda m: f'"{m[1] or m[2] or ""}"'),
    _Habit("S101", re.compile(r":=|:"), "sets nothing", lambda m: "="),
    _Habit("S102", re.compile(r"=="), "compares and sets nothing", lambda m: "="),
    _Habit("S101", re.compile(r"&&"), "is no operator", lambda m: "and"),
    _Habit("S101", re.compile(r"\|\|"), "is no operator", lambda m: "or"),
    _Habit("S102", re.compile(rf"{_START}(\.[0-9]+)\b"), "is not a number", lambda m: f"0{m[1]}"),
    _Habit("S102", re.compile(r"(?<![\w.])([0-9]+)\.(?![\w.])"), "is not a number", lambda m: f"{m[1]}.0"),
    _Habit("S102", re.compile(r",(?=\s*(?:\n|\}))"), "separates no settings", lambda m: "", outside_brackets=True),
)  # fmt: skip


def mistyped_at(text: str, since: int, position: int, in_brackets: bool) -> Mistyped | None:
    """The first habit whose match touches the text from `since` (where the last words before the mistake
    begin) to `position` (where reading failed)."""
    quiet = _QUIET.sub(lambda m: "\0" * len(m[0]), text)
    first, last = max(text.rfind("\n", 0, since) + 1, position - _REACH), position + _REACH
    found: list[tuple[int, int, Mistyped]] = []
    for rank, habit in enumerate(_HABITS):
        if habit.outside_brackets and in_brackets:
            continue
        for match in habit.pattern.finditer(quiet, first, last):
            if match.start() > position:
                break
            if match.end() > since:
                # What stands in the text, not its blanked form.
                written = habit.pattern.match(text, match.start(), last) or match
                found.append((rank, match.start(), _mistyped(habit, written)))
    return min(found, key=lambda row: row[:2])[2] if found else None


def _mistyped(habit: _Habit, match: re.Match[str]) -> Mistyped:
    typed, instead = match[0], habit.instead(match)
    shown = typed.split("\n")[0]
    shown = shown if len(shown) <= 40 else f"{shown[:37]}…"
    advice = f"write `{instead.strip()}`" if instead else "nothing separates settings: leave it out"
    return Mistyped(habit.code, match.start(), match.end(), f"`{shown}` {habit.why}", instead, advice)
