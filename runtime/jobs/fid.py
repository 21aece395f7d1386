"""The `fid` job: distance of generated images to the real training split, in a declared feature space.

In: FidSpec and the shards it names. Out: `quality.json`; observes `fid @ pixels`, `fd @ resnet18`, …"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import orjson

from isoloss.compiler.plan import FidSpec, Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import load
from isoloss.runtime.data.shards import open_shards
from isoloss.runtime.errors import JobError
from isoloss.runtime.quality.features import build
from isoloss.runtime.quality.frechet import estimate, moments

#: Below this share of images per feature a covariance is singular and the distance mostly noise.
LEAST_IMAGES_PER_FEATURE = 2


def run(context: JobContext) -> tuple[Observation, ...]:
    """Measure. Raises JobError R502 (no such features here), R503 (too few images), R401-R406 (shards)."""
    spec = context.job.spec
    assert isinstance(spec, FidSpec)
    space = build(spec.features, context.data_root, context.device)
    real = load(spec.dataset, "train", context.data_root)
    shards = open_shards([context.inputs[id] for id in spec.samples], spec.images, real.classes)
    if shards.parts[0][0].shape[1:] != real.images.shape[1:]:
        raise JobError("R404", "generated and real images have different shapes")
    reference = space.extract(real.images)
    context.progress(0.1)
    generated = space.extract(shards.first(spec.images)[0])
    context.progress(0.5)
    least = LEAST_IMAGES_PER_FEATURE * generated.shape[1]
    if min(len(generated), len(reference)) < least:
        raise JobError(
            "R503",
            f"{min(len(generated), len(reference)):,} images are too few for a distance over "
            f"{generated.shape[1]} features; at least {least:,} are needed",
            "give the generator more images, or state its `fid`",
        )
    found = estimate(generated, moments(reference), np.random.default_rng(spec.seed))
    result = {
        "metric": space.metric,
        "features": dict(spec.features),
        "dataset": dict(spec.dataset),
        "reference_split": "train",
        "reference_images": len(reference),
        **asdict(found),
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    (context.output / "quality.json").write_bytes(orjson.dumps(result, option=options))
    note = f"biased upwards at n = {found.count}: {found.limit:.4g} when extrapolated to n = infinity"
    return (
        Observation(
            context.job.id,
            "fid",
            space.metric,
            found.value,
            found.low,
            found.high,
            count=found.count,
            fid=found.value,
            seed=spec.seed,
            flags=(note,),
        ),
    )
