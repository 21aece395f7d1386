"""Formatting keeps what a study says, is idempotent, and loses no comment."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.format import format_study, format_text
from isoloss.dsl.syntax.parse import parse_study
from tests.dsl.strategies import studies

EXAMPLE = Path(__file__).parents[2] / "examples" / "robustness_limits.study"
SLOW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def parsed(text: str) -> ast.StudyAst:
    report = Report()
    found = parse_study(text, "test", report)
    assert found is not None, (text, report.diagnostics())
    return found


@SLOW
@given(studies)
def test_format_round_trips(study: ast.StudyAst) -> None:
    text = format_study(study)
    assert parsed(text) == study
    assert format_text(text, "test", Report()) == text


COMMENTED = st.lists(
    st.sampled_from(
        [
            "dataset digits",
            "let   eps=8/255",
            "evaluate e {attack = pgd(eps=eps)}",
            "budget {\n compute=1 TFLOP",
            "storage = 1 GB",
            "recipe r { lr = 0.3 if images <= 10M\n else 0.1",
            "generator g { }",
            "images in [1k,\n 2k]",
        ]
    ),
    max_size=8,
)


@SLOW
@given(COMMENTED, st.randoms())
def test_comments_stay_in_order(statements: list[str], random: object) -> None:
    lines, opened = ["# first", "study t { # opening"], 1
    for number, statement in enumerate(statements):
        lines += [statement + f" # after {number}", "", f"# between {number}"]
        opened += statement.count("{") - statement.count("}")
    lines += ["} # closing"] * opened + ["# last"]
    text = "\n".join(lines)
    formatted = format_text(text, "test", Report())
    assert formatted is not None
    comments = re.compile(r"#.*")
    assert sorted(comments.findall(formatted)) == sorted(comments.findall(text))
    assert parsed(formatted) == parsed(text)
    assert format_text(formatted, "test", Report()) == formatted


def test_the_example_is_canonical() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert format_text(text, str(EXAMPLE), Report()) == text


def test_layout() -> None:
    messy = """study  t{dataset digits
      let a=0.1

      # why

      let longer = 8 / 255   # tail
      generator g {sampler=edm(steps=5) images=1M}
      generator longer { sampler = edm( steps = 10 ) images = 10M }
      grid runs {
        model in [ cnn(1),cnn(2) ]
        images in 1..3
        where not (images<=generator.images and(fid<3 or fid>5))
      }
      budget { price = 2.40 USD / h devices = 2 of cpu }
    }"""
    assert format_text(messy, "test", Report()) == (
        "study t {\n"
        "  dataset digits\n"
        "  let a = 0.1\n"
        "\n"
        "  # why\n"
        "\n"
        "  let longer = 8/255  # tail\n"
        "  generator g      { sampler = edm(steps = 5)    images = 1M  }\n"
        "  generator longer { sampler = edm(steps = 10)   images = 10M }\n"
        "  grid runs {\n"
        "    model  in [cnn(1), cnn(2)]\n"
        "    images in 1..3\n"
        "    where not (images <= generator.images and (fid < 3 or fid > 5))\n"
        "  }\n"
        "  budget { price = 2.40 USD/h   devices = 2 of cpu }\n"
        "}\n"
    )


def test_what_is_no_study_is_not_formatted() -> None:
    report = Report()
    assert format_text("study t { dataset", "test", report) is None
    assert report.failed
