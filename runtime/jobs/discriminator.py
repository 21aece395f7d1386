"""The discriminator job: DiscriminatorSpec and shards -> discriminator.pt, curve.json and the curves' observations.

Resumes from the newest sound checkpoint in `work`; asked to stop, it saves one and raises Stopped."""

from __future__ import annotations

import torch

from isoloss.compiler.plan import DiscriminatorSpec, Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import ImageSet, load
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.diffusion.judging import Judging
from isoloss.runtime.diffusion.loop import Names, drive
from isoloss.runtime.generators.weights import DISCRIMINATOR, save_network
from isoloss.runtime.training import precision

NAMES = Names("train discrimination loss", "held-out discrimination loss")


def run(context: JobContext) -> tuple[Observation, ...]:
    """Raises JobError (bad data, divergence, memory, a number format that isn't there) or Stopped."""
    spec = context.job.spec
    assert isinstance(spec, DiscriminatorSpec)
    torch.set_num_threads(context.threads)
    precision.check(spec.numerics, context.device)
    precision.set_rounding(spec.numerics)
    real = load(spec.dataset, "train", context.data_root), load(spec.dataset, "validation", context.data_root)
    shards = open_shards([context.inputs[id] for id in spec.generated], spec.images, real[0].classes)
    generated = ImageSet(*shards.first(spec.images), real[0].classes)
    trainer = Judging(spec, real, generated, context.device, context.rank, context.world_size)
    observations = drive(trainer, context, NAMES)
    if context.rank == 0:
        source = f"trained by job {context.job.id}"
        save_network(context.output / DISCRIMINATOR, trainer.network, spec.network, trainer.shape, source)
    return observations
