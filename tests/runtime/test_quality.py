"""Distances between sets of images against independent implementations, and against what they should say."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.compiler.plan import Cost, FidSpec, Job, Origin
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import load
from isoloss.runtime.errors import JobError
from isoloss.runtime.jobs.fid import run
from isoloss.runtime.quality.features import build, pixels
from isoloss.runtime.quality.frechet import (
    Moments,
    estimate,
    extrapolate,
    frechet_distance,
    moments,
    weighted_moments,
)
from isoloss.runtime.quality.neighbours import kernel_distance, nearest_distance, precision_recall

DIGITS = {"kind": "digits"}


def sample(n: int, f: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, f)) @ rng.standard_normal((f, f)) + shift


def by_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    """The published formula, word by word, with scipy's matrix root."""
    from scipy.linalg import sqrtm

    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = sqrtm(sa @ sb)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa + sb - 2 * np.real(root)))


@pytest.mark.parametrize(("n", "f"), [(200, 3), (500, 40), (300, 120)])
def test_the_distance_is_the_published_one_to_six_digits(n: int, f: int) -> None:
    a, b = sample(n, f, 0), sample(n + 50, f, 1, shift=0.3)
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(by_matrix_root(a, b), rel=1e-6)


def test_of_real_digits_too() -> None:
    a, b = (pixels(load(DIGITS, split).images) for split in ("train", "test"))
    # 6 of the 64 pixels hardly vary: the matrix root is singular there, the eigenvalues are not.
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(by_matrix_root(a, b), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.2, 5))
def test_one_gaussian_moved_and_scaled_has_a_closed_form(seed: int, shift: float, scale: float) -> None:
    """Same axes: |shift|^2 + sum (root s_i - root s_i scale)^2."""
    base = moments(sample(100, 4, seed))
    moved = Moments(base.mean + shift, base.covariance * scale**2, 100)
    expected = 4 * shift**2 + (1 - scale) ** 2 * np.trace(base.covariance)
    assert frechet_distance(base, moved) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert frechet_distance(moved, base) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert abs(frechet_distance(base, base)) < 1e-6


def test_moments_are_numpys_and_weights_are_repetitions() -> None:
    x, repeats = sample(50, 3, 0), np.random.default_rng(1).integers(0, 4, 50)
    np.testing.assert_allclose(moments(x).covariance, np.cov(x, rowvar=False))
    written_out = moments(np.repeat(x, repeats, axis=0))
    weighted = weighted_moments(x, repeats.astype(float))
    np.testing.assert_allclose(weighted.covariance, written_out.covariance)
    np.testing.assert_allclose(weighted.mean, written_out.mean)
    assert weighted.count == written_out.count
    with pytest.raises(ValueError, match="at least 2"):
        moments(x[:1])


def test_the_interval_covers_redrawn_images_and_the_limit_removes_the_bias() -> None:
    """Generated = real in distribution, so the distance without bias is known: that to the exact moments."""
    truth = Moments(np.zeros(8), np.eye(8), 0)
    reference = Moments(np.full(8, 0.3), np.eye(8) * 1.2, 0)
    exact = frechet_distance(truth, reference)
    values, limits, widths = [], [], []
    for seed in range(40):
        x = np.random.default_rng(seed).standard_normal((400, 8))
        found = estimate(x, reference, np.random.default_rng(seed), resamples=40)
        values.append(found.value)
        limits.append(extrapolate(x, reference, np.random.default_rng(seed)))
        widths.append(found.high - found.low)
        assert found.low <= found.value <= found.high
    assert np.mean(widths) / (2 * 1.96) == pytest.approx(np.std(values), rel=0.35)
    assert np.mean(values) - exact > 3 * abs(np.mean(limits) - exact)


