"""The data path beyond memory: `python benchmarks/data.py [--gigabytes 3] [--folder DIR]`.

Makes an archive of random CIFAR-sized images, imports it, and trains on it, each in a process of its own that is
watched from outside: peak memory is the process's whole resident set, mapped pages and libraries included. Files
are dropped from the page cache before they are read, so that the disk is read and not memory. Beside the import
the straightforward one (load, permute, save), beside the training the same steps fed by a memory map at random
positions. Stall: the share of wall seconds that a training waits for its images."""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

SHAPE, CLASSES = (32, 32, 3), 10
BYTES = int(np.prod(SHAPE))
_CHUNK = 4096


def write_archive(path: Path, images: int, seed: int = 0) -> Path:
    """An uncompressed .npz of random images, ordered by class as published ones are; constant memory."""
    rng = np.random.default_rng(seed)

    def header(shape: tuple[int, ...], dtype: str) -> bytes:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
        return head.getvalue()

    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("image.npy", "w", force_zip64=True) as file:
            file.write(header((images, *SHAPE), "|u1"))
            for start in range(0, images, _CHUNK):
                file.write(rng.bytes(min(_CHUNK, images - start) * BYTES))
        with archive.open("label.npy", "w") as file:
            file.write(header((images,), "<i8"))
            file.write((np.arange(images, dtype="<i8") * CLASSES // images).tobytes())
    return path


def drop_from_cache(*folders: Path) -> None:
    """Let the kernel forget these folders' files, after it has written what it still owes."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def child(task: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Run one task of this file in a process of its own. Returns what it reports, with its peak memory."""
    command = [
        sys.executable,
        __file__,
        "--task",
        task,
        "--folder",
        str(folder),
        "--options",
        json.dumps(options),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{task} ended with {done.returncode}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _import(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    from isoloss.runtime.data import shuffle
    from isoloss.runtime.data.below import files_below
    from isoloss.runtime.data.importing import Wanted, import_files

    shuffle.BUCKET_BYTES = options.get("bucket_bytes", shuffle.BUCKET_BYTES)
    for name in ("shard", "work"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    base, began = _peak(), time.monotonic()
    paths = files_below(folder / "data", "*.npz")
    count, _ = import_files(paths, folder / "data", Wanted(SHAPE, CLASSES), folder / "shard", folder / "work")
    return {"seconds": time.monotonic() - began, "images": count, "base_bytes": base}


def _import_plainly(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    with np.load(next((folder / "data").iterdir())) as archive:
        images, labels = archive["image"], archive["label"]
    order = np.random.default_rng(0).permutation(len(images))
    (folder / "plain").mkdir(exist_ok=True)
    np.save(folder / "plain" / "images.npy", images[order])
    np.save(folder / "plain" / "labels.npy", labels[order])
    return {"seconds": time.monotonic() - began, "images": len(images)}


def _train(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Adversarial steps on a small network, fed by the shard; `mapped` feeds them from a memory map instead."""
    import torch

    from isoloss.compiler.plan import TrainSpec
    from isoloss.runtime.data import ImageSet
    from isoloss.runtime.data.shards import open_shards
    from isoloss.runtime.training import feed, sampler
    from isoloss.runtime.training.trainer import Trainer

    torch.set_num_threads(1)
    sampler.WHOLE_BYTES = options.get("whole_bytes", sampler.WHOLE_BYTES)
    sampler.BLOCK_BYTES = options.get("block_bytes", sampler.BLOCK_BYTES)
    feed.RESIDENT_BYTES["cpu"] = sampler.WHOLE_BYTES
    base = _peak()
    count, batch = options["images"], options.get("batch", 128)
    shards = open_shards([folder / "shard"], count, CLASSES)
    sets = [ImageSet(images, labels, CLASSES) for images, labels in shards.parts]
    source = feed.open_source(sets, count, 0)
    if options.get("mapped"):
        # One permutation of all images, read where they lie: what the published loaders do.
        everything = sampler.Sampler(0, count)
        source = feed.Source(_Mapped(sets[0], everything), everything)
    trainer = Trainer(_spec(TrainSpec, options, batch), feed.Feed([source], batch))
    trainer.step()
    waited, began = trainer.feed.waited_seconds, time.monotonic()
    for _ in range(options["steps"] - 1):
        trainer.step()
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "waited": trainer.feed.waited_seconds - waited,
        "images_per_second": (options["steps"] - 1) * batch / seconds,
        "streamed": type(source.images).__name__,
        "twice": trainer.ledgers[0].summary()["twice"],
        "base_bytes": base,
    }


class _Mapped:
    def __init__(self, images: Any, sampler: Any) -> None:
        self.images, self.sampler = images, sampler

    def draw(self, start: int, stop: int) -> Any:
        import torch

        index = self.sampler.indices(start, stop)
        return torch.from_numpy(self.images.images[index]), torch.from_numpy(self.images.labels[index])


def _spec(make: Any, options: dict[str, Any], batch: int) -> Any:
    recipe = {
        "loss": {"kind": "trades", "beta": 5, "label_smoothing": 0.1},
        "attack": {"kind": "pgd", "norm": "linf", "eps": "8/255", "step": "2/255",
                   "steps": options.get("attack_steps", 10), "loss": "kl", "restarts": 1, "start": "uniform"},
        "perturb": {"kind": "none"},
        "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"kind": "constant"},
        "average": {"kind": "none"},
        "augment": {"kind": "pad_crop_flip", "pad": 4},
        "normalize": {"kind": "none"},
        "batchnorm": {"kind": "batchnorm", "attack": "train", "momentum": "1/100", "first": 1},
        "batch": batch, "lr": 0.01, "clip": None,
    }  # fmt: skip
    numerics = {"dtype": "fp32", "tf32": False, "deterministic": True, "batchnorm_group": batch}
    model = {"kind": "cnn", "width": options.get("width", 4)}
    return make({"kind": "cifar10"}, model, {"kind": "generated"}, recipe, 10**6, 1000, None, 1, numerics)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _size(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument(
        "--folder", type=Path, help="where (a temporary folder); about 4 times the set must fit"
    )
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        found = TASKS[options.task](options.folder, json.loads(options.options))
        print(json.dumps(found | {"peak_bytes": _peak()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        _measure(Path(name), round(options.gigabytes * 1e9 / BYTES), options.steps)


def _measure(folder: Path, images: int, steps: int) -> None:
    (folder / "data").mkdir()
    write_archive(folder / "data" / "made.npz", images)
    size = images * BYTES
    print(f"{images:,} images of {BYTES:,} bytes, {_size(size)}, load {os.getloadavg()[0]:.1f}")
    for name in ("import", "import_plainly"):
        drop_from_cache(folder)
        found = child(name, folder)
        rate = size / found["seconds"]
        print(f"{name:15s} {rate / 1e6:6.0f} MB/s   peak memory {_size(found['peak_bytes'])}")
    shutil.rmtree(folder / "plain")
    for name, more in (("train", {}), ("train, mapped", {"mapped": True})):
        drop_from_cache(folder)
        found = child("train", folder, images=images, steps=steps, **more)
        print(
            f"{name:15s} {found['images_per_second']:6.0f} images/s   stall {found['waited'] / found['seconds']:.2%}"
            f"   peak memory {_size(found['peak_bytes'])}   ({found['streamed']}, {found['twice']} drawn twice)"
        )


TASKS = {"import": _import, "import_plainly": _import_plainly, "train": _train}

if __name__ == "__main__":
    main()
