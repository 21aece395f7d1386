"""The `generate` job: one shard of a generator's images. Resumes at the block a kill interrupted.

In: GenerateSpec. Out: `images.npy`, `labels.npy`, `manifest.json`; observes `images`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson

from isoloss.compiler.plan import GenerateSpec, Observation
from isoloss.runtime import disk
from isoloss.runtime.context import JobContext
from isoloss.runtime.data.shards import IMAGES, LABELS
from isoloss.runtime.generators import Generator, build
from isoloss.runtime.training import precision

MANIFEST_FORMAT = "isoloss.images/1"


def run(context: JobContext) -> tuple[Observation, ...]:
    """Make images [start, stop). Raises JobError R501 (can't be generated here) and what reading data
    raises."""
    spec = context.job.spec
    assert isinstance(spec, GenerateSpec)
    # fp32 is what the networks were trained in; TF32 would be another generator.
    precision.set_rounding({"tf32": False, "deterministic": True})
    generator = build(
        spec.dataset,
        spec.sampler,
        spec.denoiser,
        spec.seed,
        data_root=context.data_root,
        device=context.device,
        inputs=context.inputs,
    )
    # On an accelerator one block fills the device.
    threads = context.threads if context.device == "cpu" else 1
    write_shard(generator, spec.start, spec.stop, context.work, context.progress, threads)
    for name in (IMAGES, LABELS):
        shutil.move(context.work / name, context.output / name)
    manifest = {
        "format": MANIFEST_FORMAT,
        "generator": asdict(spec),
        "count": spec.stop - spec.start,
        "shape": list(generator.shape),
        "classes": generator.classes,
        "sha256": {name: disk.sha256(context.output / name) for name in (IMAGES, LABELS)},
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    (context.output / "manifest.json").write_bytes(orjson.dumps(manifest, option=options))
    count = spec.stop - spec.start
    return (Observation(context.job.id, "generate", "images", float(count), count=count, seed=spec.seed),)


def write_shard(
    generator: Generator,
    start: int,
    stop: int,
    folder: Path,
    progress: Callable[[float], None],
    threads: int = 1,
) -> None:
    """Write `images.npy` and `labels.npy` in `folder`, one block at a time: memory does not grow with the
    shard.

    `done` says how many images are on the disk; a second call goes on from there."""
    count, done_file = stop - start, folder / "done"
    kept = done_file.exists() and (folder / IMAGES).exists() and (folder / LABELS).exists()
    done = int(done_file.read_text()) if kept else 0
    mode = "r+" if done else "w+"
    shape = (count, *generator.shape)
    images = np.lib.format.open_memmap(folder / IMAGES, mode=mode, dtype=np.uint8, shape=shape)
    labels = np.lib.format.open_memmap(folder / LABELS, mode=mode, dtype=np.int64, shape=(count,))
    if done < count:
        for first, pixels, classes in generator.pieces(start + done, stop, threads):
            place = slice(first - start, first - start + len(pixels))
            images[place], labels[place] = pixels, classes
            # Images before the mark: a mark never promises what is not there.
            images.flush()
            labels.flush()
            disk.replace(done_file, str(place.stop).encode())
            progress(place.stop / count)
