"""Distances between sets of images against independent implementations, and against what they should say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.compiler.plan import Cost, FidSpec, Job, Observation, Origin
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import SPLITS, load
from isoloss.runtime.errors import JobError
from isoloss.runtime.jobs.fid import run
from isoloss.runtime.quality.features import build, pixels
from isoloss.runtime.quality.frechet import (
    GROUPS,
    Moments,
    Reference,
    Scatter,
    estimate,
    frechet_distance,
    moments,
    scatter,
)
from isoloss.runtime.quality.kernel_distance import block_estimate, kernel_distance
from isoloss.runtime.quality.neighbours import NEAR, memorised, nearest, precision_recall

DIGITS = {"kind": "digits"}
PIXELS = {"kind": "pixels", "images": 10_000, "reference": None}


def sample(n: int, f: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, f)) @ rng.standard_normal((f, f)) + shift


def grouped(x: np.ndarray) -> list[Callable[[], Iterator[np.ndarray]]]:
    """A sample as the jackknife wants it, each group in two pieces."""
    return [partial(lambda g: iter(np.array_split(g, 2)), group) for group in np.array_split(x, GROUPS)]


def by_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    """The published formula, word by word, with scipy's matrix root."""
    from scipy.linalg import sqrtm

    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = sqrtm(sa @ sb)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa + sb - 2 * np.real(root)))


def by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    """Without any covariance or root: Tr (S_a S_b)^(1/2) is the sum of singular values of A B^T, A and B the
    centred images over root n - 1."""
    left, right = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    root = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + (left**2).sum() + (right**2).sum() - 2 * root)


# The Fréchet distance.


@pytest.mark.parametrize(("n", "f"), [(200, 3), (500, 40), (300, 120)])
def test_the_distance_is_the_published_one_to_six_digits(n: int, f: int) -> None:
    a, b = sample(n, f, 0), sample(n + 50, f, 1, shift=0.3)
    found = frechet_distance(moments(a), moments(b))
    assert found == pytest.approx(by_matrix_root(a, b), rel=1e-7)
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-8)


def test_of_real_digits_too_whose_covariance_is_singular() -> None:
    a, b = (pixels(load(DIGITS, split).images) for split in ("train", "test"))
    found = frechet_distance(moments(a), moments(b))
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-8)
    assert found == pytest.approx(by_matrix_root(a, b), rel=1e-6)


def test_of_resnet18_features_too() -> None:
    """Few images, so covariances of far less than full rank: the roughest case for a root."""
    import torch

    torch.set_num_threads(1)
    space = build({"kind": "resnet18"})
    digits = [load(DIGITS, split).images[:40].repeat(4, 1).repeat(4, 2) for split in ("train", "test")]
    a, b = (space.extract(images) for images in digits)
    found = frechet_distance(moments(a), moments(b))
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-6)
    quick = Reference(moments(b)).quick_distance(moments(a))
    assert quick == pytest.approx(found, rel=1e-4), "rounding of roots, here of 470 empty dimensions"


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


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_add_up_over_pieces_and_pieces_can_be_taken_away(offset: float) -> None:
    """Also far from the origin, where sums of squares would have lost every digit."""
    x = sample(50, 3, 0) + offset
    np.testing.assert_allclose(moments(x).covariance, np.cov(x, rowvar=False), rtol=1e-7)
    parts = [Scatter.of(part) for part in np.array_split(x, 4)]
    together = scatter(np.array_split(x, 4))
    np.testing.assert_allclose(together.moments().covariance, np.cov(x, rowvar=False), rtol=1e-7)
    np.testing.assert_allclose(together.moments().mean, x.mean(0))
    rest = np.concatenate(np.array_split(x, 4)[1:])
    left = together.without(parts[0]).moments()
    np.testing.assert_allclose(left.covariance, np.cov(rest, rowvar=False), rtol=1e-6)
    np.testing.assert_allclose(left.mean, rest.mean(0))
    assert left.count == len(rest)
    with pytest.raises(ValueError, match="at least 2"):
        moments(x[:1])


