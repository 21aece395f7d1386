"""The same maths however many processes share a batch: losses of one and of two processes, gloo on
loopback."""

from __future__ import annotations

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from isoloss.runtime.errors import JobError
from isoloss.runtime.jobs import denoiser, train
from isoloss.runtime.training.trainer import Trainer
from tests.runtime import diffusion_specs
from tests.runtime.training_specs import context, pgd, train_spec

torch.set_num_threads(1)

SPECS = {
    "cnn": train_spec(8, 32, augment={"kind": "pad_crop_flip", "pad": 1}),
    "wrn": train_spec(
        4, 16, model={"kind": "wrn", "depth": 10, "width": 1}, loss={"kind": "pgd_at", "label_smoothing": 0},
        attack=pgd(2, "ce"), batchnorm={"kind": "batchnorm", "attack": "eval", "momentum": "1/10"}, clip=1.0,
    ),
}  # fmt: skip

#: A generator's network is trained in the same processes, under the kernel that draws most.
DENOISER = diffusion_specs.denoiser_spec(8, {"kind": "pfgmpp", "dimension": 64}, augment=0.2, condition=9)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank(folder: Path, rank: int, port: int) -> None:
    """Both trainings in one pair of processes: their start costs more than they do."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    for name, spec in SPECS.items():
        train.run(replace(context(spec, folder / name / "two"), rank=rank, world_size=2))
    shared = diffusion_specs.context(DENOISER, folder / "denoiser" / "two")
    denoiser.run(replace(shared, rank=rank, world_size=2))


def _losses(folder: Path) -> np.ndarray:
    curve = orjson.loads((folder / "output" / "curve.json").read_bytes())
    return np.array([value for _, value in curve["losses"]])


@pytest.mark.timeout(240)
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Loss of every step within 2e-3, the first within 1e-5; running statistics and weights alike. Sums over
    ranks round differently, and an attack's sign turns a rounding into a whole step: hence the two bounds."""
    spawn = multiprocessing.get_context("spawn")
    port = _free_port()
    ranks = [spawn.Process(target=_rank, args=(tmp_path, rank, port)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for name, spec in SPECS.items():
        train.run(context(spec, tmp_path / name / "one"))
    denoiser.run(diffusion_specs.context(DENOISER, tmp_path / "denoiser" / "one"))
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    for name in SPECS:
        one, two = _losses(tmp_path / name / "one"), _losses(tmp_path / name / "two")
        assert abs(one[0] - two[0]) < 1e-5
        assert np.abs(one - two).max() < 2e-3
        weights = [
            torch.load(tmp_path / name / world / "output" / "weights.pt", weights_only=True)["live"]
            for world in ("one", "two")
        ]
        for key, tensor in weights[0].items():
            torch.testing.assert_close(tensor, weights[1][key], rtol=0.02, atol=0.02)
    one, two = (_losses(tmp_path / "denoiser" / world) for world in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=1e-4)


def test_a_batch_that_cant_be_shared_is_a_job_error(tmp_path: Path) -> None:
    spec = train_spec(1, 15)
    with pytest.raises(JobError, match="15 can't be shared equally by 2") as caught:
        Trainer(spec, train.open_feed(spec, context(spec, tmp_path)), "cpu", 0, 2)
    assert caught.value.code == "R319"
