"""The denoiser job: DenoiserSpec -> denoiser.pt (averaged weights), curve.json and the curves' observations.

Resumes from the newest sound checkpoint in `work`; asked to stop, it saves one and raises Stopped."""

from __future__ import annotations

import torch

from isoloss.compiler.plan import DenoiserSpec, Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import load
from isoloss.runtime.diffusion.denoising import Denoising
from isoloss.runtime.diffusion.loop import Names, drive
from isoloss.runtime.generators.weights import DENOISER, save_network
from isoloss.runtime.training import precision

NAMES = Names("train denoising loss", "held-out denoising loss")


def run(context: JobContext) -> tuple[Observation, ...]:
    """Raises JobError (bad data, divergence, memory, a number format that isn't there) or Stopped."""
    spec = context.job.spec
    assert isinstance(spec, DenoiserSpec)
    torch.set_num_threads(context.threads)
    precision.check(spec.numerics, context.device)
    precision.set_rounding(spec.numerics)
    train, held_out = (load(spec.dataset, split, context.data_root) for split in ("train", "validation"))
    trainer = Denoising(spec, train, held_out, context.device, context.rank, context.world_size)
    observations = drive(trainer, context, NAMES)
    if context.rank == 0:
        source = f"trained by job {context.job.id}"
        save_network(context.output / DENOISER, trainer.average, spec.network, trainer.shape, source)
    return observations