def test_the_interval_covers_redrawn_images_and_the_limit_removes_the_bias() -> None:
    """Generated = real in distribution, so the distance without bias is known: that to the exact moments."""
    truth = Moments(np.zeros(8), np.eye(8), 0)
    reference = Reference(Moments(np.full(8, 0.3), np.eye(8) * 1.2, 0))
    exact = reference.distance(truth)
    found = [
        estimate(grouped(np.random.default_rng(seed).standard_normal((400, 8))), reference)
        for seed in range(100)
    ]
    values, limits = np.array([e.value for e in found]), np.array([e.limit for e in found])
    widths = np.array([e.high - e.low for e in found])
    assert all(e.low <= e.value <= e.high and e.count == 400 for e in found)
    # 95 % of the time the interval, less the bias it doesn't claim to hold, is around the exact distance.
    inside = np.abs(limits - exact) <= widths / 2
    assert 0.88 <= inside.mean() <= 0.99
    assert values.mean() - exact > 5 * abs(limits.mean() - exact)


# Kernel distance.


def straight_kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    kernel = lambda x, y: (x @ y / a.shape[1] + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    yy = np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    return float(xx + yy - 2 * np.mean([kernel(x, y) for x in a for y in b]))


def test_kernel_distance_is_the_published_sum() -> None:
    a, b = sample(30, 5, 0), sample(25, 5, 1, shift=0.5)
    assert kernel_distance(a, b) == pytest.approx(straight_kernel_distance(a, b), rel=1e-9)
    blocks = [straight_kernel_distance(a[i * 3 : i * 3 + 3], b) for i in range(10)]
    found = block_estimate(a, b)
    assert found.value == pytest.approx(np.mean(blocks), rel=1e-9)
    assert found.count == 30
    same = [kernel_distance(*np.random.default_rng(seed).random((2, 80, 4))) for seed in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60), "biased: equal distributions are not at 0"


def test_the_block_interval_covers_redrawn_images() -> None:
    """To one fixed reference, whose distance from the exact distribution many images tell."""
    real = np.random.default_rng(7).standard_normal((300, 4)) + 0.2
    draw = lambda seed, n: np.random.default_rng(seed).standard_normal((n, 4))  # noqa: E731
    exact = kernel_distance(draw(99, 12_000), real)
    found = [block_estimate(draw(seed, 200), real) for seed in range(100)]
    inside = [m.low <= exact <= m.high for m in found]
    assert 0.88 <= np.mean(inside) <= 1.0


# Neighbours.


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
    assert found.precision.value == share(generated, real)
    assert found.recall.value == share(real, generated)
    assert found.precision.low < found.precision.value < found.precision.high
    assert (found.precision.count, found.recall.count) == (50, 60)
    # One image again and again is faithful and covers nothing.
    collapsed = precision_recall(real[:1] + 1e-6 * sample(50, 3, 2), real)
    assert collapsed.precision.value == 1.0
    assert collapsed.recall.value == pytest.approx(1 / 60, abs=0.02)


@pytest.mark.parametrize("size", [300, 1500])
def test_the_nearest_is_found_across_pieces_and_a_copy_is_at_zero(size: int) -> None:
    real, generated = sample(1500, 4, 0), sample(1200, 4, 1)
    generated[7] = real[900]
    found = nearest(generated, (real[i : i + size] for i in range(0, 1500, size)))
    assert (found.distance[7], found.index[7]) == (0.0, 900)
    straight = np.linalg.norm(real - generated[100], axis=1)
    assert found.distance[100] == pytest.approx(straight.min())
    assert found.index[100] == straight.argmin()


def test_copies_are_told_from_new_images() -> None:
    """Half of the images copied: half are near. None copied: the share that held-out images have, and its
    interval says so in about 95 of 100 draws."""
    inside = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train, held_out, new = (rng.standard_normal((n, 5)) for n in (400, 300, 500))
        unseen, drawn = (nearest(x, [train]).distance for x in (held_out, new))
        found = memorised(drawn, unseen, rng)
        inside.append(found.share.low <= NEAR <= found.share.high)
        assert found.share.low <= found.share.value <= found.share.high
    assert 0.88 <= np.mean(inside) <= 1.0
    copied = np.concatenate([train[:250] + 1e-4, new[:250]])
    found = memorised(nearest(copied, [train]).distance, unseen, rng)
    assert 0.49 < found.share.value < 0.6
    assert found.share.low > 4 * NEAR


# Spaces.


def test_feature_spaces_refuse_what_they_cannot_see() -> None:
    assert build(PIXELS).name == "pixels"
    with pytest.raises(JobError) as refused:
        build({"kind": "clip"})
    assert refused.value.code == "R502"
    with pytest.raises(JobError) as refused:
        build({"kind": "resnet18"}).extract(np.zeros((2, 8, 8, 1), np.uint8))
    assert refused.value.code == "R502"


def test_resnet18_features_are_those_before_the_linear_layer() -> None:
    import torch

    from isoloss.runtime.quality.resnet18 import Resnet18

    torch.set_num_threads(1)
    space = build({"kind": "resnet18"})
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    features = space.extract(images)
    assert features.shape == (3, 512)
    assert len(space.identity or "") > 64, "its features are kept under the name of its weights"
    ours = Resnet18()
    logits = ours.network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).detach()
    head = ours.network.linear
    again = torch.from_numpy(features).float() @ head.weight.T + head.bias
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.classes(features), logits.argmax(1).numpy())


