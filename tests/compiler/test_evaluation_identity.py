"""Two evaluations that differ in anything never share an identity; networks and seeds are no part of it."""

from __future__ import annotations

from typing import Any

import pytest

from isoloss.compiler.plan import evaluation_identity

PGD = {"kind": "pgd", "norm": "linf", "eps": "8/255", "step": "1/255", "steps": 10, "restarts": 1, "start": "uniform",
       "loss": "cw"}  # fmt: skip
SPEC: dict[str, Any] = {
    "dataset": {"kind": "digits"}, "network": "0123", "model": {"kind": "cnn", "width": 1},
    "normalize": {"kind": "none"},
    "attack": PGD, "loss": {"kind": "trades", "beta": 5.0, "label_smoothing": 0.1}, "weights": "average",
    "split": "test", "images": None, "seed": 0,
}  # fmt: skip
ATTACKED, CLEAN, LOSS = (
    "accuracy @ pgd(10, cw, linf, 8/255)",
    "accuracy @ clean",
    "loss trades(5) @ pgd(10, …)",
)
#: Every setting of the attack and of the evaluation, one at a time.
EDITS: list[dict[str, Any]] = [
    *({"attack": PGD | {name: value}} for name, value in {
        "norm": "l2", "eps": "4/255", "step": "2/255", "steps": 11, "restarts": 3, "start": "zero", "loss": "ce",
    }.items()),
    {"attack": {"kind": "autoattack", "norm": "linf", "eps": "8/255", "version": "standard"}},
    {"attack": {"kind": "autoattack", "norm": "linf", "eps": "8/255", "version": "rand"}},
    {"weights": "live"}, {"split": "validation"}, {"images": 100}, {"dataset": {"kind": "mnist"}},
]  # fmt: skip


def test_no_two_share_one() -> None:
    found = [evaluation_identity("evaluate", SPEC | edit, ATTACKED) for edit in ({}, *EDITS)]
    assert None not in found
    assert len(set(found)) == len(EDITS) + 1


@pytest.mark.parametrize("metric", [ATTACKED, CLEAN, LOSS])
@pytest.mark.parametrize("edit", [{"network": "4567"}, {"seed": 3}, {"model": {"kind": "cnn", "width": 2}}])
def test_what_is_tested_is_no_part_of_it(edit: dict[str, Any], metric: str) -> None:
    assert evaluation_identity("evaluate", SPEC | edit, metric) == evaluation_identity(
        "evaluate", SPEC, metric
    )


def test_the_scoring_loss_belongs_to_a_loss_alone() -> None:
    other = SPEC | {"loss": {"kind": "mart", "beta": 5.0}}
    assert evaluation_identity("evaluate", other, ATTACKED) == evaluation_identity("evaluate", SPEC, ATTACKED)
    assert evaluation_identity("evaluate", other, LOSS) != evaluation_identity("evaluate", SPEC, LOSS)
    smoothed = SPEC | {"loss": SPEC["loss"] | {"label_smoothing": 0.0}}
    assert evaluation_identity("evaluate", smoothed, LOSS) == evaluation_identity("evaluate", SPEC, LOSS)


def test_clean_accuracy_is_the_same_whatever_attacked() -> None:
    weak = SPEC | {"attack": PGD | {"steps": 1}}
    assert evaluation_identity("evaluate", weak, CLEAN) == evaluation_identity("evaluate", SPEC, CLEAN)
    assert evaluation_identity("evaluate", SPEC | {"attack": {"kind": "none"}}, CLEAN) == evaluation_identity(
        "evaluate", SPEC, CLEAN
    )


def test_a_training_watches_by_the_same_evaluation() -> None:
    inside = {name: SPEC[name] for name in ("attack", "weights", "split", "images")} | {"every": 0.25}
    spec = {"dataset": SPEC["dataset"], "evaluation": inside, "recipe": {"loss": SPEC["loss"]}}
    for metric in (ATTACKED, CLEAN, LOSS):
        assert evaluation_identity("train", spec, metric) == evaluation_identity("evaluate", SPEC, metric)
    assert evaluation_identity("train", spec | {"evaluation": None}, ATTACKED) is None
    assert evaluation_identity("fid", {}, "fid @ pixels") is None