def test_kernel_distance_is_the_published_sum() -> None:
    a, b = sample(30, 5, 0), sample(25, 5, 1, shift=0.5)
    kernel = lambda x, y: (x @ y / 5 + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    yy = np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    xy = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(xx + yy - 2 * xy, rel=1e-9)
    same = [kernel_distance(*np.random.default_rng(seed).random((2, 80, 4))) for seed in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60), "biased: equal distributions are not at 0"


def test_precision_and_recall_are_the_published_counts() -> None:
    real, generated = sample(60, 3, 0), sample(50, 3, 1, shift=0.4)

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        reach = [np.sort(np.linalg.norm(centres - c, axis=1))[3] for c in centres]
        return float(
            np.mean(
                [any(np.linalg.norm(p - c) <= r for c, r in zip(centres, reach, strict=True)) for p in points]
            )
        )

    found = precision_recall(generated, real)
    assert found.precision == share(generated, real)
    assert found.recall == share(real, generated)
    # One image again and again is faithful and covers nothing.
    collapsed = precision_recall(real[:1] + 1e-6 * sample(50, 3, 2), real)
    assert collapsed.precision == 1.0
    assert collapsed.recall == pytest.approx(1 / 60, abs=0.02)


def test_a_copy_is_found_by_its_nearest_neighbour() -> None:
    real, generated = sample(1500, 4, 0), sample(1200, 4, 1)
    generated[7] = real[900]
    distance = nearest_distance(generated, real)
    assert distance[7] < 1e-6
    assert distance[100] == pytest.approx(np.linalg.norm(real - generated[100], axis=1).min())


def test_feature_spaces_name_their_metric_and_refuse_what_they_cannot_see() -> None:
    assert build({"kind": "pixels"}).metric == "fid @ pixels"
    small = np.zeros((2, 8, 8, 1), np.uint8)
    for features in ({"kind": "inception"}, {"kind": "clip"}):
        with pytest.raises(JobError) as refused:
            build(features)
        assert refused.value.code == "R502"
    with pytest.raises(JobError) as refused:
        build({"kind": "resnet18"}).extract(small)
    assert refused.value.code == "R502"


def test_resnet18_features_are_those_before_the_linear_layer() -> None:
    import torch
    from pyautoattack.examples.resnet import ResNet18

    from isoloss.runtime.quality.resnet18 import _network

    torch.set_num_threads(1)
    space = build({"kind": "resnet18"})
    assert space.metric == "fd @ resnet18", "never FID"
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    features = space.extract(images)
    assert features.shape == (3, 512)
    assert isinstance(_network(), ResNet18().__class__)
    logits = _network()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).detach()
    head = _network().linear
    again = torch.from_numpy(features).float() @ head.weight.T + head.bias
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-4)


def fid_job(tmp_path: Path, images: np.ndarray, labels: np.ndarray, count: int):  # type: ignore[no-untyped-def]
    shard, output = tmp_path / "shard", tmp_path / "out"
    shard.mkdir()
    output.mkdir()
    np.save(shard / "images.npy", images)
    np.save(shard / "labels.npy", labels)
    spec = FidSpec(DIGITS, {"kind": "pixels"}, ("s",), count, 0)
    job = Job("f" * 20, "fid", "f", ("s",), spec, Origin(), Cost(), "ready", "")
    noop = lambda *_: None  # noqa: E731
    return run(JobContext(job, output, tmp_path, {"s": shard}, "cpu", 1, None, noop, noop)), output  # type: ignore[arg-type]


def test_the_job_measures_real_images_against_real_ones(tmp_path: Path) -> None:
    test = load(DIGITS, "test")
    (seen,), output = fid_job(tmp_path, test.images, test.labels, 900)
    reference = pixels(load(DIGITS, "train").images)
    assert seen.metric == "fid @ pixels"
    assert seen.value == seen.fid == pytest.approx(by_matrix_root(pixels(test.images), reference), rel=1e-5)
    assert seen.low < seen.value < seen.high
    assert seen.count == 900
    record = orjson.loads((output / "quality.json").read_bytes())
    assert record["limit"] < seen.value, "at finite n the distance is biased upwards"
    assert "n = 900" in seen.flags[0]


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    test = load(DIGITS, "test")
    with pytest.raises(JobError) as refused:
        fid_job(tmp_path, test.images, test.labels, 100)
    assert refused.value.code == "R503"
