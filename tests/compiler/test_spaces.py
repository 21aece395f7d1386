"""Distances and constants of one feature space are never used with another: conditions, fits, questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulated import observe, run_to_fixed_point
from studies import study

from isoloss.compiler import plan as plans
from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.laws.fitting.fit import FitOptions, fit_law
from isoloss.compiler.laws.fitting.fit_json import fit_from_json, fit_to_json
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.published import PUBLISHED, published
from isoloss.compiler.plan import Observation
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Study

PAPER = "generator paper { sampler = edm(steps = 10) fid = 2.48 images = 100k }"
REAL = "generator real { sampler = edm(steps = 9) fid = 0 images = 100k }"
GRID = "grid runs {{ model in [cnn(1), cnn(2)] generator in [{}] images in [4k, 8k] recipe = trades {} }}"


def problems(some: Study) -> list[Diagnostic]:
    return [d for d in compile_study(some, (), BUILT_IN["cpu"])[1] if d.severity == "error"]


def codes(some: Study) -> list[str]:
    return [d.code for d in problems(some)]


def mixing(folder: Path, generators: str = "coarse, paper", where: str = "", **parts: str) -> Study:
    return study(folder, paper=PAPER, real=REAL, grid=GRID.format(generators, where), **parts)


@pytest.mark.parametrize(
    ("where", "parts"),
    [
        ("where fid < 2", {}),
        ("where images > 5k or not (generator.fid < 2)", {}),
        ("", {"fits": "fit f { law = chinchilla to = (runs where fid < 2) }"}),
        ("", {"budget": "budget { choose = all pin = (runs where fid < 2) }"}),
    ],
)
def test_conditions_on_fids_of_two_spaces_are_refused(
    where: str, parts: dict[str, str], tmp_path: Path
) -> None:
    assert codes(mixing(tmp_path, where=where, **parts)) == ["G112"]
    alone = mixing(tmp_path, "coarse, fine", where, **parts)
    assert "G112" not in codes(alone)
    # 0 is real data, whatever the space.
    assert "G112" not in codes(mixing(tmp_path, "coarse, real", where, **parts))


@pytest.mark.parametrize(
    ("images", "features", "said"),
    [
        ("127", "", "127 images of generator `few` are too few for a distance over 64 features"),
        ("10k", "features = pixels(images = 127)", "127 images of generator `few` are too few"),
        ("10k", "features = inception()", "the training images of `digits` are too few"),
        ("4k", "features = inception()", "4,000 images of generator `few` are too few"),
        ("10k", "features = resnet18", "`resnet18` takes images of 3×32×32, generator `few` makes 1×8×8"),
    ],
)
def test_a_quality_that_cannot_be_measured_is_refused_before_anything_runs(
    images: str, features: str, said: str, tmp_path: Path
) -> None:
    few = f"generator few {{ sampler = edm(steps = 9) images = {images} {features} }}"
    (found,) = problems(study(tmp_path, few=few, grid=GRID.format("few", "where images < 2")))[:1]
    assert (found.code, found.headline[: len(said)]) == ("G114", said)
    # Stated, or asked for by nobody, it is no mistake.
    stated = few.replace("}", "fid = 2 }")
    for other, used in ((stated, "few"), (few, "coarse")):
        assert "G114" not in codes(study(tmp_path, few=other, grid=GRID.format(used, "")))


def test_just_enough_images_are_enough(tmp_path: Path) -> None:
    few = "generator few { sampler = edm(steps = 9) images = 128 }"
    assert "G114" not in codes(study(tmp_path, few=few, grid=GRID.format("few", "")))
    moments = 'generator few { sampler = edm(steps = 9) features = inception(reference = "moments.npz") images = 10k }'
    assert "G114" not in codes(study(tmp_path, few=moments, grid=GRID.format("few", "")))


def test_the_message_names_both_spaces_and_their_generators(tmp_path: Path) -> None:
    (found,) = problems(mixing(tmp_path, where="where fid < 2"))
    assert "`fid @ pixels` (coarse) and `fid @ inception` (paper)" in found.headline


@pytest.mark.parametrize(
    ("fit", "refused"),
    [
        ("law = approach2", True),
        ("law = approach3", True),
        (
            "law = approach2 base = (runs where generator == coarse) quality = (runs where generator == paper)",
            True,
        ),
        ("law = approach2 to = (runs where generator == paper)", False),
        ("law = approach2 per = generator", False),
        ("law = chinchilla", False),
        ("law = approach1", False),
    ],
)
def test_laws_of_quality_are_fitted_in_one_space(fit: str, refused: bool, tmp_path: Path) -> None:
    some = mixing(tmp_path, fits=f"fit f {{ {fit} resamples = 10 }}")
    assert codes(some) == (["L506"] if refused else [])


def test_stated_in_the_measured_space_they_go_together(tmp_path: Path) -> None:
    here = PAPER.replace("fid = 2.48", "fid = 2.48 features = pixels")
    some = study(tmp_path, paper=here, grid=GRID.format("coarse, paper", "where fid < 3"),
                 fits="fit f { law = approach2 resamples = 10 }")  # fmt: skip
    assert codes(some) == []


@pytest.mark.parametrize(
    ("question", "refused"),
    [
        ("forecast c { law = f fid = 1.65 compute = 1 TFLOP }", True),
        ("forecast c { law = f generator = paper compute = 1 TFLOP }", True),
        ("forecast c { law = any(f, other) fid = 0 compute = 1 TFLOP }", True),
        ("allocate c { law = f compute = 1 GFLOP generator = paper }", True),
        ("forecast c { law = f fid = 0 compute = 1 TFLOP }", False),
        ("forecast c { law = f fid = 0.2 features = pixels compute = 1 TFLOP }", False),
        ("forecast c { law = f generator = fine compute = 1 TFLOP }", False),
        ("forecast c { law = f generator = real compute = 1 TFLOP }", False),
        ("forecast c { law = plain fid = 1.65 compute = 1 TFLOP }", False),
        ("forecast c { law = other fid = 1.65 compute = 1 TFLOP }", False),
    ],
)
def test_questions_are_asked_in_the_laws_space(question: str, refused: bool, tmp_path: Path) -> None:
    fits = (
        "fit f { law = approach2 to = (runs where generator in [coarse, fine]) resamples = 10 }\n"
        "fit other { law = approach3 to = (runs where generator == paper) resamples = 10 }\n"
        "fit plain { law = chinchilla to = (runs where generator == fine) resamples = 10 }"
    )
    some = mixing(tmp_path, "coarse, fine, paper", fits=fits, ask=question)
    assert codes(some) == (["L507"] if refused else [])


def test_fits_carry_their_space_into_the_plan(tmp_path: Path) -> None:
    fits = "fit joint { law = approach2 resamples = 20 }\n fit plain { law = chinchilla resamples = 20 }"
    made, _ = run_to_fixed_point(study(tmp_path, fits=fits))
    laws = {name: fit_from_json(data) for name, data in made[-1].laws.items()}
    assert laws["joint"].features == "pixels"
    assert laws["plain"].features is None, "it has no use for quality"
    trained = [job for job in made[-1].jobs if job.kind == "train"]
    assert {job.facts.features for job in trained} == {"pixels"}


def test_published_laws_are_of_inceptions_space() -> None:
    for name in PUBLISHED:
        law = published(name)
        assert law.features == ("inception" if law.law.uses_fid else None)


def test_a_space_survives_json() -> None:
    n, d = (x.ravel() for x in plans_grid())
    loss = 0.5 + 9 * n**-0.3 + 20 * d**-0.3
    points = Points.build(n, d, loss, fid=[1.0] * len(n))
    fit = fit_law("approach2", points, FitOptions(resamples=0, rolling=False, features="resnet18"))
    assert fit_from_json(fit_to_json(fit)).features == "resnet18"
    assert fit_from_json({**fit_to_json(fit), "features": None}).features is None


def plans_grid():  # type: ignore[no-untyped-def]
    import numpy as np

    return np.meshgrid(np.geomspace(1e5, 1e7, 4), np.geomspace(1e6, 1e8, 4))


def test_only_the_distance_is_a_generators_fid(tmp_path: Path) -> None:
    """A fid job measures more than the distance; none of it may be taken for one."""
    some = study(tmp_path)
    first, _ = compile_study(some, (), BUILT_IN["cpu"])
    assert first is not None
    seen = observe(first, only=[job.id for job in first.jobs if job.kind in ("generate", "fid")])
    more = [
        replace(o, metric=metric, value=0.5)
        for o in seen
        if o.kind == "fid"
        for metric in ("kid @ pixels", "agreement @ knn(1, pixels)", "recall @ pixels")
    ]
    plain, _ = compile_study(some, seen, BUILT_IN["cpu"])
    full, _ = compile_study(some, [*more, *seen], BUILT_IN["cpu"])
    assert plain is not None
    assert full is not None
    assert [j.facts.fid for j in full.jobs] == [j.facts.fid for j in plain.jobs]


@pytest.mark.parametrize(
    ("metric", "space"),
    [
        ("fid @ pixels", "pixels"),
        ("fid @ inception", "inception"),
        ("fd @ resnet18", "resnet18"),
        ("fid @ resnet18", None),
        ("fd @ pixels", None),
        ("kid @ pixels", None),
        ("agreement @ knn(1, pixels)", None),
        ("images", None),
    ],
)
def test_typed_names(metric: str, space: str | None) -> None:
    assert plans.frechet_space(metric) == space
    if space is not None:
        assert plans.frechet_metric(space) == metric
    assert Observation("j", "fid", metric, 0.0).metric == metric
