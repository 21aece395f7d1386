"""Differences of groups of networks: intervals that hold seeds and test images, Holm's order, seeds still wanted."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pytest
from scipy import stats

from isoloss.compiler.observed.comparison import ALPHA, Scored, differences, mean_of

N = 2_000


def drawn(rng: np.random.Generator, mean: float, sd: float, seeds: int) -> dict[Hashable, Scored]:
    """Networks of a group: a share that varies with the seed, over test images that are a sample too."""
    found: dict[Hashable, Scored] = {}
    for seed in range(seeds):
        right = rng.random(N) < np.clip(mean + rng.normal(0, sd), 0, 1)
        found[seed] = Scored(float(right.mean()), N, right)
    return found


@pytest.mark.parametrize("sds", [(0.01, 0.01, 0.01), (0.0, 0.01, 0.02)])
@pytest.mark.parametrize("seeds", [3, 8])
def test_all_intervals_together_cover(sds: tuple[float, ...], seeds: int) -> None:
    rng, means = np.random.default_rng(7), (0.40, 0.45, 0.46)
    worlds, held = 150, 0
    for _ in range(worlds):
        groups = {str(i): drawn(rng, means[i], sds[i], seeds) for i in range(3)}
        pairs = differences(groups)
        truths = [means[int(pair.a)] - means[int(pair.b)] for pair in pairs]
        held += all(
            pair.low is not None and pair.high is not None and pair.low <= truth <= pair.high
            for pair, truth in zip(pairs, truths, strict=True)
        )
    # 95 % wanted of the whole family; two standard errors of 150 draws are 3.6 points.
    assert held / worlds >= 0.95 - 0.036


def test_one_pair_is_the_paired_t_interval_where_images_are_many() -> None:
    a, b = [0.50, 0.54, 0.49, 0.55], [0.40, 0.46, 0.43, 0.41]
    many = 10**12
    (pair,) = differences({"a": {k: Scored(v, many) for k, v in enumerate(a)},
                           "b": {k: Scored(v, many) for k, v in enumerate(b)}})  # fmt: skip
    each = np.subtract(a, b)
    half = stats.t.ppf(1 - ALPHA / 2, 3) * each.std(ddof=1) / 2
    assert (pair.value, pair.low, pair.high) == pytest.approx(
        (each.mean(), each.mean() - half, each.mean() + half)
    )
    assert pair.verdict == "better"
    assert pair.pairs == 4


def test_seeds_dont_average_the_test_images_away() -> None:
    """Two groups without seed variance: the interval is that of the images, however many seeds there are."""
    rng = np.random.default_rng(1)
    one, other = rng.random(N) < 0.5, rng.random(N) < 0.5
    sizes = []
    for seeds in (2, 20):
        groups = {
            "a": {k: Scored(float(one.mean()), N, one) for k in range(seeds)},
            "b": {k: Scored(float(other.mean()), N, other) for k in range(seeds)},
        }
        (pair,) = differences(groups)
        assert pair.low is not None
        assert pair.high is not None
        sizes.append(pair.high - pair.low)
    expected = 2 * 1.96 * np.sqrt((one.astype(float) - other).var() / N)
    assert sizes == pytest.approx([expected, expected], rel=1e-3)


def test_networks_that_find_the_same_images_hard_are_told_apart_sooner() -> None:
    right = np.arange(N) < 1_000
    also = np.arange(N) < 1_060
    paired = {
        "a": {k: Scored(0.53, N, also) for k in range(3)},
        "b": {k: Scored(0.5, N, right) for k in range(3)},
    }
    unpaired = {name: {k: Scored(t.value, N) for k, t in group.items()} for name, group in paired.items()}
    (near,), (far,) = differences(paired), differences(unpaired)
    assert near.verdict == "better"
    assert near.low is not None
    assert far.low is not None
    assert near.low > far.low


def test_one_seed_is_open_and_says_no_number_of_seeds() -> None:
    (pair,) = differences({"a": {0: Scored(0.9, N)}, "b": {0: Scored(0.1, N)}})
    assert (pair.verdict, pair.low, pair.high, pair.more_seeds) == ("open", None, None, None)


def test_an_open_pair_says_how_many_seeds_would_settle_it() -> None:
    a, b = [0.50, 0.56, 0.47], [0.46, 0.50, 0.48]
    many = 10**12
    groups = {
        name: {k: Scored(v, many) for k, v in enumerate(values)} for name, values in (("a", a), ("b", b))
    }
    (pair,) = differences(groups)
    assert pair.verdict == "open"
    assert pair.more_seeds is not None
    sd, count = np.subtract(a, b).std(ddof=1), 3 + pair.more_seeds
    halves = [stats.t.ppf(1 - ALPHA / 2, n - 1) * sd / np.sqrt(n) for n in (count - 1, count)]
    assert halves[0] >= abs(pair.value) > halves[1]


def test_the_same_is_said_only_inside_the_tolerance() -> None:
    groups = {name: {k: Scored(0.5 + 0.001 * k, 10**9) for k in range(5)} for name in "ab"}
    assert differences(groups)[0].verdict == "open"
    assert differences(groups, within=0.01)[0].verdict == "same"


def test_only_matched_networks_are_compared() -> None:
    one = {(seed, "wrn"): Scored(0.5 + 0.01 * seed, N) for seed in range(3)}
    other = {(seed, "cnn"): Scored(0.4, N) for seed in range(3)}
    assert differences({"a": one, "b": other}) == []


def test_a_groups_interval_holds_seeds_and_images() -> None:
    mean = mean_of([Scored(v, 10**12) for v in (0.50, 0.54, 0.49)])
    assert mean.sd == pytest.approx(np.std([0.50, 0.54, 0.49], ddof=1))
    half = stats.t.ppf(0.975, 2) * mean.sd / np.sqrt(3)
    assert mean.high - mean.value == pytest.approx(half)
    wide = mean_of([Scored(v, 100) for v in (0.50, 0.54, 0.49)])
    assert wide.high - wide.value > half
