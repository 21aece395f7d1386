"""No text, no override and no profile name ever raises: mistakes are diagnostics."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoloss.dsl.diagnostics.codes import codes
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import as_data, render
from isoloss.dsl.load import load_study
from isoloss.dsl.syntax.format import format_text

EXAMPLE = (Path(__file__).parents[2] / "examples" / "robustness_limits.study").read_text(encoding="utf-8")
#: The canonical file up to its grid is enough of every construct and quicker.
HEAD = EXAMPLE[: EXAMPLE.index("  budget {")] + "}\n"
WORDS = sorted(set(re.findall(r"\w+|[^\w\s]", EXAMPLE)))
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def _load(text: str, profile: str | None = None, overrides: tuple[str, ...] = ()) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.study"
        path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
        study, diagnostics = load_study(path, profile=profile, overrides=overrides)
    assert (study is None) == any(d.severity == "error" for d in diagnostics)
    for d in diagnostics:
        assert d.code in codes()
        as_data(d)
    render(diagnostics)
    format_text(text, "test", Report())


@SETTINGS
@given(st.text(max_size=200), st.none() | st.text(max_size=5))
def test_any_text(text: str, profile: str | None) -> None:
    _load(text, profile)


@SETTINGS
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_words(words: list[str]) -> None:
    _load("study t { dataset digits " + " ".join(words) + " }")


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = HEAD
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 12))
        text = (
            text[:place]
            + draw(st.sampled_from(["", *WORDS, " 3 h", '"', "\x00", "\u2028"]))
            + text[place + cut :]
        )
    return text


@SETTINGS
@given(mutated())
def test_a_damaged_study(text: str) -> None:
    _load(text)


@SETTINGS
@given(
    st.lists(
        st.text(max_size=30)
        | st.sampled_from([f"{a}.{b}={c}" for a in WORDS[::9] for b in WORDS[::11] for c in WORDS[::13]]),
        max_size=3,
    )
)
def test_any_override(overrides: list[str]) -> None:
    _load("study t { dataset digits let a = 1 budget { compute = 1 TFLOP } }", None, tuple(overrides))


def test_deep_and_long_input() -> None:
    for text in (
        "study t { dataset digits let x = " + "(" * 5000 + "1" + ")" * 5000 + "}",
        "study t { dataset digits let x = " + "-" * 5000 + "1 }",
        "study t { dataset digits let x = 1" + " + 1" * 5000 + "}",
        "study t { dataset digits let x = " + "[" * 5000 + "}",
        "study t {" * 3000,
        "study t { dataset digits " + "".join(f"let a{i} = a{i + 1} " for i in range(1500)) + "}",
        "study t { dataset digits let a0 = 1 "
        + "".join(f"let a{i + 1} = a{i} + a{i} " for i in range(60))
        + "evaluate e { attack = pgd(eps = a60) } }",
        "study t { dataset digits let a = a + 1 evaluate e { attack = pgd(eps = a) } }",
        "study t { dataset digits let x = " + "1 if true else " * 3000 + "1 }",
    ):
        _load(text)
