"""The digits generator: keyed by index, balanced, better with more steps; and its job, which survives a
kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isoloss.runtime.data import load
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators import Generator, build
from isoloss.runtime.generators.noise import BlockNoise, block_size
from isoloss.runtime.jobs.generate import write_shard
from isoloss.runtime.quality.features import pixels
from isoloss.runtime.quality.frechet import frechet_distance, moments

torch.set_num_threads(1)

DIGITS = {"kind": "digits"}
MIXTURE = {"kind": "mixture", "components": 4, "regularization": 2e-3}


def edm(steps: int) -> dict[str, object]:
    return {"kind": "edm", "steps": steps, "sigma_min": 0.002, "sigma_max": 10.0, "rho": 7.0}


@pytest.fixture(scope="module")
def generator() -> Generator:
    return build(DIGITS, edm(4), MIXTURE, seed=1)


def test_an_image_depends_on_seed_and_index_alone(generator: Generator) -> None:
    whole, labels = generator.images(0, 2500)
    for start, stop in [(0, 7), (1990, 2010), (1234, 1235), (2000, 2500)]:
        part, part_labels = generator.images(start, stop)
        np.testing.assert_array_equal(part, whole[start:stop])
        np.testing.assert_array_equal(part_labels, labels[start:stop])
    parallel = np.concatenate([images for _, images, _ in generator.pieces(0, 2500, threads=3)])
    np.testing.assert_array_equal(parallel, whole)


def test_another_seed_gives_other_images(generator: Generator) -> None:
    other = build(DIGITS, edm(4), MIXTURE, seed=2)
    assert (other.images(0, 50)[0] != generator.images(0, 50)[0]).any(axis=(1, 2, 3)).all()


def test_blocks_and_streams_draw_apart() -> None:
    draws = {
        BlockNoise(seed, block, 2, 3).normal(stream).numpy().tobytes()
        for seed in (0, 1)
        for block in (0, 1, 2)
        for stream in (0, 1, 16)
    }
    assert len(draws) == 18


@pytest.mark.parametrize(("classes", "size"), [(10, 2000), (100, 2000), (7, 2002), (3000, 3000)])
def test_a_block_has_every_class_equally_often(classes: int, size: int) -> None:
    assert block_size(classes) == size
    assert size % classes == 0


def test_classes_are_balanced_by_index(generator: Generator) -> None:
    images, labels = generator.images(0, 40)
    np.testing.assert_array_equal(labels, np.arange(40) % 10)
    assert images.dtype == np.uint8
    assert images.shape == (40, 8, 8, 1)


def test_an_image_looks_like_its_class(generator: Generator) -> None:
    """Nearest class mean of the real images: right for 9 of 10 real digits, and for generated ones."""
    real = load(DIGITS, "test")
    means = np.stack([pixels(real.images[real.labels == k]).mean(0) for k in range(10)])

    def agreement(images: np.ndarray, labels: np.ndarray) -> float:
        distance = ((pixels(images)[:, None] - means) ** 2).sum(-1)
        return float((distance.argmin(1) == labels).mean())

    assert agreement(real.images, real.labels) > 0.85
    images, labels = build(DIGITS, edm(20), MIXTURE, seed=1).images(0, 500)
    assert agreement(images, labels) > 0.85


def test_more_steps_bring_images_nearer_to_real_ones() -> None:
    reference = moments(pixels(load(DIGITS, "train").images))

    def distance(steps: int) -> float:
        return frechet_distance(
            moments(pixels(build(DIGITS, edm(steps), MIXTURE, seed=1).images(0, 2000)[0])), reference
        )

    measured = {steps: distance(steps) for steps in (3, 5, 10)}
    # 1.74, .25, .07 at 10,000 images; 2,000 add their bias.
    assert measured[3] > 1.5 > 0.35 > measured[5] > 0.2 > 0.12 > measured[10]


def test_pfgmpp_generates_digits_of_the_same_quality() -> None:
    reference = moments(pixels(load(DIGITS, "train").images))
    settings = {**edm(10), "kind": "pfgmpp", "dimension": 2048}
    images, _ = build(DIGITS, settings, MIXTURE, seed=1).images(0, 2000)
    assert frechet_distance(moments(pixels(images)), reference) < 0.12


def test_a_shard_goes_on_where_it_was_interrupted(generator: Generator, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(fraction: float) -> None:
        raise KilledError

    for name in ("all", "work", "whole", "cut"):
        (tmp_path / name).mkdir()
    write_shard(generator, 1000, 5000, tmp_path / "all", tmp_path / "whole", lambda fraction: None)
    with pytest.raises(KilledError):
        write_shard(generator, 1000, 5000, tmp_path / "work", tmp_path / "cut", kill)
    made = []
    write_shard(generator, 1000, 5000, tmp_path / "work", tmp_path / "cut", made.append)
    assert made == [0.75, 1.0], "the first block of three was made twice"
    for name in ("images.npy", "labels.npy"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    shards = open_shards([tmp_path / "whole"], 4000, classes=10)
    np.testing.assert_array_equal(shards.first(4000)[0], generator.images(1000, 5000)[0])


@pytest.mark.parametrize(
    ("sampler", "denoiser"),
    [
        ({"kind": "ddim", "steps": 5}, MIXTURE),
        (edm(5), {"kind": "none"}),
        ({**edm(5), "kind": "dg", "weight": 1.0}, MIXTURE),
        (edm(5), {**MIXTURE, "components": 60}),
    ],
)
def test_what_cannot_be_generated_is_refused(sampler: dict[str, object], denoiser: dict[str, object]) -> None:
    with pytest.raises(JobError) as refused:
        build(DIGITS, sampler, denoiser, seed=0)
    assert refused.value.code == "R501"
    assert refused.value.help
