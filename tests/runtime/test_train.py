"""Training tested by training: loss falls, and stopped, killed or damaged it ends with the undisturbed
bits."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import torch

from isoloss.compiler.plan import Cost, TrainSpec
from isoloss.runtime import models
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.jobs import train
from isoloss.runtime.training.memory_estimate import estimate
from tests.runtime.training_specs import EVALUATION, batchnorm, context, in_parts, pgd, train_spec, trainer_of

torch.set_num_threads(1)


def _weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(folder / "output" / "weights.pt", weights_only=True)  # type: ignore[no-any-return]


def _same(one: Path, other: Path) -> None:
    """Bit for bit: weights, averages, curves and ledgers; seconds aside."""
    ours, theirs = _weights(one), _weights(other)
    for part in ("live", "average"):
        for name, tensor in ours[part].items():
            assert torch.equal(tensor, theirs[part][name]), f"{part} {name}"
    curves = [orjson.loads((folder / "output" / "curve.json").read_bytes()) for folder in (one, other)]
    for curve in curves:
        for key in ("seconds", "images_per_second", "waited_seconds"):
            del curve[key]
        for row in curve["evaluations"]:
            del row["seconds"]
    assert curves[0] == curves[1]


def test_loss_falls_and_artefacts_are_whole(tmp_path: Path) -> None:
    """Twenty natural steps on 64 images: to less than half; the attack then has gradients to work with."""
    spec = train_spec(20, 64, loss={"kind": "natural", "label_smoothing": 0}, attack={"kind": "none"})
    spec = replace(spec, evaluation=EVALUATION | {"attack": pgd(5, "ce")})
    observations = train.run(context(spec, tmp_path))
    curve = orjson.loads((tmp_path / "output" / "curve.json").read_bytes())
    values = [value for _, value in curve["losses"]]
    assert sum(values[-3:]) / 3 < 0.5 * values[0]
    assert [ledger["twice"] for ledger in curve["ledgers"]] == [0]
    assert curve["ledgers"][0]["drawn"] == 20 * 64
    names = {o.metric for o in observations}
    assert names == {
        "train loss natural", "loss natural @ pgd(5, ce, linf, 3/20)", "accuracy @ pgd(5, ce, linf, 3/20)",
        "accuracy @ clean", "images per second",
    }  # fmt: skip
    inside = [o for o in observations if o.metric.startswith("loss ")]
    assert [o.fraction for o in inside] == [0.25, 0.5, 0.75]
    assert [o.images for o in inside] == [320, 640, 960]
    assert [o.flops for o in inside] == [320e3, 640e3, 960e3]
    assert all(o.low is not None and o.high is not None and o.low < o.value < o.high for o in inside)
    network = models.load_trained(tmp_path / "output", spec.model, spec.dataset, {"kind": "none"}, "average")
    assert not network.training
    assert all(torch.equal(v, _weights(tmp_path)["average"][k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("attack", ["train", "eval"])
def test_trades_learns_to_resist(tmp_path: Path, attack: str) -> None:
    """60 steps of 64: the robust loss at three quarters is below that at one quarter."""
    spec = train_spec(60, 64, batchnorm=batchnorm(attack, "1/20"))
    observations = train.run(context(replace(spec, evaluation=EVALUATION), tmp_path))
    robust = [o.value for o in observations if o.metric.startswith("loss trades(5)")]
    assert robust[-1] < robust[0]


WATCH = EVALUATION | {"attack": pgd(3, "ce"), "split": "validation", "images": 97, "every": 0.2}


def test_the_best_weights_are_those_of_the_highest_robust_accuracy_on_validation(tmp_path: Path) -> None:
    """Whichever it is, the end included; the training has the bits of one that is not watched."""
    spec = train_spec(20, 32, lr=0.4, evaluation=WATCH)
    train.run(context(spec, tmp_path / "watched"))
    train.run(context(replace(spec, evaluation=None), tmp_path / "alone"))
    curve = orjson.loads((tmp_path / "watched" / "output" / "curve.json").read_bytes())
    scores = [
        (row["value"], row["step"])
        for row in curve["evaluations"]
        if row["metric"] == "accuracy @ pgd(3, ce, linf, 3/20) on validation"
    ]
    assert [step for _, step in scores] == [4, 8, 12, 16]
    ours = _weights(tmp_path / "watched")
    best = curve["best"]
    if best["step"] < spec.train_steps:
        assert (best["score"], best["step"]) == max(scores)
    else:
        assert best["score"] >= max(scores)[0]
        assert all(torch.equal(v, ours["average"][k]) for k, v in ours["best"].items())
    theirs = _weights(tmp_path / "alone")
    assert "best" not in theirs
    assert all(torch.equal(v, theirs["live"][k]) for k, v in ours["live"].items())
    args = spec.model, spec.dataset, {"kind": "none"}, "best"
    network = models.load_trained(tmp_path / "watched" / "output", *args)
    assert all(torch.equal(v, ours["best"][k]) for k, v in network.state_dict().items())
    with pytest.raises(JobError, match="can't be used"):
        models.load_trained(tmp_path / "alone" / "output", *args)
    torch.save({"best": Path()}, tmp_path / "weights.pt")
    with pytest.raises(JobError, match="nothing was run"):
        models.load_trained(tmp_path, *args)


def test_the_latest_of_the_highest_scores_is_kept_and_comes_back() -> None:
    spec = train_spec(5, 16)
    trainer = trainer_of(spec)
    kept = {}
    for score in (0.2, 0.6, 0.6, 0.4):
        trainer.step()
        trainer.offer(score, "average")
        if trainer.position == 3:
            kept = {
                name: tensor.clone() for name, tensor in trainer.evaluated("average").state_dict().items()
            }
    other = trainer_of(spec)
    other.restore(trainer.state())
    other.offer(0.5, "average")
    for best in (trainer.best, other.best):
        assert best is not None
        assert (best.step, best.score) == (3, 0.6)
        assert all(torch.equal(tensor, kept[name]) for name, tensor in best.weights.items())


def test_the_best_weights_are_counted_where_they_lie(tmp_path: Path) -> None:
    """In main memory: a training on a CPU holds one copy of its weights more, whatever passes at a time."""
    found = []
    for evaluation in (None, WATCH, EVALUATION):
        job = context(train_spec(20, 32, evaluation=evaluation), tmp_path).job
        memory = estimate(replace(job, cost=Cost(memory_bytes=1e6)), "cpu")
        assert memory is not None
        found.append((memory.state, memory.per_image))
    params = 944
    assert found[1] == (found[0][0] + 4 * params, found[0][1])
    assert found[2] == found[0]


def test_a_resumed_training_remembers_its_best(tmp_path: Path) -> None:
    """Stopped right after the best so far: its score, its step and its weights come back with the rest."""
    spec = train_spec(20, 32, lr=0.4, evaluation=WATCH)
    train.run(context(spec, tmp_path / "whole"))
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked == 9

    with pytest.raises(Stopped):
        train.run(context(spec, tmp_path / "cut", stopping))
    train.run(context(spec, tmp_path / "cut"))
    _same(tmp_path / "whole", tmp_path / "cut")
    whole, cut = (_weights(tmp_path / name)["best"] for name in ("whole", "cut"))
    assert all(torch.equal(v, cut[k]) for k, v in whole.items())


RECIPES = {
    "trades": train_spec(10, 32, evaluation=EVALUATION),
    "pgd_at, eval, augmented, clipped, no average": train_spec(
        10, 32, evaluation=EVALUATION,
        loss={"kind": "pgd_at", "label_smoothing": 0}, attack=pgd(2, "ce"), average={"kind": "none"},
        clip=1.0, augment={"kind": "pad_crop_flip", "pad": 1},
        batchnorm=batchnorm("eval", "1/10"),
    ),
    "wrn, cycled momentum, normalised": train_spec(
        6, 8, model={"kind": "wrn", "depth": 10, "width": 1},
        schedule={"kind": "cosine", "warmup": "1/4", "per": "epoch", "cycle_momentum": True},
        normalize={"kind": "mean_std", "mean": [0.5], "std": [0.25]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("spec", RECIPES.values(), ids=RECIPES)
def test_stopping_and_resuming_changes_no_bit(tmp_path: Path, spec: TrainSpec) -> None:
    """Asked to stop after every third step, until done."""
    train.run(context(spec, tmp_path / "whole"))
    in_parts(lambda stopping: train.run(context(spec, tmp_path / "parts", stopping=stopping)))
    if spec.recipe["average"]["kind"] == "none":
        assert _weights(tmp_path / "whole")["average"] is None
        for folder in ("whole", "parts"):
            path = tmp_path / folder / "output" / "weights.pt"
            saved = torch.load(path, weights_only=True)
            torch.save(saved | {"average": saved["live"]}, path)
    _same(tmp_path / "whole", tmp_path / "parts")


def test_a_stop_told_by_progress_loses_nothing(tmp_path: Path) -> None:
    def progress(fraction: float) -> None:
        if fraction >= 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        train.run(context(RECIPES["trades"], tmp_path, progress=progress))
    state = train.checkpoint.load_newest(tmp_path / "work")
    assert state is not None
    assert state["position"] == 5


def _train_and_die(folder: str, die_at: int) -> None:
    """In a child: checkpoint at every step, killed at one, mid-way through what comes after it."""
    torch.set_num_threads(1)
    train.CHECKPOINT_SECONDS = 0.0
    steps = []

    def progress(fraction: float) -> None:
        steps.append(fraction)
        if len(steps) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train.run(context(RECIPES["trades"], Path(folder), progress=progress))


@pytest.mark.timeout(240)
def test_sigkill_changes_no_bit(tmp_path: Path) -> None:
    train.run(context(RECIPES["trades"], tmp_path / "whole"))
    spawn = multiprocessing.get_context("spawn")
    child = spawn.Process(target=_train_and_die, args=(str(tmp_path / "killed"), 7))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    # The newest checkpoint is half written on top of it all.
    newest = max((tmp_path / "killed" / "work").glob("*.ckpt"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    train.run(context(RECIPES["trades"], tmp_path / "killed"))
    _same(tmp_path / "whole", tmp_path / "killed")


def test_the_seed_decides_and_nothing_else(tmp_path: Path) -> None:
    spec = train_spec(4, 16)
    torch.manual_seed(1)
    train.run(context(spec, tmp_path / "a"))
    torch.manual_seed(2)
    train.run(context(spec, tmp_path / "b"))
    _same(tmp_path / "a", tmp_path / "b")
    train.run(context(replace(spec, seed=4), tmp_path / "c"))
    assert not torch.equal(
        _weights(tmp_path / "a")["live"]["head.weight"], _weights(tmp_path / "c")["live"]["head.weight"]
    )


def test_divergence_stops_with_its_place_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    spec = train_spec(50, 16, lr=1e20, schedule={"kind": "constant"})
    with pytest.raises(JobError, match="the training loss became") as caught:
        train.run(context(spec, tmp_path))
    assert caught.value.code == "R320"
    assert any("clip" in line for line in caught.value.help)
    newest = max((tmp_path / "work").glob("*.ckpt"))
    assert str(newest) in caught.value.help[-1], "it says what it keeps"
    assert not (tmp_path / "output" / "weights.pt").exists()
    state = train.checkpoint.load_newest(tmp_path / "work")
    assert state is not None
    assert bool(torch.isfinite(state["losses"]).all())


def test_memory_that_runs_out_names_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object) -> float:
        raise MemoryError

    monkeypatch.setattr("isoloss.runtime.training.trainer.Trainer.step", full)
    with pytest.raises(JobError) as caught:
        train.run(context(train_spec(2, 64), tmp_path))
    assert caught.value.code == "R322"
    assert "a batch of 32 needs about half" in caught.value.help[-1]
    assert "more devices" in caught.value.help[0]


def test_missing_and_short_shards_are_job_errors(tmp_path: Path) -> None:
    import numpy as np

    data = {"kind": "generated", "shards": ["a"], "images": 100}
    folder = tmp_path / "shard"
    folder.mkdir()
    spec = train_spec(2, 16, data=data)
    with pytest.raises(JobError) as caught:
        train.run(context(spec, tmp_path, inputs={"a": folder}))
    assert caught.value.code == "R401"
    np.save(folder / "images.npy", np.zeros((50, 8, 8, 1), np.uint8))
    np.save(folder / "labels.npy", np.zeros(50, np.int64))
    with pytest.raises(JobError, match="100 images are needed, the shards hold 50"):
        train.run(context(spec, tmp_path, inputs={"a": folder}))
    enough = replace(spec, data=data | {"images": 50})
    observations = train.run(context(enough, tmp_path, inputs={"a": folder}))
    assert observations[-1].metric == "images per second"
