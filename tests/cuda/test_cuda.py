"""What a GPU must do as a CPU does: trainings, attacks as graphs, memory that runs out, networks of generators.

Skipped where there is no CUDA device. Noise is drawn where it is used, and a GPU draws other numbers than a CPU:
where the two are compared nothing is drawn."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

from isoloss.compiler.plan import TrainSpec
from isoloss.runtime import attacks
from isoloss.runtime.context import Placement
from isoloss.runtime.data import load
from isoloss.runtime.evaluation import autoattack as aa
from isoloss.runtime.evaluation.scoring import Subject, attack_all, verify
from isoloss.runtime.jobs import denoiser, discriminator, generate, train
from isoloss.runtime.models import build
from isoloss.runtime.training.inner_attack import InnerAttack
from isoloss.runtime.training.precision import FULL, set_rounding, switched
from isoloss.runtime.training.trainer import Trainer
from tests.runtime import diffusion_specs as diffusion
from tests.runtime.test_attacks import TABLE
from tests.runtime.test_train import RECIPES
from tests.runtime.test_trained_generators import GUIDED, PFGMPP
from tests.runtime.training_specs import DIGITS, batchnorm, context, in_parts, pgd, train_spec

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

DEVICE = "cuda:0"
WRN = {"kind": "wrn", "depth": 10, "width": 1}
FROM_THE_IMAGE = {"loss": {"kind": "pgd_at", "label_smoothing": 0}, "attack": pgd(3, "ce", start="zero")}


def run(spec: TrainSpec, folder: Path, device: str = DEVICE, **more: Any) -> list[float]:
    """The losses of a training job."""
    train.run(replace(context(spec, folder), device=device, **more))
    return losses(folder)


def run_on_cpu(spec: TrainSpec, folder: Path) -> None:
    os.environ["DS_ACCELERATOR"] = "cpu"
    run(spec, folder, "cpu")


def losses(folder: Path) -> list[float]:
    curve = orjson.loads((folder / "output" / "curve.json").read_bytes())
    return [value for _, value in curve["losses"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = torch.load(folder / "output" / "weights.pt", weights_only=True, map_location="cpu")
    assert found["live"] is not None
    return dict(found["live"])


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("model", [{"kind": "cnn", "width": 2}, WRN], ids=["cnn", "wrn"])
@pytest.mark.parametrize("mode", ["train", "eval", "moving"])
def test_a_training_is_that_of_a_cpu(tmp_path: Path, model: dict[str, Any], mode: str) -> None:
    """Six steps in fp32, losses to 1e-3: a sign that rounding turns moves a pixel by a whole step."""
    spec = train_spec(6, 32, model=model, batchnorm=batchnorm(mode), **FROM_THE_IMAGE)
    # In a process of its own: DeepSpeed keeps to the first kind of device that it saw.
    child = multiprocessing.get_context("spawn").Process(target=run_on_cpu, args=(spec, tmp_path / "cpu"))
    child.start()
    child.join()
    np.testing.assert_allclose(run(spec, tmp_path / "cuda"), losses(tmp_path / "cpu"), atol=1e-3)


@pytest.mark.parametrize("spec", RECIPES.values(), ids=RECIPES)
def test_stopping_and_resuming_changes_no_bit(tmp_path: Path, spec: TrainSpec) -> None:
    run(spec, tmp_path / "whole")
    in_parts(lambda stopping: run(spec, tmp_path / "parts", stopping=stopping))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def stepped(spec: TrainSpec, folder: Path, steps: int, *, plain: bool = False, fuse: bool = False) -> Trainer:
    job = replace(context(spec, folder), device=DEVICE)
    with switched(spec.numerics, DEVICE):
        trainer = Trainer(spec, train.open_feed(spec, job), DEVICE, fuse=fuse)
        if plain:
            mode = spec.recipe["batchnorm"]["attack"]
            trainer.inner = InnerAttack(attacks.build(spec.recipe["attack"]), trainer.network, mode)
        trainer.curve.losses = [[step, trainer.step()] for step in range(1, steps + 1)]
    return trainer


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("model", [{"kind": "cnn", "width": 2}, WRN], ids=["cnn", "wrn"])
@pytest.mark.parametrize("attack", TABLE.values(), ids=TABLE)
def test_a_captured_attack_has_the_same_bits(
    tmp_path: Path, attack: dict[str, Any], model: dict[str, Any], dtype: str
) -> None:
    spec = train_spec(6, 16, model=model, attack=attack, batchnorm=batchnorm("eval"))
    spec = replace(spec, numerics={**spec.numerics, "dtype": dtype})
    captured, plain = (stepped(spec, tmp_path, 5, plain=plain) for plain in (False, True))
    (graph,) = captured.inner._run._graphs.values()  # type: ignore[attr-defined]
    assert graph._graph is not None, "nothing was captured"
    assert captured.curve.losses == plain.curve.losses
    assert same_bits(captured.network.state_dict(), plain.network.state_dict())


def test_half_a_batch_is_captured_too(tmp_path: Path) -> None:
    half = {"kind": "half", "weight": "3/10", "label_smoothing": 0, "entropy": 0}
    spec = train_spec(6, 16, loss=half, attack=pgd(2, "ce"), batchnorm=batchnorm("train"))
    captured, plain = (stepped(spec, tmp_path, 5, plain=plain) for plain in (False, True))
    assert captured.curve.losses == plain.curve.losses


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_fused_training_follows_the_plain_one(tmp_path: Path, dtype: str, mode: str) -> None:
    """Losses to 2 % in fp32, where signs of the attack may turn, and to 5 % in bf16; and twice the same bits."""
    spec = train_spec(6, 32, model=WRN, batchnorm=batchnorm(mode))
    spec = replace(spec, numerics={**spec.numerics, "dtype": dtype})
    plain, fused, again = (stepped(spec, tmp_path, 5, fuse=fuse) for fuse in (False, True, True))
    values = [[value for _, value in each.curve.losses] for each in (plain, fused, again)]
    np.testing.assert_allclose(values[1], values[0], rtol=0.02 if dtype == "fp32" else 0.05)
    assert values[1] == values[2]
    assert same_bits(fused.network.state_dict(), again.network.state_dict())


def test_a_long_training_is_fused_and_resumes_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "COMPILED_FLOP", 0.0)
    monkeypatch.setattr(train, "COMPILED_PASS_FLOP", 0.0)
    spec = train_spec(7, 16, model=WRN)
    run(spec, tmp_path / "whole")
    in_parts(lambda stopping: run(spec, tmp_path / "parts", stopping=stopping))
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.parametrize("stage", [1, 2])
def test_partitions_train_alike(tmp_path: Path, stage: int) -> None:
    spec = train_spec(6, 32, **FROM_THE_IMAGE)
    whole = run(spec, tmp_path / "whole")
    parts = run(spec, tmp_path / "parts", placement=Placement(zero_stage=stage))
    np.testing.assert_allclose(parts, whole, atol=1e-3)


def test_what_does_not_fit_passes_in_parts(tmp_path: Path) -> None:
    """Half of the memory that the batch takes at once: it goes on in fewer images, measured, with the same losses."""
    spec = train_spec(4, 1024, model={"kind": "wrn", "depth": 10, "width": 4}, **FROM_THE_IMAGE)
    spec = replace(spec, numerics={**spec.numerics, "batchnorm_group": 64})
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    roomy = run(spec, tmp_path / "roomy")
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.5 * peak / total)
    try:
        scarce = run(spec, tmp_path / "scarce")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    layouts = orjson.loads((tmp_path / "scarce" / "output" / "curve.json").read_bytes())["layouts"]
    assert layouts[-1]["micro_batch"] < 1024
    np.testing.assert_allclose(scarce, roomy, atol=5e-3)


def test_tf32_is_near_fp32(tmp_path: Path) -> None:
    spec = train_spec(6, 32, model=WRN, **FROM_THE_IMAGE)
    rounded = run(replace(spec, numerics={**spec.numerics, "tf32": True}), tmp_path / "tf32")
    exact = run(spec, tmp_path / "fp32")
    assert rounded != exact
    np.testing.assert_allclose(rounded, exact, rtol=0.05)


def test_an_evaluation_finds_what_a_cpu_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    images = load(DIGITS, "test").take(slice(0, 60))
    network = build({"kind": "cnn", "width": 4}, DIGITS)
    attack = attacks.build(pgd(10, "cw", start="zero"))
    found = {}
    for device in ("cpu", DEVICE):
        set_rounding(FULL)
        subject = Subject.of(network, images, device)
        found[device] = subject.logits(attack_all(subject, attack, 0)).argmax(1)
    assert float((found["cpu"] == found[DEVICE]).double().mean()) >= 0.95
    whole = aa._suite

    def shorter(*arguments: Any) -> Any:
        suite = whole(*arguments)
        suite.attacks_to_run, suite.square.n_queries = ["apgd-ce", "fab-t", "square"], 50
        return suite

    monkeypatch.setattr(aa, "_suite", shorter)
    suite = {"kind": "autoattack", "norm": "linf", "eps": 0.1, "version": "standard"}
    broken = aa.autoattack(subject, suite, seed=0)
    verify(subject.x, broken.adversarial, "linf", 0.1)
    clean, attacked = (subject.logits(x).argmax(1) == subject.y for x in (subject.x, broken.adversarial))
    assert torch.equal(clean & attacked, broken.robust)


def on_cuda(spec: Any, folder: Path, inputs: dict[str, Path] | None = None, **more: Any) -> Any:
    return replace(diffusion.context(spec, folder, inputs, **more), device=DEVICE)


def test_networks_of_generators_train_resume_and_draw(tmp_path: Path) -> None:
    spec = diffusion.denoiser_spec(8)
    denoiser.run(on_cuda(spec, tmp_path / "whole"))
    in_parts(lambda stopping: denoiser.run(on_cuda(spec, tmp_path / "parts", stopping=stopping)))
    found = [
        torch.load(tmp_path / name / "output" / "denoiser.pt", weights_only=True, map_location="cpu")
        for name in ("whole", "parts")
    ]
    assert torch.equal(*(torch.cat([v.flatten() for v in tensors_of(each)]) for each in found))
    job = diffusion.context(spec, tmp_path / "named").job.id
    trained = {"kind": "unet", "job": job, "network": spec.network}
    shard = on_cuda(
        diffusion.generate_spec(diffusion.edm(3), trained, 40),
        tmp_path / "drawn",
        {job: tmp_path / "whole" / "output"},
    )
    generate.run(shard)
    part = on_cuda(
        replace(diffusion.generate_spec(diffusion.edm(3), trained, 40), start=11),
        tmp_path / "part", {job: tmp_path / "whole" / "output"},
    )  # fmt: skip
    generate.run(part)
    whole_images = np.load(shard.output / "images.npy")
    # A pixel may be rounded the other way where products are taken of another number of images.
    apart = np.abs(np.load(part.output / "images.npy").astype(int) - whole_images[11:].astype(int))
    assert apart.max() <= 1
    judge = diffusion.discriminator_spec(shard.job.id, 6, 40)
    judged = on_cuda(judge, tmp_path / "judge", {shard.job.id: shard.output})
    discriminator.run(judged)
    for sampler in (PFGMPP, {**GUIDED, "discriminator": {**GUIDED["discriminator"], "job": judged.job.id}}):
        inputs = {job: tmp_path / "whole" / "output", judged.job.id: judged.output}
        drawn = on_cuda(diffusion.generate_spec(sampler, trained, 20), tmp_path / sampler["kind"], inputs)
        (seen,) = generate.run(drawn)
        assert seen.value == 20


def tensors_of(saved: Any) -> list[torch.Tensor]:
    if isinstance(saved, torch.Tensor):
        return [saved]
    if isinstance(saved, dict):
        return [tensor for key in sorted(saved) for tensor in tensors_of(saved[key])]
    return []
