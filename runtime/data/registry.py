"""The table of datasets and the one way in: Component, split, data root -> ImageSet.

A data root comes from the command line or the environment variable ISOLOSS_DATA, never from a study: a study
from a stranger cannot name files on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args

from isoloss.compiler.plan import Component
from isoloss.runtime.data.imageset import ImageSet, order_by_digest
from isoloss.runtime.errors import JobError

Split = Literal["train", "test", "fit", "validation"]
SPLITS: tuple[str, ...] = get_args(Split)
#: Images of the training split held out by `validation`, as Gowal et al. (arXiv:2010.03593) hold out 1,024.
VALIDATION_IMAGES = 1024

Reader = Callable[[Component, str, Path | None], ImageSet]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a dataset's reader is (imported on first use), and its image shape (H, W, C) and classes."""

    reader: str  # "module:function"
    shape: tuple[int, int, int]
    classes: int

    def read(self, dataset: Component, split: str, data_root: Path | None) -> ImageSet:
        module, function = self.reader.split(":")
        reader: Reader = getattr(import_module(module), function)
        return reader(dataset, split, data_root)


_HERE = "isoloss.runtime.data"
DATASETS: Mapping[str, Dataset] = {
    "digits": Dataset(f"{_HERE}.digits:read_digits", (8, 8, 1), 10),
    "cifar10": Dataset(f"{_HERE}.cifar:read_cifar10", (32, 32, 3), 10),
    "cifar100": Dataset(f"{_HERE}.cifar:read_cifar100", (32, 32, 3), 100),
    "svhn": Dataset(f"{_HERE}.svhn:read_svhn", (32, 32, 3), 10),
    "mnist": Dataset(f"{_HERE}.idx:read_mnist", (28, 28, 1), 10),
    "fashion_mnist": Dataset(f"{_HERE}.idx:read_fashion_mnist", (28, 28, 1), 10),
}


def describe(dataset: Component) -> Dataset:
    """The registry's row. Raises JobError R403 for a dataset that has none."""
    row = DATASETS.get(dataset["kind"])
    if row is None:
        raise JobError(
            "R403", f"no reader for the dataset `{dataset['kind']}`", f"known: {', '.join(sorted(DATASETS))}"
        )
    return row


def data_root_from_environment() -> Path | None:
    value = os.environ.get("ISOLOSS_DATA")
    return Path(value).expanduser() if value else None


def load(dataset: Component, split: str, data_root: Path | None = None) -> ImageSet:
    """Images of one split: `train` and `test` as published; `validation` is a slice of `train` held out by
    the images' digests, and `fit` the rest of it, so that a choice made by validation never touches the test
    set.

    `data_root` None means the folder that ISOLOSS_DATA names. Raises JobError R401 (files missing),
    R402 (damaged) or R403 (unknown dataset); ValueError for a split that isn't one."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    row = describe(dataset)
    root = data_root if data_root is not None else data_root_from_environment()
    if split in ("train", "test"):
        return row.read(dataset, split, root)
    train = row.read(dataset, "train", root)
    order = order_by_digest(train.images, b"isoloss validation 1\n")
    held_out = min(VALIDATION_IMAGES, len(train) // 5)
    return train.take(order[:held_out] if split == "validation" else order[held_out:])
