"""The `generate` job: one shard of a generator's images. Resumes at the block a kill interrupted.

In: GenerateSpec. Out: `images.npy`, `labels.npy`, `manifest.json`; observes `images`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from isoloss.compiler.plan import GenerateSpec, Observation
from isoloss.runtime import disk
from isoloss.runtime.context import JobContext
from isoloss.runtime.data.shards import FORMAT, IMAGES, LABELS, MANIFEST
from isoloss.runtime.generators import build
from isoloss.runtime.generators.squiggles.images import TrainingImages, of_component
from isoloss.runtime.store.arrays import mapped
from isoloss.runtime.training import precision


def run(context: JobContext) -> tuple[Observation, ...]:
    """Make images [start, stop). Raises JobError R501 (can't be generated here) and what reading data
    raises."""
    spec = context.job.spec
    assert isinstance(spec, GenerateSpec)
    precision.set_rounding(precision.FULL)
    generator = _source(spec, context)
    # On an accelerator one block fills the device.
    threads = context.threads if context.device == "cpu" or spec.sampler["kind"] == "real" else 1
    write_shard(generator, spec.start, spec.stop, context.work, context.output, context.progress, threads)
    manifest = {
        "format": FORMAT,
        "generator": asdict(spec),
        "count": spec.stop - spec.start,
        "shape": list(generator.shape),
        "classes": generator.classes,
        "sha256": {name: disk.sha256(context.output / name) for name in (IMAGES, LABELS)},
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    (context.output / MANIFEST).write_bytes(orjson.dumps(manifest, option=options))
    count = spec.stop - spec.start
    return (Observation(context.job.id, "generate", "images", float(count), count=count, seed=spec.seed),)


class Source(Protocol):
    """What makes labelled images: a generator, or a dataset that makes its own."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def classes(self) -> int: ...

    def pieces(
        self, start: int, stop: int, threads: int = 1
    ) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int64]]]: ...


def _source(spec: GenerateSpec, context: JobContext) -> Source:
    if spec.sampler["kind"] == "real":
        return TrainingImages(of_component(spec.dataset, spec.seed))
    return build(
        spec.dataset,
        spec.sampler,
        spec.denoiser,
        spec.seed,
        data_root=context.data_root,
        device=context.device,
        inputs=context.inputs,
    )


def write_shard(
    generator: Source,
    start: int,
    stop: int,
    work: Path,
    output: Path,
    progress: Callable[[float], None],
    threads: int = 1,
) -> None:
    """Write `images.npy` and `labels.npy` in `work`, one block at a time: memory does not grow with the shard.
    Whole, they are handed over to `output`.

    `done` says how many images are on the disk; a second call goes on from there."""
    count, done_file = stop - start, work / "done"
    kept = done_file.exists() and all(_draft(work, name).exists() for name in (IMAGES, LABELS))
    done = int(done_file.read_text()) if kept else 0
    shape = (count, *generator.shape)
    images = mapped(_draft(work, IMAGES), np.uint8, shape, new=not done)
    labels = mapped(_draft(work, LABELS), np.int64, (count,), new=not done)
    if done < count:
        for first, pixels, classes in generator.pieces(start + done, stop, threads):
            place = slice(first - start, first - start + len(pixels))
            images[place], labels[place] = pixels, classes
            # Images before the mark: a mark never promises what is not there.
            images.flush()
            labels.flush()
            disk.replace(done_file, str(place.stop).encode())
            progress(place.stop / count)
    for name in (IMAGES, LABELS):
        _hand_over(_draft(work, name), output / name)


def _hand_over(draft: Path, place: Path) -> None:
    """A second name for the file: an attempt that dies here leaves the draft to go on from. The work folder ends with
    the job."""
    try:
        os.link(draft, place)
    except OSError:
        shutil.move(draft, place)  # a file system without links


def _draft(folder: Path, name: str) -> Path:
    """Hidden: of what is in a work folder, only `done` says that there is something to go on from."""
    return folder / f".{name}"
