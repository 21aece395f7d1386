"""Augmentation that the network is told: what it says is what it did."""

from __future__ import annotations

import torch

from isoloss.runtime.generators import geometry
from isoloss.runtime.generators.geometry import CONDITION
from isoloss.runtime.noise import noise_at

torch.set_num_threads(1)


def images(count: int = 64, size: int = 8) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_no_probability_changes_nothing() -> None:
    x = images()
    same, told = geometry.build(0.0)(x, noise_at("a"))
    assert same is x
    assert told is None


def test_images_are_mirrored_at_random_whatever_the_probability() -> None:
    x = images(400)
    changed, told = geometry.build(1e-9)(x, noise_at("b"))
    assert told is not None
    assert told.shape == (400, CONDITION)
    mirrored = told[:, 0] > 0
    assert 0.4 < float(mirrored.float().mean()) < 0.6
    assert not told[:, 1:].any()
    assert torch.equal(changed[mirrored], x[mirrored].flip(3))
    assert torch.equal(changed[~mirrored], x[~mirrored])


def test_each_change_happens_as_often_as_asked() -> None:
    _, told = geometry.build(0.12)(images(4000), noise_at("c"))
    assert told is not None
    # Flips are even odds within their share; turning tells cos - 1 and sin, the rest their size.
    shares = (told != 0).float().mean(0)
    expected = torch.tensor([0.5, 0.06, 0.12, 0.12, 0.12, 0.12, 0.06, 0.12, 0.12])
    assert (shares - expected).abs().max() < 0.02


def test_an_identity_map_reads_the_image_itself() -> None:
    x = images(3)
    matrix, offset = torch.eye(2).expand(3, 2, 2), torch.zeros(3, 2, 1)
    read = geometry._read(x, matrix, offset, torch.tensor([8.0, 8.0]))
    torch.testing.assert_close(read, x, rtol=0, atol=1e-5)


def test_a_quarter_turn_and_a_shift_are_what_they_say() -> None:
    x, size = images(1), torch.tensor([8.0, 8.0])
    # Read at x - 2: the picture moves two pixels to the right.
    moved = geometry._read(x, torch.eye(2)[None], torch.tensor([[[-2.0], [0.0]]]), size)
    torch.testing.assert_close(moved[..., 2:], x[..., :-2], rtol=0, atol=1e-5)
    turned = geometry._read(x, geometry._turned(torch.tensor([torch.pi / 2])), torch.zeros(1, 2, 1), size)
    torch.testing.assert_close(turned, x.rot90(1, (2, 3)), rtol=0, atol=1e-4)
