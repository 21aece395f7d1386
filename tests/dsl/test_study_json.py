"""A study through JSON is the same study; its digest knows meaning and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Axis, Grid, Study
from isoloss.dsl.study.study_json import study_digest, study_from_json, study_to_json
from tests.dsl.strategies import rules, values

EXAMPLE = Path(__file__).parents[2] / "examples" / "robustness_limits.study"


def _example(profile: str | None = None) -> Study:
    study, diagnostics = load_study(EXAMPLE, profile=profile)
    assert study is not None, diagnostics
    return study


def _through(study: Study) -> Study:
    return study_from_json(orjson.loads(orjson.dumps(study_to_json(study))))


@pytest.mark.parametrize("profile", [None, "laptop"])
def test_the_example(profile: str | None) -> None:
    study = _example(profile)
    again = _through(study)
    assert again == study
    assert again.origin == study.origin
    assert study_digest(again) == study_digest(study)


@settings(deadline=None, max_examples=100)
@given(values, rules, rules)
def test_every_value_and_rule(value: Any, first: Any, second: Any) -> None:
    study = _STUDY
    grid = Grid("g", (Axis(("model",), ((value,), (value,))),), (first,))
    changed = replace(study, grids=(grid,), recipes=(replace(study.recipes[0], batch=second),))
    again = _through(changed)
    assert again == changed
    # 1 == 1.0 == True: the types must come back, too.
    assert repr(again.grids) == repr(changed.grids)


_STUDY = _example()


def test_layout_and_comments_change_no_digest(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    other = tmp_path / "other.study"
    other.write_text("# more\n\n" + text.replace("  dataset", "\n\n   dataset"), encoding="utf-8")
    study, _ = load_study(other)
    assert study is not None
    assert study_digest(study) == study_digest(_STUDY)


def test_meaning_changes_the_digest() -> None:
    for change in ("let.eps", "grid.runs.images=[5M]", "budget.compute=1 ZFLOP", "recipe.trades.batch=512"):
        if "=" in change:
            study, diagnostics = load_study(EXAMPLE, overrides=[change])
        else:
            study, diagnostics = load_study(EXAMPLE, overrides=["eps=4/255"])
        assert study is not None, diagnostics
        assert study_digest(study) != study_digest(_STUDY)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d.pop("name"), "study: no `name`"),
        (lambda d: d.update(extra=1), "unknown `extra`"),
        (lambda d: d["budget"].update(compute_flops="1e22"), "study.budget.compute_flops"),
        (lambda d: d["generators"][0].update(images=2.5), "study.generators[0].images"),
        (lambda d: d["recipes"][0].update(batch={"operator": "exec", "operands": []}), "no operator"),
        (lambda d: d["recipes"][0]["attack"]["arguments"].update(eps={"rational": "8/0"}), "not a rational"),
    ],
)
def test_what_does_not_fit_is_refused(change: Any, place: str) -> None:
    data = orjson.loads(orjson.dumps(study_to_json(_STUDY)))
    change(data)
    with pytest.raises(ValueError) as caught:
        study_from_json(data)
    assert place in str(caught.value)


def test_deep_json_is_refused() -> None:
    data = study_to_json(_STUDY)
    rule: dict[str, Any] = {"const": 1}
    for _ in range(5000):
        rule = {"operator": "neg", "operands": [rule]}
    data["recipes"][0]["batch"] = rule
    with pytest.raises(ValueError):
        study_from_json(data)


def test_every_field_is_carried() -> None:
    assert set(study_to_json(_STUDY)) == {f.name for f in fields(Study)}