# The job.


def fid_job(
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
    count: int,
    features: dict[str, object] = PIXELS,
    dataset: dict[str, object] = DIGITS,
    cache: Path | None = None,
    real: int = 0,
) -> tuple[dict[str, Observation], Path]:
    shard, output = folder / "shard", folder / "out"
    shard.mkdir(parents=True)
    output.mkdir()
    np.save(shard / "images.npy", images)
    np.save(shard / "labels.npy", labels)
    spec = FidSpec(dataset, features, ("s",), count, 0, real)
    job = Job("f" * 20, "fid", "f", ("s",), spec, Origin(), Cost(), "ready", "")
    noop = lambda *_: None  # noqa: E731
    context = JobContext(job, output, folder, {"s": shard}, "cpu", 1, None, noop, noop, cache=cache)  # type: ignore[arg-type]
    return {o.metric: o for o in run(context)}, output


@pytest.fixture(scope="module")
def real_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Observation], Path]:
    test = load(DIGITS, "test")
    return fid_job(tmp_path_factory.mktemp("real"), test.images, test.labels, 900)


def test_the_job_measures_real_images_against_real_ones(
    real_digits: tuple[dict[str, Observation], Path],
) -> None:
    seen, output = real_digits
    assert list(seen) == [
        "fid @ pixels", "kid @ pixels", "precision @ pixels", "recall @ pixels", "memorisation @ pixels",
        "agreement @ knn(1, pixels)",
    ]  # fmt: skip
    test, reference = (pixels(load(DIGITS, split).images) for split in ("test", "train+validation"))
    fid = seen["fid @ pixels"]
    assert fid.value == fid.fid == pytest.approx(by_singular_values(test, reference), rel=1e-8)
    assert [o.metric for o in seen.values() if o.fid is not None] == ["fid @ pixels"]
    for o in seen.values():
        assert o.low is not None
        assert o.high is not None
        assert o.low <= o.value <= o.high
        assert o.count in (897, 900)
    # The held-out images themselves: near as often as held-out images are, by definition.
    assert seen["memorisation @ pixels"].value == pytest.approx(NEAR, abs=0.002)
    found = precision_recall(test[:897], reference)
    assert seen["precision @ pixels"].value == pytest.approx(found.precision.value, abs=0.01)
    record = orjson.loads((output / "quality.json").read_bytes())["measures"]
    assert record["fid @ pixels"]["limit"] < fid.value, "at finite n the distance is biased upwards"
    assert record["agreement @ knn(1, pixels)"]["held_out"] == seen["agreement @ knn(1, pixels)"].value
    assert all(each["bias"] for each in record.values())
    assert "n = 900" in fid.flags[0]


