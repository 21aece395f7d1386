"""Schedule, average, sampler, ledger, checkpoint, augmentation, losses: each against its definition."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isoloss.compiler.cost import passes as cost_rule
from isoloss.runtime import models
from isoloss.runtime.errors import JobError
from isoloss.runtime.evaluation.intervals import wilson
from isoloss.runtime.noise import noise_at
from isoloss.runtime.training import augment, average, checkpoint, losses
from isoloss.runtime.training.feed import Drawn, Feed, Resident, Source, open_images, open_source
from isoloss.runtime.training.ledger import Ledger
from isoloss.runtime.training.sampler import Grain, Sampler, grain
from isoloss.runtime.training.schedule import setting_at
from isoloss.runtime.training.stream import Streamed
from isoloss.runtime.training.training_evaluation import probe_steps
from tests.runtime.training_specs import DIGITS, pgd

torch.set_num_threads(1)

COSINE = {"kind": "cosine", "warmup": "1/40", "per": "epoch", "cycle_momentum": True}


# Schedule.


@pytest.mark.parametrize(("epoch", "lr"), [(1, 0.012), (2, 0.228), (3, 0.29998), (51, 0.151), (100, 1.2e-6)])
def test_published_learning_rates(epoch: int, lr: float) -> None:
    """100 epochs, maximum .3: the values of the reference, to its printed digits."""
    setting = setting_at(COSINE, 0.3, (epoch - 1) * 49, 100 * 49, 49)
    assert setting.lr == pytest.approx(lr, rel=4e-3)


@pytest.mark.parametrize(("steps", "per_epoch"), [(100, 1), (41, 1), (7, 1), (3, 1), (123, 3)])
def test_the_schedule_is_torchs_one_cycle(steps: int, per_epoch: int) -> None:
    """At 40 epochs torch divides by zero (its warm-up is one point); ours is at its peak there."""
    assert setting_at(COSINE, 0.3, 0, 40, 1).lr == pytest.approx(0.3)
    epochs = steps // per_epoch
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=epochs, pct_start=0.025)
    for epoch in range(epochs):
        ours = setting_at(COSINE, 0.3, epoch * per_epoch, steps, per_epoch)
        assert ours.lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        assert ours.momentum == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-12)
        optimizer.step()
        if epoch + 1 < epochs:
            theirs.step()


# Average.


def test_decay_copies_then_ramps_to_its_value() -> None:
    """1,000 steps: a copy before step 25, (1 + d) / (10 + d) after, .995 from d = 1,790 on."""
    assert average.decay_at(24, 1000, 0.995, 0.025) == 0.0
    assert average.decay_at(25, 1000, 0.995, 0.025) == pytest.approx(0.1)
    assert average.decay_at(1789, 0, 0.995, 0.025) < 0.995
    assert average.decay_at(1790, 0, 0.995, 0.025) == 0.995


def test_the_average_shares_running_statistics_and_owns_its_weights() -> None:
    network = models.build({"kind": "cnn", "width": 2}, DIGITS)
    ema = average.Average(0.9, 0.025, network, 10)
    old = ema.network.head.weight.clone()
    with torch.no_grad():
        network.head.weight += 1
    network(torch.rand(8, 1, 8, 8))
    ema.update(5)  # d = 4.75: decay (1 + 4.75) / (10 + 4.75)
    decay = 5.75 / 14.75
    torch.testing.assert_close(ema.network.head.weight, decay * old + (1 - decay) * network.head.weight)
    assert ema.network.norms[0].running_mean is network.norms[0].running_mean


# Sampler and ledger.


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(0, 2**62), st.integers(0, 5))
def test_every_pass_is_a_permutation(images: int, seed: int, number: int) -> None:
    drawn = Sampler(seed, images).indices(number * images, (number + 1) * images)
    assert np.array_equal(np.sort(drawn), np.arange(images))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 10**12), st.integers(0, 2**40), st.integers(1, 40))
def test_a_position_is_one_image_however_it_is_asked_for(images: int, start: int, count: int) -> None:
    sampler = Sampler(3, images)
    whole = sampler.indices(start, start + count)
    one_by_one = [int(Sampler(3, images).indices(p, p + 1)[0]) for p in range(start, start + count)]
    assert whole.tolist() == one_by_one
    assert whole.min() >= 0
    assert whole.max() < images


def test_passes_and_seeds_differ_and_positions_are_spread() -> None:
    first, second = Sampler(1, 5000).indices(0, 5000), Sampler(1, 5000).indices(5000, 10000)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, Sampler(2, 5000).indices(0, 5000))
    # Of independent permutations about one image keeps its place; six standard deviations are allowed.
    assert (first == second).sum() <= 7
    assert abs(np.corrcoef(np.arange(5000), first)[0, 1]) < 6 / 5000**0.5


def test_the_ledger_proves_a_sound_stream_and_catches_others() -> None:
    sampler, ledger = Sampler(1, 100), Ledger(100)
    for step in range(15):
        ledger.add(sampler.indices(step * 32, (step + 1) * 32))
    assert ledger.summary() | {"sha256": ""} == {
        "images": 100, "drawn": 480, "passes": 4, "twice": 0, "missed": 0, "sha256": "",
    }  # fmt: skip
    faulty = Ledger(4)
    faulty.add(np.array([0, 1, 1, 3, 2, 2]))
    assert (faulty.twice, faulty.missed) == (2, 1)


def test_a_restored_ledger_goes_on_as_if_nothing_happened() -> None:
    stream = Sampler(1, 50).indices(0, 120)
    whole, part = Ledger(50), Ledger(50)
    for start in range(0, 120, 10):
        whole.add(stream[start : start + 10])
        part.add(stream[start : start + 10])
        resumed = Ledger(50)
        resumed.restore(part.state())
        part = resumed
    assert part.summary() == whole.summary()


# Checkpoints.


def test_the_newest_sound_checkpoint_is_used(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"position": step, "weights": torch.full((5,), float(step))})
    assert len(list(tmp_path.glob("*.ckpt"))) == checkpoint.KEPT
    newest = max(tmp_path.glob("*.ckpt"))
    content = bytearray(newest.read_bytes())
    content[-20] ^= 1
    newest.write_bytes(content)
    state = checkpoint.load_newest(tmp_path)
    assert state is not None
    assert state["position"] == 2
    assert torch.equal(state["weights"], torch.full((5,), 2.0))
    assert newest.with_suffix(".damaged").exists()


def test_a_truncated_and_an_empty_folder(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "absent") is None
    path = checkpoint.save(tmp_path, 1, {"position": 1})
    path.write_bytes(path.read_bytes()[:10])
    assert checkpoint.load_newest(tmp_path) is None


# Feed and augmentation.


def _set(count: int, offset: int = 0):  # type: ignore[no-untyped-def]
    from isoloss.runtime.data import ImageSet

    images = np.arange(offset, offset + count, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)
    return ImageSet(images, np.arange(offset, offset + count, dtype=np.int64), 256)


def test_resident_images_are_those_of_the_sets() -> None:
    resident = open_images([_set(10), _set(7, 10), _set(30, 17)], 40, "cpu")
    index = np.array([39, 0, 10, 9, 16, 17, 9])
    images, labels = resident.take(index)
    assert len(resident) == 40
    assert labels.tolist() == images[:, 0, 0, 0].tolist() == index.tolist()


def test_a_mixed_batch_splits_into_slices() -> None:
    sources = [
        open_source([_set(50)], 50, 1, name="generated", share=Fraction(3, 4)),
        open_source([_set(20, 100)], 20, 1, name="real", share=Fraction(1, 4)),
    ]
    feed = Feed(sources, 8)
    x, y = feed.load(3)
    assert (y >= 100).sum() == 2
    torch.testing.assert_close(x[:, 0, 0, 0] * 255, y.float())
    passes = [feed.load(3, start, start + 2) for start in range(0, 8, 2)]
    assert torch.equal(torch.cat([labels for _, labels in passes]), y)
    assert torch.equal(torch.cat([images for images, _ in passes]), x)
    # Two processes, the second in two passes: each reads its own rows.
    halves = [Feed(sources, 8, rows=(0, 4)).load(3)[1]]
    second = Feed(sources, 8, rows=(4, 8))
    halves += [second.load(3, 4, 6)[1], second.load(3, 6, 8)[1]]
    assert torch.equal(torch.cat(halves), y)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40), st.fractions(min_value=Fraction(1, 20), max_value=Fraction(19, 20), max_denominator=20),
    st.integers(1, 60),
)  # fmt: skip
def test_a_ratio_is_exact_over_a_run_for_any_batch(batch: int, share: Fraction, steps: int) -> None:
    """Counted from what is drawn: after every step within one image of the ratio, and exact where it can be."""
    sources = [
        open_source([_set(50)], 50, 1, name="generated", share=share),
        open_source([_set(9, 100)], 9, 1, name="real", share=1 - share),
    ]
    feed, ledgers = Feed(sources, batch), [Ledger(50), Ledger(9)]
    for step in range(steps):
        for ledger, drawn in zip(ledgers, feed.indices(step), strict=True):
            ledger.add(drawn)
        generated, real = (ledger.drawn for ledger in ledgers)
        total = (step + 1) * batch
        assert generated + real == total
        assert 0 <= generated - total * share < 1
        if (total * share).denominator == 1:
            assert (generated, real) == (total * share, total * (1 - share))
        assert len(feed.load(step)[1]) == batch
    assert [ledger.summary()["twice"] for ledger in ledgers] == [0, 0]
    assert [ledger.summary()["missed"] for ledger in ledgers] == [0, 0]


# Sets beyond memory.


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 40), st.integers(1, 5), st.integers(0, 9))
def test_windows_miss_no_image_and_repeat_none(images: int, block: int, blocks: int, seed: int) -> None:
    sampler = Sampler(seed, images, "data", Grain(block, block * blocks))
    for number in (0, 1):
        one = sampler.indices(number * images, (number + 1) * images)
        assert sorted(one.tolist()) == list(range(images))
    # However it is cut, it is one sequence; and a window's runs are its images, in the order of its rows.
    cuts = [*range(0, 2 * images, 37), 2 * images]
    pieces = [sampler.indices(a, b) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(pieces), sampler.indices(0, 2 * images))
    for place in sampler.places(0, 2 * images):
        runs = sampler.runs(place.number)
        rows = np.concatenate([(first + np.arange(count)) % images for first, count in runs.tolist()])
        assert len(rows) == sampler.window_images(place.number)
        np.testing.assert_array_equal(rows[place.rows], sampler._images_of(place))


def test_order_depends_on_the_set_and_not_on_the_machine() -> None:
    assert grain(48_976, 3072) == Grain(48_976, 48_976)
    fine = grain(1_000_000, 3072)
    assert fine == Grain(341, 341 * 128)
    assert fine.window * 3072 <= 128 << 20
    assert grain(2, 1 << 40).block == 1


def _files(folder: Path, sets: list[Any]) -> list[Any]:
    from isoloss.runtime.data import ImageSet

    made = []
    for number, part in enumerate(sets):
        np.save(folder / f"images{number}.npy", part.images)
        np.save(folder / f"labels{number}.npy", part.labels)
        arrays = [np.load(folder / f"{name}{number}.npy", mmap_mode="r") for name in ("images", "labels")]
        made.append(ImageSet(arrays[0], arrays[1], 256))
    return made


@pytest.mark.parametrize("jump", [0, 11])
def test_streamed_batches_are_those_of_memory(tmp_path: Path, jump: int) -> None:
    """Three files, five windows a pass, three passes; from the start, and resumed at a later step."""
    sets = [_set(100), _set(57, 100), _set(93, 157)]
    sampler = Sampler(3, 240, "data", Grain(8, 48))
    streamed = Feed([Source(Streamed(_files(tmp_path, sets), sampler, pinned=False), sampler)], 31)
    resident = Feed([Source(Drawn(Resident(sets, 240, "cpu"), sampler), sampler)], 31)
    for step in range(jump, 24):
        for one, other in zip(streamed.load(step), resident.load(step), strict=True):
            assert torch.equal(one, other)
    assert streamed.waited_seconds > 0


def test_streaming_holds_two_windows_and_no_more(tmp_path: Path) -> None:
    sampler = Sampler(3, 240, "data", Grain(8, 48))
    streamed = Streamed(_files(tmp_path, [_set(240)]), sampler, pinned=False)
    for start in range(0, 720, 16):
        streamed.draw(start, start + 16)
        assert len(streamed._held) == 2
        assert len(streamed._spare) <= 1


def test_a_reader_that_fails_says_so(tmp_path: Path) -> None:
    sampler = Sampler(3, 240, "data", Grain(8, 48))
    feed = Feed([Source(Streamed(_files(tmp_path, [_set(240)]), sampler, pinned=False), sampler)], 16)
    os.truncate(tmp_path / "images0.npy", 1000)
    with pytest.raises(JobError) as error:
        feed.load(0)
    assert error.value.code == "R404"


def test_pad_crop_flip_moves_and_mirrors() -> None:
    """Every result is one of the crops of the padded image or of its mirror, and both kinds occur."""
    x = torch.arange(1, 17).float().view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    out = augment.build({"kind": "pad_crop_flip", "pad": 1})(x, noise_at(1))
    padded = F.pad(x[:1], (1, 1, 1, 1))
    crops = [padded[0, 0, r : r + 4, c : c + 4] for r in range(3) for c in range(3)]
    kinds = {str(crop.flatten().tolist()): False for crop in crops}
    kinds |= {str(crop.flip(1).flatten().tolist()): True for crop in crops}
    found = [kinds[str(image.flatten().tolist())] for image in out]
    assert 15 < sum(found) < 49
    assert len({str(image.tolist()) for image in out}) > 9


# Losses.


def _straight_trades(network: models.Network, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """Zhang et al. eq. 5 as written in the paper, from probabilities; smoothing by hand."""
    clean, adversarial = network(x), network(x_adv)
    p, q = clean.softmax(1), adversarial.softmax(1)
    target = torch.full_like(p, 0.1 / 10) + 0.9 * F.one_hot(y, 10)
    cross_entropy = -(target * p.log()).sum(1).mean()
    return cross_entropy + 5 * (p * (p.log() - q.log())).sum(1).mean()


@pytest.mark.parametrize("shares", [True, False])
def test_trades_is_its_formula(shares: bool) -> None:
    """Value and every weight's gradient against the straight transcription: equal to 1e-5 in float32. With
    and without sharing the clean pass, the running statistics move by the same two passes."""
    torch.manual_seed(2)
    network = models.build({"kind": "cnn", "width": 2}, DIGITS)
    x, x_adv, y = torch.rand(16, 1, 8, 8), torch.rand(16, 1, 8, 8), torch.arange(16) % 10

    class Fixed:
        shares_clean = shares

        def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
            assert (clean_logits_BK is not None) == shares
            return x_adv

    initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    results = []
    for compute in (
        lambda: _straight_trades(network, x, x_adv, y),
        lambda: losses.build({"kind": "trades", "beta": 5, "label_smoothing": "1/10"}).training(
            network, x, y, Fixed()
        ),
    ):
        network.load_state_dict(initial)
        network.zero_grad()
        value = compute()
        value.backward()
        grads = [p.grad.clone() for p in network.parameters()]  # type: ignore[union-attr]
        results.append((value.detach(), grads, network.norms[0].running_mean.clone()))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=0)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert torch.equal(results[0][2], results[1][2])


def test_smoothing_is_torchs_and_stays_out_of_evaluations() -> None:
    logits, y = torch.randn(12, 10), torch.arange(12) % 10
    smoothed = losses.build({"kind": "natural", "label_smoothing": "1/10"})
    wanted = F.cross_entropy(logits, y, label_smoothing=0.1)
    torch.testing.assert_close(smoothed.training(lambda x: logits, logits, y, None), wanted)  # type: ignore[arg-type]
    torch.testing.assert_close(
        smoothed.per_image(logits, logits, y), F.cross_entropy(logits, y, reduction="none")
    )


@pytest.mark.parametrize(("kind", "passes"), [("trades", 27), ("pgd_at", 23), ("natural", 3)])
def test_passes_of_the_cost_rule(kind: str, passes: int) -> None:
    loss = {"kind": kind, "beta": 5}
    attack = pgd(10, "kl" if kind == "trades" else "ce") if kind != "natural" else {"kind": "none"}
    assert losses.build(loss).passes(10) == passes == cost_rule.passes(loss, attack)


# Names and times.


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 3000))
def test_probes_come_at_fractions_below_one(parts: int, steps: int) -> None:
    found = probe_steps(1 / parts, steps)
    assert all(0 < step < steps for step in found)
    assert len(found) <= parts
    if steps >= 2 * parts:
        assert len(found) == parts - 1


def test_wilson_holds_its_share() -> None:
    """7,000 of 10,000: the reference's ±.9 point."""
    share, low, high = wilson(7000, 10000)
    assert share == 0.7
    assert (high - low) / 2 == pytest.approx(0.009, abs=2e-4)
    assert wilson(0, 10)[1] == 0.0
    assert wilson(10, 10)[2] == 1.0
