"""Training a discriminator: its noise law, it learns what can be told apart and nothing else, resumes to the bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from isoloss.runtime.data import ImageSet, load
from isoloss.runtime.diffusion.judging import Judging, log_levels
from isoloss.runtime.errors import Stopped
from isoloss.runtime.generators.guidance import Discriminator
from isoloss.runtime.jobs.discriminator import NAMES, run
from tests.runtime.diffusion_specs import context, discriminator_spec
from tests.runtime.training_specs import DIGITS

torch.set_num_threads(1)
SHARD = "ab" * 10


def shard(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return folder


def test_noise_levels_are_the_published_importance_sampling() -> None:
    """Times from 1e-5 to 1 with a density that makes ln(exp(B) - 1) uniform; B(t) integrates beta from .1 to 20."""
    ends = log_levels(torch.tensor([0.0, 1.0], dtype=torch.float64))
    times = Discriminator.time(ends.exp())
    assert times.tolist() == pytest.approx([1e-5, 1.0], rel=1e-6)
    middle = Discriminator.time(log_levels(torch.tensor(0.3, dtype=torch.float64)).exp())

    def antiderivative(t: float) -> float:
        integral = 0.1 * t + 19.9 * t * t / 2
        return math.log(1 - math.exp(-integral)) + integral

    low, high = antiderivative(1e-5), antiderivative(1.0)
    assert antiderivative(float(middle)) == pytest.approx(low + 0.3 * (high - low), rel=1e-6)


def judged(generated: ImageSet, steps: int) -> Judging:
    real = load(DIGITS, "train"), load(DIGITS, "validation")
    return Judging(discriminator_spec(SHARD, steps, len(generated)), real, generated)


def test_it_learns_what_can_be_told_apart() -> None:
    real = load(DIGITS, "train")
    inverted = ImageSet(255 - real.images[:400], real.labels[:400], 10)
    learner = judged(inverted, 40)
    for _ in range(40):
        learner.step()
    # Half of the noise levels hide the image: no discriminator gets near 0.
    assert learner.test() < 0.6


def test_it_finds_nothing_where_nothing_is() -> None:
    """Real images on both sides, different ones: no better than chance on held-out ones."""
    other = load(DIGITS, "test")
    learner = judged(other.take(slice(0, 400)), 40)
    for _ in range(40):
        learner.step()
    assert learner.test() == pytest.approx(math.log(2), abs=0.08)


def test_a_stopped_job_resumes_to_the_same_bits(tmp_path: Path) -> None:
    real = load(DIGITS, "test")
    made = {SHARD: shard(tmp_path / "shard", real.images[:400], real.labels[:400])}
    spec = discriminator_spec(SHARD, 10)
    whole = context(spec, tmp_path / "whole", made)
    seen = run(whole)
    assert {o.metric for o in seen} == {NAMES.training, NAMES.held_out, "images per second"}
    asked = iter([False] * 3 + [True] + [False] * 10)
    with pytest.raises(Stopped):
        run(context(spec, tmp_path / "cut", made, stopping=lambda: next(asked)))
    cut = context(spec, tmp_path / "cut", made)
    run(cut)
    assert (whole.output / "discriminator.pt").read_bytes() == (cut.output / "discriminator.pt").read_bytes()