def test_the_job_leaves_images_beside_their_nearest(
    real_digits: tuple[dict[str, Observation], Path],
) -> None:
    _, output = real_digits
    with np.load(output / "samples.npz", allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    train, test = load(DIGITS, "train+validation"), load(DIGITS, "test")
    np.testing.assert_array_equal(found["generated"], test.images[found["index"]])
    np.testing.assert_array_equal(found["nearest"], train.images[found["nearest_index"]])
    np.testing.assert_array_equal(found["index"][:20], np.arange(20))
    away = np.linalg.norm(pixels(found["generated"]) - pixels(found["nearest"]), axis=1)
    np.testing.assert_allclose(found["distance"], away)
    suspects = found["distance"][-int(found["suspects"]) :]
    assert suspects.max() <= found["distance"][:20].min() + 1e-9
    assert (output / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert sum(path.stat().st_size for path in output.iterdir()) < 100_000


def test_cifar10_is_judged_by_a_network_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are not at hand: digits drawn four times as large in colour stand for them."""
    import torch

    from isoloss.runtime.data import ImageSet
    from isoloss.runtime.jobs import fid as module
    from isoloss.runtime.quality.resnet18 import Resnet18

    torch.set_num_threads(1)

    def enlarged(dataset: object, split: str, root: object, limit: int | None = None) -> ImageSet:
        images = load(DIGITS, split, limit=limit).take(slice(0, 40 if split == "test" else 80))
        large = images.images.repeat(4, 1).repeat(4, 2).repeat(3, 3)
        return ImageSet(large, images.labels, 10)

    monkeypatch.setattr(module, "load", enlarged)
    monkeypatch.setattr(module, "IMAGES_PER_FEATURE", 0.05)
    made = enlarged(None, "test", None)
    names, seen_images, features = [], [0], Resnet18.features

    def counted(network: Resnet18, images: np.ndarray) -> np.ndarray:
        seen_images[0] += len(images)
        return features(network, images)

    monkeypatch.setattr(Resnet18, "features", counted)
    for number in range(2):
        folder = tmp_path / str(number)
        seen, _ = fid_job(folder, made.images, made.labels, 40, {"kind": "resnet18"}, {"kind": "cifar10"},
                          tmp_path / "cache")  # fmt: skip
        names.append((list(seen), seen["agreement @ resnet18"].value, seen["fd @ resnet18"].value))
        # The first made the real images' features and put them there, the second found them.
        assert not (folder / "reference").exists()
        assert len(list((tmp_path / "cache").iterdir())) == 1
    assert names[0] == names[1]
    # One to know how many features there are; the classifier, the same network, looks at what is there.
    assert seen_images == [1 + 80 + 40 + 40 + 1 + 40 + 40]
    assert names[0][0][:3] == ["fd @ resnet18", "kd @ resnet18", "precision @ resnet18"]
    network = Resnet18()
    said = network.classes(network.features(made.images))
    assert names[0][1] == np.mean(said == made.labels)


def test_the_job_measures_a_mix_in_its_ratio(tmp_path: Path) -> None:
    """The first 420 made ones and the first 60 to train on, 7 to 1: an eighth lies at the training images."""
    test, train = load(DIGITS, "test"), load(DIGITS, "train")
    everything = load(DIGITS, "train+validation")
    seen, output = fid_job(tmp_path, test.images, test.labels, 420, real=60)
    mixed = pixels(np.concatenate([test.images[:420], train.images[:60]]))
    expected = by_singular_values(mixed, pixels(everything.images))
    assert seen["fid @ pixels"].value == pytest.approx(expected, rel=1e-8)
    assert {seen[m].count for m in ("fid @ pixels", "kid @ pixels", "memorisation @ pixels")} == {480}
    assert 1 / 8 < seen["memorisation @ pixels"].value < 1 / 8 + 2 * NEAR
    record = orjson.loads((output / "quality.json").read_bytes())
    assert (record["generated_images"], record["real_images"]) == (420, 60)


def test_real_images_alone_are_those_to_train_on_against_all(tmp_path: Path) -> None:
    test = load(DIGITS, "test")
    seen, _ = fid_job(tmp_path, test.images, test.labels, 0, real=800)
    own, reference = (pixels(load(DIGITS, split).images) for split in ("train", "train+validation"))
    assert seen["fid @ pixels"].value == pytest.approx(by_singular_values(own, reference), rel=1e-8)
    assert seen["memorisation @ pixels"].value == 1.0
    with pytest.raises(JobError) as refused:
        fid_job(tmp_path / "more", test.images, test.labels, 0, real=801)
    assert refused.value.code == "R405"


def test_squiggles_are_measured_without_real_ones_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset that makes its own images, of which none are asked for."""
    monkeypatch.setattr(
        "isoloss.runtime.generators.squiggles.images.SPLIT_IMAGES", dict.fromkeys(SPLITS, 400)
    )
    pictures = {"kind": "squiggles", "variant": "taylor", "resolution": 8}
    test = load(pictures, "test")
    seen, _ = fid_job(tmp_path, test.images, test.labels, 400, dataset=pictures)
    own, reference = (pixels(load(pictures, split).images) for split in ("test", "train+validation"))
    assert seen["fid @ pixels"].value == pytest.approx(by_singular_values(own, reference), rel=1e-8)


def test_a_generator_of_copies_is_caught(tmp_path: Path) -> None:
    """Its distance is the best there is; its memorisation isn't."""
    train = load(DIGITS, "train+validation")
    seen, _ = fid_job(tmp_path, train.images, train.labels, 897)
    assert seen["fid @ pixels"].value == pytest.approx(0.0, abs=1e-9)
    assert seen["precision @ pixels"].value == seen["recall @ pixels"].value == 1.0
    assert seen["memorisation @ pixels"].value == 1.0
    assert seen["memorisation @ pixels"].low > 0.9


def test_wrong_labels_are_caught(tmp_path: Path) -> None:
    test = load(DIGITS, "test")
    seen, _ = fid_job(tmp_path, test.images, (test.labels + 1) % 10, 900)
    assert seen["agreement @ knn(1, pixels)"].value < 0.05


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    test = load(DIGITS, "test")
    with pytest.raises(JobError) as refused:
        fid_job(tmp_path, test.images, test.labels, 100)
    assert refused.value.code == "R503"


def test_moments_of_more_real_images_do_for_a_short_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """897 training images are fewer than 1,000 features ask for; a file's moments are of as many as they are."""
    test, train = load(DIGITS, "test"), load(DIGITS, "train")
    monkeypatch.setattr("isoloss.runtime.jobs.fid.IMAGES_PER_FEATURE", 898 / 64)
    with pytest.raises(JobError) as refused:
        fid_job(tmp_path / "measured", test.images, test.labels, 900)
    assert (refused.value.code, refused.value.message[:19]) == ("R503", "897 training images")
    known = moments(pixels(train.images))
    np.savez(tmp_path / "m.npz", mu=known.mean, sigma=known.covariance)
    monkeypatch.setenv("ISOLOSS_DATA", str(tmp_path))
    seen, _ = fid_job(tmp_path / "given", test.images, test.labels, 900, {**PIXELS, "reference": "m.npz"})
    assert seen["fid @ pixels"].value == pytest.approx(
        by_singular_values(pixels(test.images), pixels(train.images)), rel=1e-8
    )


@pytest.mark.parametrize("kind", ["shape", "dtype", "class"])
def test_wrong_images_are_refused(kind: str, tmp_path: Path) -> None:
    test = load(DIGITS, "test")
    images: np.ndarray = test.images
    labels = test.labels
    if kind == "shape":
        images = np.zeros((900, 9, 8, 1), np.uint8)
    elif kind == "dtype":
        images = images.astype(np.float32)
    else:
        labels = labels + 1
    with pytest.raises(JobError) as refused:
        fid_job(tmp_path, images, labels, 900)
    assert refused.value.code == "R404"
